"""What a synthetic set starts from: real images, noise, or the real images nearest to cluster centres."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import Tensor

from infodistill.real import RealData
from infodistill.seeding import key, stream
from infodistill.storage.decoders import tile_side

Initialise = Callable[[RealData, int, int], Tensor]
"""(real, ipc, seed) -> class-major images (classes * ipc, c, h, w) in the value space of `real`."""


def from_real(real: RealData, ipc: int, seed: int) -> Tensor:
    """Distinct random real images of each class (DSA, DM)."""
    return real.rows(real.sample(seed, ipc)).x


def from_noise(real: RealData, ipc: int, seed: int) -> Tensor:
    """N(0, 1) in normalised space (DC)."""
    return torch.randn(real.num_classes * ipc, *real.shape, generator=stream(seed, "init.noise"))


def from_kmeans(real: RealData, ipc: int, seed: int) -> Tensor:
    """The real image nearest each of `ipc` k-means centres of its class, in pixel space.

    At most 2,000 keyed images of a class are clustered.
    """
    rows = [_medoids(real.class_rows[c], real, ipc, seed=seed, label=c) for c in range(real.num_classes)]
    return real.rows(torch.cat(rows)).x


Shrink = Callable[[Tensor, tuple[int, int]], Tensor]
"""shrink(images (n, c, h, w), (height, width)) -> the same images at that size."""


def nearest(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Every pixel is one of the large image's (IDC)."""
    return F.interpolate(images, size, mode="nearest")


def bilinear(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, corners not aligned (IDM); at a factor of 2 the mean of four pixels."""
    return F.interpolate(images, size, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class Mosaic:
    """factor^2 images to every stored one, each shrunk into a tile: what multi-formation starts from.

    Differs: where sides are no multiples of `factor` all tiles are of one size, rounded up, and the outer ones lose
    what lies beyond the image; the released code mixes two sizes, and decodes with one.

    Args:
        factor: tiles along each side, as in `decoders.MultiFormation`.
        init: which images; it is asked for ipc * factor^2 of every class.
        shrink: how they are made small.

    Raises:
        ValueError: at a call, when tiles would hold no image, or a class has fewer images than there are tiles.
    """

    factor: int = 2
    init: Initialise = from_real
    shrink: Shrink = nearest

    def __call__(self, real: RealData, ipc: int, seed: int) -> Tensor:
        f, (_, height, width) = self.factor, real.shape
        sides, need, have = (tile_side(height, f), tile_side(width, f)), ipc * f * f, int(real.counts.min())
        if f > 1 and need > have:
            raise ValueError(
                f"{ipc} stored images of {f} x {f} tiles need {need} images of every class, {real.name} has a class of "
                f"{have}: take a smaller ipc or factor"
            )
        images = self.init(real, need, seed)
        if f == 1:
            return images
        small = self.shrink(images, sides)
        grid = small.unflatten(0, (-1, f, f)).permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)
        return grid[:, :, :height, :width].contiguous()


@dataclass(frozen=True)
class Stored:
    """The same images as [0, 1] pixels, for sets that store those."""

    init: Initialise

    def __call__(self, real: RealData, ipc: int, seed: int) -> Tensor:
        return real.space.to_pixels(self.init(real, ipc, seed)).clamp(0, 1)


def _medoids(rows: Tensor, real: RealData, ipc: int, *, seed: int, label: int) -> Tensor:
    if len(rows) < ipc:
        raise ValueError(f"ipc {ipc} is more than the {len(rows)} images of class '{real.class_names[label]}'")
    rows = rows[torch.randperm(len(rows), generator=stream(seed, "init.kmeans", 0, label))[:2000]]
    x = real.rows(rows).x.flatten(1).double().cpu()
    means = KMeans(ipc, n_init=cast(Any, 1), random_state=key(seed, "init.kmeans", label) % 2**31).fit(x.numpy())
    distance = torch.cdist(torch.as_tensor(means.cluster_centers_), x)
    return rows[distinct_nearest(distance)]


def distinct_nearest(distance: Tensor, each: int = 1) -> Tensor:
    """Columns of the `each` nearest points of each row of (k, n), no column twice: rows choose in order."""
    chosen: list[int] = []
    for row in distance.clone():
        row[torch.as_tensor(chosen, dtype=torch.long)] = torch.inf
        chosen += row.topk(each, largest=False).indices.tolist() if each > 1 else [int(row.argmin())]
    return torch.as_tensor(chosen)
