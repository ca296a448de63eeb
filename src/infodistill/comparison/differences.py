"""Differences of two methods' accuracies with 95 % t-intervals, and what the interval is an interval over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev, variance
from typing import Any

Networks = Mapping[int, float]
"""Accuracy in [0, 1] by network seed: what one set came to."""

FEW, NOTHING = 2, 1e-12
"""Units that may agree by chance, and a standard error that is rounding."""


@dataclass(frozen=True)
class Scored:
    """One distilled set under one protocol with one architecture: its distillation seed, and its networks."""

    seed: int | None
    networks: Networks

    @property
    def mean(self) -> float:
        return fmean(self.networks.values())


@dataclass(frozen=True)
class Gap:
    """A mean difference, its 95 % interval `low` to `high` and standard error, None where `n` units cannot give them.

    One unit cannot, nor can two whose difference is the same: that is chance, and no interval without width.
    `over` says what varies inside the interval: `sets, paired by seed`, `sets, unpaired` or `networks`.
    """

    mean: float
    low: float | None
    high: float | None
    error: float | None
    n: int
    over: str

    @property
    def sure(self) -> bool:
        """Above 0 by more than two standard errors, and by more than the interval's half where that is wider."""
        return self.low is not None and self.error is not None and self.low > 0 and self.mean > 2 * self.error

    def as_dict(self) -> dict[str, Any]:
        return {
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
            "error": self.error,
            "n": self.n,
            "over": self.over,
        }


def gap(ours: Sequence[Scored], theirs: Sequence[Scored]) -> Gap:
    """Mean difference ours - theirs, over the widest source of chance that was sampled.

    Both have two sets or more: distilling is what varies. A set counts once, by its mean over networks; where both
    have the same distillation seeds, sets of one seed (the same initial images and draws) are pairs, else Welch's
    interval of two independent means. Otherwise: network seeds are pairs (the same initial weights), each averaged
    over the sets there are, and the interval says nothing of other sets of the same method.

    Raises:
        ValueError: nobody has a set, or the networks have no seed in common.
    """
    common = sorted(set.intersection(*(set(one.networks) for one in (*ours, *theirs)))) if ours and theirs else []
    if not common:
        raise ValueError("two methods are compared on the network seeds both were evaluated with; they share none")
    if len(ours) > 1 and len(theirs) > 1:
        return _over_sets([_kept(one, common) for one in ours], [_kept(one, common) for one in theirs])
    pairs = [_network(ours, seed) - _network(theirs, seed) for seed in common]
    return _paired(pairs, "networks")


def t_half_width(error: float, freedom: float, level: float = 0.95) -> float:
    """Half of the two-sided t-interval around an estimate with this standard error."""
    from scipy.stats import t as student

    return float(student.ppf((1 + level) / 2, freedom)) * error


def _kept(one: Scored, seeds: Sequence[int]) -> Scored:
    return Scored(one.seed, {seed: one.networks[seed] for seed in seeds})


def _network(sets: Sequence[Scored], seed: int) -> float:
    return fmean(one.networks[seed] for one in sets)


def _over_sets(ours: Sequence[Scored], theirs: Sequence[Scored]) -> Gap:
    a, b = ({one.seed: one.mean for one in sets} for sets in (ours, theirs))
    if None not in a and set(a) == set(b) and len(a) == len(ours) and len(b) == len(theirs):
        return _paired([a[seed] - b[seed] for seed in a], "sets, paired by seed")
    return _welch([one.mean for one in ours], [one.mean for one in theirs])


def _paired(differences: Sequence[float], over: str) -> Gap:
    """Mean ± t(n - 1) s / sqrt(n)."""
    mean, n = fmean(differences), len(differences)
    if n < 2:
        return Gap(mean, None, None, None, n, over)
    error = stdev(differences) / sqrt(n)
    if n == FEW and error < NOTHING:
        return Gap(mean, None, None, None, n, over)
    half = t_half_width(error, n - 1)
    return Gap(mean, mean - half, mean + half, error, n, over)


def _welch(a: Sequence[float], b: Sequence[float]) -> Gap:
    """Two independent means with variances of their own; degrees of freedom after Welch and Satterthwaite."""
    mean, parts = fmean(a) - fmean(b), [variance(values) / len(values) for values in (a, b)]
    total, n = sum(parts), len(a) + len(b)
    if sqrt(total) < NOTHING:
        known = None if max(len(a), len(b)) <= FEW else mean
        return Gap(mean, known, known, None if known is None else 0.0, n, "sets, unpaired")
    freedom = total**2 / sum(part**2 / (len(values) - 1) for part, values in zip(parts, (a, b), strict=True))
    half = t_half_width(sqrt(total), freedom)
    return Gap(mean, mean - half, mean + half, sqrt(total), n, "sets, unpaired")
