"""The profile of a set by the bounds of sampling: ranges, closed forms, and that held-out images are what is read."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor

from infodistill.compute import View
from infodistill.real import RealData
from infodistill.seeding import build_seeded
from infodistill.set_information import NOTES, Yardstick, numbers, set_information
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
    own, _ = numbers(copies, Yardstick(real, views(real)))
    alone, _ = numbers(one, Yardstick(real, views(real)))
    for name in ("c1", "c2", "c4", "c5", "c5_vendi", "c7"):
        assert own[name] == pytest.approx(0, abs=1e-9) and alone[name] == pytest.approx(0, abs=1e-9)
    assert own["c6"] is None and alone["c6"] is None  # -inf, and undefined at one image
    assert own["p3"] == pytest.approx(alone["p3"])  # four copies decode as one
    shared = Batch(one.x[:1].expand(CLASSES, -1, -1, -1), one.y, one.target, one.space)
    told, _ = numbers(shared, Yardstick(real, views(real)))
    assert told["p3"] == pytest.approx(0, abs=1e-9)


def test_images_far_apart_are_told_apart() -> None:
    """Black, white and two halves, far beyond the real spread: c2 and c5 reach log n."""
    real = world(0.02)
    shown = torch.zeros(4, 1, SIDE, SIDE)
    shown[1], shown[2, :, :4], shown[3, :, :, :4] = 1, 1, 1
    x = SPACE.from_pixels(shown.repeat(CLASSES, 1, 1, 1))
    y = torch.arange(CLASSES).repeat_interleave(4)
    told, _ = numbers(Batch(x, y, torch.eye(CLASSES)[y], SPACE), Yardstick(real, views(real)))
    for name in ("c2", "c5", "c5_vendi"):
        assert told[name] == pytest.approx(math.log(4), abs=1e-3)


def test_held_out_images_are_read_and_training_images_set_the_bandwidths() -> None:
    sharp, blurred = world(0.1), world(0.1, test_spread=0.8)
    batch = some(sharp)
    first, at = numbers(batch, Yardstick(sharp, views(sharp)))
    second, there = numbers(batch, Yardstick(blurred, views(blurred)))
    assert at == there
    assert first["p3"] is not None and second["p3"] is not None and second["p3"] < first["p3"] - 0.05
    assert first["c2"] == second["c2"]
    alone = sharp.subset(torch.arange(len(sharp)))
    alone.test = None
    assert "no test part" in set_information(batch, alone, views(alone))["held_out"]


def test_a_missing_class_leaves_what_needs_it_out() -> None:
    real = world(0.1)
    batch = some(real)
    told = set_information(batch.rows(batch.y < 2), real, views(real))
    assert told["p3"]["mean"] is None and told["c7"]["mean"] is None and told["c2"]["mean"] > 0
    assert told["p3"]["random"]["n"] == 5


def test_random_subsets_stand_beside_and_a_random_subset_is_like_them() -> None:
    real = world(0.15)
    told = set_information(some(real), real, views(real))
    again = set_information(some(real), real, views(real))
    assert told == again
    for name in ("p3", "c2", "c5", "c7"):
        beside = told[name]["random"]
        assert abs(told[name]["mean"] - beside["mean"]) < 5 * beside["std"] + 0.02
