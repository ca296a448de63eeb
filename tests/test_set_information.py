"""The profile of a set by the bounds of sampling: ranges, closed forms, and that held-out images are what is read."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from infodistill.compute import View
from infodistill.measures.set_information import NOTES, Seen, Values, Yardstick, bandwidths, numbers, set_information
from infodistill.real import RealData
from infodistill.seeding import build_seeded
from infodistill.types import Batch, ValueSpace
from toys import Affine

SPACE = ValueSpace((0.4,), (0.3,))
CLASSES, SIDE = 3, 8


def pixels(centres: Tensor, spread: float, per_class: int, seed: int) -> tuple[Tensor, Tensor]:
    """uint8 images around the centre of each class."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(len(centres)).repeat_interleave(per_class)
    noisy = centres[y] + spread * torch.randn(len(y), 1, SIDE, SIDE, generator=generator)
    return (noisy.clamp(0, 1) * 255).round().to(torch.uint8), y


def world(spread: float, *, test_spread: float | None = None) -> RealData:
    centres = torch.rand(CLASSES, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(5))
    names = [str(c) for c in range(CLASSES)]
    other = spread if test_spread is None else test_spread
    test = RealData(*pixels(centres, other, 20, 2), names, SPACE, "toy")
    return RealData(*pixels(centres, spread, 30, 1), names, SPACE, "toy", test=test)


def views(real: RealData) -> list[View]:
    net = build_seeded(lambda: Affine(real.shape, real.num_classes), torch.Generator().manual_seed(0))
    return [View.own(net, space=real.space)]


def some(real: RealData, ipc: int = 4) -> Batch:
    return real.rows(real.sample(0, ipc))


def values(batch: Batch, real: RealData) -> Values:
    return numbers(Seen(batch, Yardstick(real, views(real)))).values


def test_ranges_and_directions() -> None:
    real = world(0.1)
    told = set_information(some(real), real, views(real))
    log_n, log_c = math.log(4), math.log(CLASSES)
    assert set(NOTES) <= set(told) and told["held_out"] == "60 test images"
    assert 0.9 * log_c < told["p3"]["mean"] <= log_c  # classes far apart
    for name in ("c2", "c5", "c5_vendi", "c7"):
        assert -1e-9 <= told[name]["mean"] <= log_n + 1e-9
    assert told["c5"]["mean"] <= told["c5_vendi"]["mean"] + 1e-9
    assert 0 <= told["c1"]["mean"] <= min(log_n, log_c)
    assert {name for name in NOTES if told[name]["bound"] == "none"} == {"c4", "c6"}
    assert all("NOT a" in told[name]["note"] for name in ("c4", "c6"))
    json.dumps(told, allow_nan=False)


def test_copies_of_one_image_are_not_diverse_and_say_nothing_when_classes_share_them() -> None:
    real = world(0.1)
    one = some(real, 1)
    copies = one.rows(torch.arange(CLASSES).repeat_interleave(4))
    own, alone = values(copies, real), values(one, real)
    for name in ("c1", "c2", "c4", "c5", "c5_vendi", "c7"):
        assert own[name] == pytest.approx(0, abs=1e-9) and alone[name] == pytest.approx(0, abs=1e-9)
    assert own["c6"] is None and alone["c6"] is None  # -inf, and undefined at one image
    assert own["p3"] == pytest.approx(alone["p3"])  # four copies decode as one
    shared = Batch(one.x[:1].expand(CLASSES, -1, -1, -1), one.y, one.target, one.space)
    told = values(shared, real)
    assert told["p3"] == pytest.approx(0, abs=1e-9)


def test_images_far_apart_are_told_apart() -> None:
    """Black, white and two halves, far beyond the real spread: c2 and c5 reach log n."""
    real = world(0.02)
    shown = torch.zeros(4, 1, SIDE, SIDE)
    shown[1], shown[2, :, :4], shown[3, :, :, :4] = 1, 1, 1
    x = SPACE.from_pixels(shown.repeat(CLASSES, 1, 1, 1))
    y = torch.arange(CLASSES).repeat_interleave(4)
    told = values(Batch(x, y, torch.eye(CLASSES)[y], SPACE), real)
    for name in ("c2", "c5", "c5_vendi"):
        assert told[name] == pytest.approx(math.log(4), abs=1e-3)


def test_held_out_images_are_read_and_training_images_set_the_bandwidths() -> None:
    sharp, blurred = world(0.1), world(0.1, test_spread=0.8)
    batch = some(sharp)
    first, second = values(batch, sharp), values(batch, blurred)
    at, there = (bandwidths(Seen(batch, Yardstick(real, ()))) for real in (sharp, blurred))
    assert at == there and set(at) == {"variance", "h"}
    assert first["p3"] is not None and second["p3"] is not None and second["p3"] < first["p3"] - 0.05
    assert first["c2"] == second["c2"]
    alone = sharp.subset(torch.arange(len(sharp)))
    alone.test = None
    assert "no test part" in set_information(batch, alone, views(alone))["held_out"]


def defined(told: dict[str, Any]) -> set[str]:
    """The numbers there are; each of the others says why it is not, and all of it is JSON."""
    json.dumps(told, allow_nan=False)
    there = {name for name in NOTES if told[name]["mean"] is not None}
    assert all(("reason" in told[name]) == (name not in there) for name in NOTES)
    assert all(("random_reason" in told[name]) == (told[name]["random"] is None) for name in NOTES)
    return there


def test_a_missing_class_leaves_what_needs_it_out() -> None:
    real = world(0.1)
    batch = some(real)
    told = set_information(batch.rows(batch.y < 2), real, views(real))
    assert defined(told) == {"c1", "c2", "c4", "c5", "c5_vendi", "c6"} and "h" not in told["set_bandwidths"]
    assert told["p3"]["reason"] == told["c7"]["reason"] == "the set has no image of class 2"
    assert told["p3"]["random"]["n"] == 5


def test_one_image_of_a_class_has_no_neighbour_and_everything_else() -> None:
    real = world(0.1)
    told = set_information(some(real, 1), real, views(real))
    assert defined(told) == set(NOTES) - {"c6"} and told["c6"]["random"] is None
    assert told["c6"]["reason"] == told["c6"]["random_reason"] == "a class has one image, which has no neighbour"
    batch = some(real)
    uneven = set_information(batch.rows(torch.arange(12) > 2), real, views(real))  # 1, 4 and 4
    assert defined(uneven) == set(NOTES) - {"c6"} and uneven["c6"]["random"]["n"] == 5


def test_a_test_part_that_lacks_a_class_costs_only_what_is_read_on_it() -> None:
    real = world(0.1)
    whole = set_information(some(real), real, views(real))
    assert real.test is not None
    real.test = real.test.subset((real.test.labels < 2).nonzero().flatten())
    told = set_information(some(real), real, views(real))
    assert defined(told) == set(NOTES) - {"p3", "c7"} and "classes [2] have none" in told["p3"]["reason"]
    assert all(told[name] == whole[name] for name in set(NOTES) - {"p3", "c7"})
    assert told["p3"]["random"] is None and told["set_bandwidths"] == whole["set_bandwidths"]


def test_training_images_of_which_no_two_share_a_class_cost_the_bandwidths() -> None:
    real = world(0.1)
    few = real.subset(real.sample(0, 1))
    told = set_information(some(real), few, views(real))
    assert defined(told) == {"c1", "c6"} and not told["set_bandwidths"]
    assert "two real images of one class" in told["c2"]["reason"]
    assert defined(set_information(some(real), real, [])) == set(NOTES) - {"c1"}


def test_random_subsets_have_the_size_of_the_set_or_there_are_none() -> None:
    """Smaller ones would bound c2 by the log of another number."""
    real = world(0.1)
    short = real.subset(torch.cat([rows[:2] if c == 1 else rows for c, rows in enumerate(real.class_rows)]))
    told = set_information(some(real), short, views(real))
    assert defined(told) == set(NOTES) and all(told[name]["random"] is None for name in NOTES)
    wanted = "no random subsets of this size: ipc is 4, but class '1' of toy has only 2 images"
    assert all(wanted in told[name]["random_reason"] for name in NOTES)


def test_random_subsets_stand_beside_and_a_random_subset_is_like_them() -> None:
    real = world(0.15)
    told = set_information(some(real), real, views(real))
    again = set_information(some(real), real, views(real))
    assert told == again
    for name in ("p3", "c2", "c5", "c7"):
        beside = told[name]["random"]
        assert abs(told[name]["mean"] - beside["mean"]) < 5 * beside["std"] + 0.02
