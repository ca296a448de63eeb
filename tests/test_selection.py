"""Herding and k-centre against brute force, and the sets they make."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import Tensor

from infodistill.compute import View
from infodistill.methods.selection import herding, herding_order, k_centre, k_centre_order, random
from toys import Affine, real_data

FEATURES = torch.randn(9, 3, generator=torch.Generator().manual_seed(4))


def brute_herding(features: Tensor, k: int) -> list[int]:
    x, chosen = features.double(), []
    for _ in range(k):
        gaps = {
            i: float((x.mean(0) - torch.stack([x[j] for j in [*chosen, i]]).mean(0)).norm())
            for i in range(len(x))
            if i not in chosen
        }
        chosen.append(min(gaps, key=lambda i: gaps[i]))
    return chosen


def radius(features: Tensor, chosen: list[int]) -> float:
    return float(torch.cdist(features.double(), features.double()[chosen]).min(1).values.max())


def brute_k_centre(features: Tensor, k: int) -> list[int]:
    x = features.double()
    chosen = [min(range(len(x)), key=lambda i: float((x[i] - x.mean(0)).norm()))]
    while len(chosen) < k:
        left = [i for i in range(len(x)) if i not in chosen]
        chosen.append(max(left, key=lambda i: min(float((x[i] - x[j]).norm()) for j in chosen)))
    return chosen


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_herding_is_the_greedy_choice(k: int) -> None:
    assert herding_order(FEATURES, k).tolist() == brute_herding(FEATURES, k)


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_k_centre_is_farthest_first(k: int) -> None:
    assert k_centre_order(FEATURES, k).tolist() == brute_k_centre(FEATURES, k)


def test_k_centre_is_within_twice_the_best_radius() -> None:
    best = min(radius(FEATURES, list(choice)) for choice in combinations(range(9), 3))
    assert radius(FEATURES, k_centre_order(FEATURES, 3).tolist()) <= 2 * best + 1e-12


def test_herding_follows_the_mean_better_than_its_first_rows() -> None:
    features = torch.randn(200, 5, generator=torch.Generator().manual_seed(6)).double()
    gap = (features[herding_order(features, 10)].mean(0) - features.mean(0)).norm()
    assert gap < 0.2 * (features[:10].mean(0) - features.mean(0)).norm()


@pytest.mark.parametrize("order", [herding_order, k_centre_order])
def test_duplicates_are_still_distinct_rows(order) -> None:
    assert sorted(order(torch.zeros(4, 2), 4).tolist()) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match=r"1\.\.4, got 5"):
        order(torch.zeros(4, 2), 5)


def test_sets_are_balanced_real_rows_of_their_class() -> None:
    real = real_data(per_class=6)
    view = View.own(Affine(real.shape, 3))
    everything = real.rows(torch.arange(len(real)))
    for distilled in (random(real, 4, seed=1), herding(real, view, 4), k_centre(real, view, 4)):
        assert distilled.y.tolist() == [0] * 4 + [1] * 4 + [2] * 4
        match = (distilled.images[:, None] == everything.x[None]).flatten(2).all(2)
        found = match.float().argmax(1)
        assert match.any(1).all() and len(found.unique()) == 12
        assert torch.equal(everything.y[found], distilled.y)
        assert distilled.meta["fingerprint"] == real.fingerprint
    assert not torch.equal(random(real, 4, seed=1).images, random(real, 4, seed=2).images)


@pytest.mark.parametrize("ipc", [0, 7])
def test_ipc_outside_the_class_is_refused(ipc: int) -> None:
    real = real_data(per_class=6)
    with pytest.raises(ValueError, match=str(ipc)):
        herding(real, View.own(Affine(real.shape, 3)), ipc)
    with pytest.raises(ValueError, match=str(ipc)):
        random(real, ipc)
