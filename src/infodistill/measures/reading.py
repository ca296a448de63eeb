"""A number read off a set, and how far it moves when the rows it was read from are drawn again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import torch
from torch import Tensor

from infodistill.seeding import stream

Again = Callable[[torch.Generator], float]
"""again(generator) -> the number on one keyed resample of its rows."""

WIDTH = 1.96
"""Standard deviations on either side of the value: 95 % of a normal law."""


class Undefined(ValueError):
    """A number that does not exist for this set; the message is the reason that is printed."""


@dataclass(frozen=True)
class Reading:
    """A value and, where rows can be drawn again, how.

    Args:
        value: the number.
        again: the number on a resample.
        least: what it cannot fall below.
        most: what it cannot exceed.
        stretch: the standard deviation of the value over that of its resamples.
    """

    value: float
    again: Again | None = None
    least: float = -math.inf
    most: float = math.inf
    stretch: float = 1.0


def interval(reading: Reading, *, seed: int, owner: str, resamples: int) -> tuple[float, float] | None:
    """`value` ± 1.96 standard deviations over `resamples` keyed resamples, cut to the number's range, or None.

    Around the value rather than percentiles: with repeated rows every measure of spread comes out lower, so the
    percentiles of a diversity can lie wholly beside it, while its standard deviation is still that of the sample.
    """
    if reading.again is None or resamples < 2:
        return None
    drawn = [reading.again(stream(seed, f"measure.resample.{owner}", step)) for step in range(resamples)]
    if not all(math.isfinite(value) for value in drawn):
        return None
    reach = WIDTH * reading.stretch * stdev(drawn)
    low, high = max(reading.value - reach, reading.least), min(reading.value + reach, reading.most)
    return min(low, reading.value), max(high, reading.value)  # rounding may put the value itself beside its range


def resampled(y: Tensor, generator: torch.Generator) -> Tensor:
    """Rows drawn with replacement within every class, as many as it has, class-major; (n,) on the CPU."""
    order, start, count = _groups(y)
    place = torch.rand(len(order), generator=generator, dtype=torch.float64) * count
    return order[start + place.long().minimum(count - 1)]


def halved(y: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the rows of every class, rounded up, without repetition, class-major.

    Half-sampling: a mean over half of n distinct rows scatters about that over all n as the latter does about the
    truth, s^2 (2/n - 1/n) = s^2 / n. For estimators that repeated rows would break (nearest neighbours). Where n is
    odd it scatters less, see `half_stretch`.
    """
    order, start, count = _groups(y)
    shuffled = torch.rand(len(order), generator=generator, dtype=torch.float64)
    by_class = (start.double() + shuffled).argsort()  # starts are distinct integers: classes stay together
    within = torch.arange(len(order)) - start
    return order[by_class][within < (count + 1) // 2]


def half_stretch(y: Tensor) -> float:
    """The standard deviation of a mean over all rows, over that of its values on halves (`halved`); 1 for even counts.

    With m = (n + 1) / 2 of n rows s^2 (1/m - 1/n) = s^2 / n (n - 1) / (n + 1); classes are joined by their sizes.
    """
    n = y.unique(return_counts=True)[1].double()
    m = ((n + 1) / 2).floor()
    scatter = float((n.square() / m - n).sum())
    return math.sqrt(float(n.sum()) / scatter) if scatter > 0 else math.inf


def repeats(y: Tensor) -> bool:
    """Whether a class has two rows; if none has, every resample within classes is the same."""
    return bool((y.unique(return_counts=True)[1] > 1).any())


def class_mean(rows: Tensor, y: Tensor, most: float = math.inf) -> Reading:
    """The mean over classes of the mean over their rows (r,); resampled over rows within classes."""
    rows, y = rows.double().cpu(), y.cpu()
    weight = class_weights(y)
    ordered = weight[_groups(y)[0]]  # counts do not change: one weight a place
    again: Again = lambda generator: float(rows[resampled(y, generator)] @ ordered)  # noqa: E731
    return Reading(float(rows @ weight), again if repeats(y) else None, most=most)


def class_weights(y: Tensor) -> Tensor:
    """(n,) float64: 1 / (classes present x rows of the class)."""
    _, position, counts = y.unique(return_inverse=True, return_counts=True)
    return 1 / (len(counts) * counts.double()[position])


def summary(values: Sequence[float | None]) -> dict[str, float] | None:
    """Mean, sample standard deviation and number of those that are known; None where there is none."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"mean": fmean(known), "std": stdev(known) if len(known) > 1 else 0.0, "n": len(known)}


def _groups(y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows class by class, and for each of them the first place and the size of its class."""
    y = y.cpu()
    order = y.argsort(stable=True)
    _, counts = y.unique(return_counts=True)
    return order, (counts.cumsum(0) - counts).repeat_interleave(counts), counts.repeat_interleave(counts)
