"""Ranks in which what cannot be told apart is not told apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from statistics import fmean, stdev


def mean_error(values: Sequence[float]) -> float | None:
    """Standard error of the mean, s / sqrt(n) with n - 1 in s; None for one value, which has no known error."""
    return stdev(values) / sqrt(len(values)) if len(values) > 1 else None


def shared_ranks(count: int, better: Callable[[int, int], bool]) -> list[int]:
    """Rank of every contender, 1 the best: 1 + the number of contenders that are surely better, better(other, it).

    So contenders share a rank where nobody can tell them apart, and one may tie with two that do not tie with each
    other: the rule counts who is surely better and needs no transitivity.
    """
    everyone = range(count)
    return [1 + sum(better(i, j) for i in everyone if i != j) for j in everyone]


def ranks_of(scores: Sequence[Sequence[float]], within: float = 2.0) -> list[int]:
    """Shared ranks from repeated, independent scores (larger is better): better by more than `within` standard errors.

    The error of a difference is sqrt(se_a^2 + se_b^2). A contender with one score has an unknown error: nobody is told
    apart from it.

    Raises:
        ValueError: a contender without scores.
    """
    if not all(scores):
        raise ValueError("every contender needs a score to be ranked")
    means, errors = [fmean(values) for values in scores], [mean_error(values) for values in scores]

    def better(i: int, j: int) -> bool:
        a, b = errors[i], errors[j]
        return a is not None and b is not None and means[i] - means[j] > within * sqrt(a * a + b * b)

    return shared_ranks(len(scores), better)
