"""Coreset selection: the baselines every distilled set must beat. Real images, hard labels, nothing synthesised.

Random: a keyed balanced subset. Herding (Welling, ICML 2009): greedily keep the mean of what is chosen closest to the
mean of its class. K-centre (Sener & Savarese, ICLR 2018): greedily take the image farthest from everything chosen.
Both work class by class on the penultimate features of a network.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from infodistill.compute import View
from infodistill.distilled import Distilled
from infodistill.real import RealData

Choose = Callable[[Tensor, int], Tensor]
"""(features (n, d), k) -> k distinct rows of them."""


def herding_order(features: Float[Tensor, "n d"], k: int) -> Int[Tensor, " k"]:
    """Greedy herding: row t minimises ||mean(all) - mean(rows chosen up to and including t)||; no row twice.

    Ties go to the lowest row. Computed in float64: the differences between candidates shrink as 1 / t.

    Raises:
        ValueError: k is not in 1..n.
    """
    _check(features, k)
    x = features.double()
    mean = x.mean(0)
    total, chosen = torch.zeros_like(mean), []
    free = torch.ones(len(x), dtype=torch.bool, device=x.device)
    for count in range(1, k + 1):
        distance = (mean - (total + x) / count).square().sum(1)
        best = int(distance.masked_fill(~free, torch.inf).argmin())
        chosen.append(best)
        free[best] = False
        total = total + x[best]
    return torch.as_tensor(chosen)


def k_centre_order(features: Float[Tensor, "n d"], k: int) -> Int[Tensor, " k"]:
    """Greedy k-centre (farthest first), which is within a factor 2 of the smallest covering radius.

    The first row is the one nearest the mean, each next one is farthest (Euclidean) from all rows chosen. Ties go to
    the lowest row.

    Differs: the authors start from a given labelled pool; there is none here.

    Raises:
        ValueError: k is not in 1..n.
    """
    _check(features, k)
    x = features.double()
    chosen = [int((x - x.mean(0)).square().sum(1).argmin())]
    nearest = (x - x[chosen[0]]).square().sum(1)
    while len(chosen) < k:
        nearest[chosen[-1]] = -1.0  # stays the minimum: a duplicate (distance 0) may follow, the same row may not
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (x - x[chosen[-1]]).square().sum(1))
    return torch.as_tensor(chosen)


def random(real: RealData, ipc: int, *, seed: int = 0, **meta: Any) -> Distilled:
    """`ipc` distinct random real images of every class.

    Raises:
        ValueError: a class has fewer than `ipc` images.
    """
    return chosen(real, real.sample(seed, ipc), method="random", seed=seed, **meta)


def herding(real: RealData, view: View, ipc: int, **meta: Any) -> Distilled:
    """`ipc` real images of every class by herding in the penultimate feature space of `view`."""
    return _selected(real, view, ipc, herding_order, method="herding", **meta)


def k_centre(real: RealData, view: View, ipc: int, **meta: Any) -> Distilled:
    """`ipc` real images of every class by greedy k-centre in the penultimate feature space of `view`."""
    return _selected(real, view, ipc, k_centre_order, method="k-centre", **meta)


def chosen(real: RealData, rows: Tensor, **meta: Any) -> Distilled:
    """The real images `rows` (n,) as an artefact with hard labels."""
    batch = real.rows(rows)
    facts = {"data": real.name, "fingerprint": real.fingerprint, **meta}
    return Distilled(batch.x.cpu(), batch.y.cpu(), real.space, real.class_names, meta=facts)


def _selected(real: RealData, view: View, ipc: int, choose: Choose, **meta: Any) -> Distilled:
    if ipc < 1 or ipc > int(real.counts.min()):
        smallest = int(real.counts.min())
        raise ValueError(f"ipc must lie in 1..{smallest} (the images of the smallest class), got {ipc}")
    pick = partial(_pick, real, view, choose, ipc)
    return chosen(real, torch.cat([pick(rows) for rows in real.class_rows]), **meta)


@torch.no_grad()
def _pick(real: RealData, view: View, choose: Choose, ipc: int, rows: Tensor) -> Tensor:
    pieces = [real.rows(index) for index in rows.split(1024)]
    features = torch.cat([view.features(piece.x, piece.space)[0] for piece in pieces])
    return rows[choose(features, ipc)]


def _check(features: Tensor, k: int) -> None:
    if not 1 <= k <= len(features):
        raise ValueError(f"the number to choose must lie in 1..{len(features)}, got {k}")
