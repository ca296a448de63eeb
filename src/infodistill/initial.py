"""What a synthetic set starts from: real images, noise, or the real images nearest to cluster centres."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from sklearn.cluster import KMeans
from torch import Tensor

from infodistill.real import RealData
from infodistill.seeding import key, stream

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


def _medoids(rows: Tensor, real: RealData, ipc: int, *, seed: int, label: int) -> Tensor:
    if len(rows) < ipc:
        raise ValueError(f"ipc {ipc} is more than the {len(rows)} images of class '{real.class_names[label]}'")
    rows = rows[torch.randperm(len(rows), generator=stream(seed, "init.kmeans", 0, label))[:2000]]
    x = real.rows(rows).x.flatten(1).double().cpu()
    means = KMeans(ipc, n_init=cast(Any, 1), random_state=key(seed, "init.kmeans", label) % 2**31).fit(x.numpy())
    distance = torch.cdist(torch.as_tensor(means.cluster_centers_), x)
    return rows[_distinct_nearest(distance)]


def _distinct_nearest(distance: Tensor) -> Tensor:
    """Column of the nearest point for each row, no column twice (rows choose in order)."""
    chosen: list[int] = []
    for row in distance.clone():
        row[torch.as_tensor(chosen, dtype=torch.long)] = torch.inf
        chosen.append(int(row.argmin()))
    return torch.as_tensor(chosen)
