"""The real image nearest to each k-means centre of its class: the selection baseline a generative method must beat.

    S_y = { argmin_{x in T_y} ||f(x) - c_yj|| : j = 1..n },    c_y1 .. c_yn the k-means centres of f(T_y)

Nothing is trained and nothing is synthesised. On digits such images are level with guided diffusion samples from ten
images per class up, so tables of guided sampling carry this column. With n = 1: the image nearest to the class mean.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from infodistill.diffusion.centres import class_centres
from infodistill.diffusion.features import Feature, Pooled
from infodistill.distilled import Distilled
from infodistill.methods.selection import chosen
from infodistill.real import RealData
from infodistill.storage.initial import distinct_nearest

PIECE = 1024
"""Images in memory at a time while features are computed."""


def nearest(
    real: RealData, ipc: int, *, feature: Feature | None = None, seed: int = 0, n_init: int = 4, **meta: Any
) -> Distilled:
    """`ipc` distinct real images of every class, each the one nearest to a k-means centre.

    Where two centres are nearest to the same image, the later one takes the next that is left.

    Args:
        real: the data; its images are compared in its value space.
        ipc: images, and centres, of every class.
        feature: what distances are measured in; whole images, averaged to at most 32 x 32, when None.
        seed: of the k-means starts.
        n_init: how many of them.
        meta: further facts for the artefact.

    Raises:
        ValueError: ipc below 1, or above the images of the smallest class.
    """
    smallest = int(real.counts.min())
    if not 1 <= ipc <= smallest:
        raise ValueError(f"ipc must lie in 1..{smallest} (the images of the smallest class), got {ipc}")
    features = _features(real, feature or Pooled(32))
    centres = class_centres(features, real.labels.cpu(), ipc, seed, classes=real.num_classes, n_init=n_init)
    rows = [
        members[distinct_nearest(torch.cdist(centre.double(), features[members].double()))]
        for centre, members in zip(centres, real.class_rows, strict=True)
    ]
    return chosen(real, torch.cat(rows), method="nearest", seed=seed, **meta)


@torch.no_grad()
def _features(real: RealData, feature: Feature) -> Tensor:
    """(N, d) on the CPU."""
    return torch.cat([feature(real.rows(index).x).cpu() for index in torch.arange(len(real)).split(PIECE)])
