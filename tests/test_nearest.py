"""k-means centres of classes, and the real images nearest to them."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

import infodistill.diffusion.centres as module
from infodistill.diffusion.centres import class_centres
from infodistill.diffusion.features import Pooled
from infodistill.methods import nearest
from infodistill.seeding import stream
from toys import real_data


def line(*places: float) -> Tensor:
    """(n, 2) points on a line, three around each place."""
    offset = torch.tensor([-0.1, 0.0, 0.1], dtype=torch.float64)
    x = (torch.tensor(places, dtype=torch.float64)[:, None] + offset).flatten()
    return torch.stack([x, -x], 1)


def within(points: Tensor, centres: Tensor) -> float:
    """Sum of squared distances to the nearest centre."""
    return float(torch.cdist(points, centres).square().min(1).values.sum())


def test_centres_are_the_means_of_separate_groups() -> None:
    features = torch.cat([line(0, 5, 9), line(-4, 2, 30)])
    y = torch.arange(2).repeat_interleave(9)
    order = torch.randperm(18, generator=stream(0, "order"))
    centres = class_centres(features[order], y[order], 3)
    assert centres.shape == (2, 3, 2) and centres.dtype == features.dtype
    wanted = torch.tensor([[0.0, 5, 9], [-4, 2, 30]], dtype=torch.float64)
    torch.testing.assert_close(centres[:, :, 0].sort(1).values, wanted)
    torch.testing.assert_close(centres[:, :, 1], -centres[:, :, 0])


def test_centres_are_the_best_partition_of_few_points() -> None:
    points = torch.randn(8, 3, generator=stream(1, "points"), dtype=torch.float64)
    best = min(
        within(
            points, torch.stack([points[list(part)].mean(0), points[[i for i in range(8) if i not in part]].mean(0)])
        )
        for size in range(1, 5)
        for part in itertools.combinations(range(8), size)
    )
    centres = class_centres(points, torch.zeros(8, dtype=torch.int64), 2, n_init=20)
    assert within(points, centres[0]) == pytest.approx(best)


def test_one_centre_is_the_class_mean_and_a_class_is_clustered_alone() -> None:
    features = torch.randn(30, 4, generator=stream(2, "points"))
    y = torch.arange(3).repeat(10)
    means = torch.stack([features[y == c].double().mean(0) for c in range(3)])
    torch.testing.assert_close(class_centres(features, y, 1)[:, 0], means.float())
    three, keep = class_centres(features, y, 3, seed=5), y != 1
    assert torch.equal(three, class_centres(features, y, 3, seed=5))
    assert torch.equal(three[0], class_centres(features[y == 0], y[y == 0], 3, seed=5)[0])
    with pytest.raises(ValueError, match=r"1\.\.0 \(rows of class 1\), got 3"):
        class_centres(features[keep], y[keep], 3)


def test_equal_rows_repeat_centres_without_a_warning() -> None:
    centres = class_centres(torch.ones(5, 2), torch.zeros(5, dtype=torch.int64), 3)
    assert torch.equal(centres, torch.ones(1, 3, 2))


def test_many_rows_are_clustered_in_mini_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY", 8)
    y = torch.zeros(9, dtype=torch.int64)
    centres = class_centres(line(0, 50, 900), y, 3)
    assert torch.equal(centres, class_centres(line(0, 50, 900), y, 3))
    torch.testing.assert_close(centres[0, :, 0].sort().values, torch.tensor([0.0, 50, 900]).double(), atol=0.1, rtol=0)


@pytest.mark.parametrize("ipc", [1, 4, 12])
def test_every_image_is_the_real_one_nearest_to_a_centre(ipc: int) -> None:
    real = real_data(per_class=12)
    made = nearest(real, ipc, seed=3)
    assert made.y.tolist() == [0] * ipc + [1] * ipc + [2] * ipc and made.meta["method"] == "nearest"
    every = real.rows(torch.arange(len(real)))
    same = (made.images[:, None] == every.x[None]).flatten(2).all(2)
    found = same.float().argmax(1)
    assert same.any(1).all() and len(found.unique()) == 3 * ipc and torch.equal(every.y[found], made.y)
    centres = class_centres(every.x.flatten(1), every.y, ipc, 3)
    for label in range(3):
        members = every.x[every.y == label].flatten(1)
        gap = torch.cdist(centres[label], members)
        first = members[gap[0].argmin()]
        assert torch.equal(made.images[label * ipc].flatten(), first)
        if ipc == 1:
            assert torch.equal(first, members[(members - members.mean(0)).square().sum(1).argmin()])


def test_a_feature_changes_what_is_near_and_the_seed_is_kept() -> None:
    real = real_data(per_class=12)
    assert torch.equal(nearest(real, 3, seed=1).images, nearest(real, 3, seed=1).images)
    assert not torch.equal(nearest(real, 3, seed=1).images, nearest(real, 3, feature=Pooled(2), seed=1).images)


@pytest.mark.parametrize("ipc", [0, 13])
def test_an_ipc_outside_the_class_is_refused(ipc: int) -> None:
    with pytest.raises(ValueError, match=rf"1\.\.12 .* got {ipc}"):
        nearest(real_data(per_class=12), ipc)
