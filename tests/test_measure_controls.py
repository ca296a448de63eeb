"""Wrong labels that are wrong, intervals of odd halves, and failures that a profile must not swallow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from infodistill.measures.controls import dealt, shuffled
from infodistill.measures.naming import FIXED
from infodistill.measures.profiling import ALONE, Effort, _attempt, information_profile
from infodistill.measures.reading import Reading, Undefined, half_stretch, halved, interval
from infodistill.measures.seen import Ground, Seen
from infodistill.real import RealData
from infodistill.seeding import stream
from infodistill.types import Batch
from toys import NAMES, SPACE, real_data


def labels(counts: Sequence[int]) -> Tensor:
    return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))


def batch_of(y: Tensor) -> Batch:
    return Batch(torch.arange(len(y)).view(-1, 1, 1, 1).float(), y, torch.eye(int(y.max()) + 1)[y], SPACE)


@pytest.mark.parametrize("counts", [(1, 1), (1,) * 10, (5, 5), (3, 2, 2), (6, 2, 2, 2), (1, 2, 3, 4), (10, *(1,) * 9)])
def test_at_most_one_in_classes_keeps_its_label(counts: Sequence[int]) -> None:
    y = labels(counts)
    for step in range(10):
        index = dealt(y, stream(0, "deal", step))
        assert torch.equal(index.sort().values, torch.arange(len(y)))
        assert int((y[index] == y).sum()) * len(counts) <= len(y)


def test_labels_of_whole_classes_are_spread_evenly() -> None:
    """As many images as classes: every class's images get every label once, so image and label share nothing."""
    y = labels((4,) * 4)
    mixed = shuffled(batch_of(y), 0, 0)
    assert torch.equal(torch.stack([y, mixed.y]).unique(dim=1), torch.cartesian_prod(*[torch.arange(4)] * 2).T)
    assert torch.equal(mixed.target.argmax(1), mixed.y) and torch.equal(mixed.x, batch_of(y).x)
    assert not torch.equal(shuffled(batch_of(y), 0, 1).y, mixed.y)


@pytest.mark.parametrize(("counts", "reason"), [((4,), "one class"), ((5, 1), "too much of the set")])
def test_labels_that_cannot_be_wrong_say_so(counts: Sequence[int], reason: str) -> None:
    with pytest.raises(Undefined, match=reason):
        shuffled(batch_of(labels(counts)), 0, 0)


def test_a_set_of_one_class_has_no_wrong_labels_and_keeps_the_rest() -> None:
    real = real_data()
    batch = real.rows(real.class_rows[1][:4])
    told = information_profile(batch, Ground(real, []), effort=Effort(1, 2, 0))
    assert told["c2"]["mean"] > 0 and told["c2"]["shuffled"] is None and "one class" in told["c2"]["shuffled_reason"]


def test_data_of_one_class_are_refused_in_a_sentence() -> None:
    real = real_data()
    part = real.subset(real.class_rows[0])
    with pytest.raises(ValueError, match="at least two classes, the training images of toys are of one"):
        Ground(part, [])
    with pytest.raises(ValueError, match="the test images of toys are of one"):
        Ground(real.replace(test=part), [])


def test_a_set_that_tells_nothing_decodes_nothing() -> None:
    """Images of other classes under every label: no bandwidth helps, so none is used and the bound claims 0."""
    images = torch.zeros(30, 1, 8, 8, dtype=torch.uint8)
    y = torch.arange(3).repeat(10)
    images[:] = (100 * y).view(-1, 1, 1, 1) + torch.randint(20, images.shape, generator=stream(0, "pixels"))
    real = RealData(images, y, NAMES, SPACE, "steps", test=RealData(images, y, NAMES, SPACE, "steps"))
    batch = real.rows(torch.arange(3))
    assert FIXED["decoded"].read(Seen(batch, Ground(real, []), 1)).value > 1
    seen = Seen(replace(batch, y=(batch.y + 1) % 3), Ground(real, []), 1)
    assert math.isinf(seen.bandwidth) and FIXED["decoded"].read(seen).value == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("count", [3, 5, 6])
def test_odd_halves_are_stretched_to_the_whole(count: int) -> None:
    """The mean of n rows: 1.96 s / sqrt(n) whatever n; unstretched it would be 0.71 of that at 3."""
    classes = 60
    y = torch.arange(classes).repeat_interleave(count)
    rows = torch.randn(classes * count, generator=stream(0, "odd"), dtype=torch.float64)
    spread = math.sqrt(sum(float(part.var()) for part in rows.view(classes, count)) / count) / classes
    reading = Reading(0, lambda generator: float(rows[halved(y, generator)].mean()), stretch=half_stretch(y))
    low, high = interval(reading, seed=0, owner="odd", resamples=400) or (0, 0)
    assert (high - low) / 2 == pytest.approx(1.96 * spread, rel=0.12)


def test_intervals_stay_within_the_range() -> None:
    reading = Reading(0.9, lambda generator: float(torch.rand((), generator=generator)) * 5, least=0.0, most=1.0)
    assert interval(reading, seed=0, owner="range", resamples=20) == (0, 1)


def test_only_numbers_that_do_not_exist_are_left_out() -> None:
    real = real_data()
    seen = Seen(real.rows(real.sample(0, 2)), Ground(real, []), 1)

    def fails(error: Exception) -> Reading:
        raise error

    absent = replace(FIXED["c2"], read=lambda _: fails(Undefined("no such thing")))
    assert _attempt(seen, absent) == (None, "no such thing")
    with pytest.raises(torch.OutOfMemoryError):
        _attempt(seen, replace(FIXED["c2"], read=lambda _: fails(torch.OutOfMemoryError("all 80 GB"))))
    assert information_profile(seen.batch, seen.ground, effort=ALONE)["decoded"]["mean"] is not None
