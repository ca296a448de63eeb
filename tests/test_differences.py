"""Differences and their intervals against scipy's tests; ranks that share what cannot be told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from scipy import stats

from infodistill.comparison.differences import Gap, Scored, gap
from infodistill.comparison.ranking import mean_error, ranks_of, shared_ranks

A = [[0.90, 0.92, 0.91], [0.93, 0.95, 0.92], [0.88, 0.90, 0.92]]
B = [[0.89, 0.90, 0.90], [0.92, 0.91, 0.93], [0.88, 0.87, 0.90]]


def sets(rows: Sequence[Sequence[float]], seeds: Sequence[int | None] = (0, 1, 2)) -> list[Scored]:
    return [Scored(seed, dict(enumerate(row))) for seed, row in zip(seeds, rows, strict=False)]


def same(found: Gap, interval: Sequence[float]) -> bool:
    assert found.low is not None and found.high is not None
    return math.isclose(found.low, interval[0], rel_tol=1e-9) and math.isclose(found.high, interval[1], rel_tol=1e-9)


def test_one_set_each_is_the_paired_t_test_over_networks() -> None:
    found = gap(sets(A[:1]), sets(B[:1]))
    theirs = stats.ttest_rel(A[0], B[0]).confidence_interval()
    assert (found.n, found.over) == (3, "networks") and same(found, theirs)
    assert found.as_dict()["mean"] == found.mean


def test_sets_of_the_same_seeds_are_pairs_whatever_their_order() -> None:
    means = [[sum(row) / 3 for row in rows] for rows in (A, B)]
    found = gap(sets(A), list(reversed(sets(B))))
    assert (found.n, found.over) == (3, "sets, paired by seed")
    assert same(found, stats.ttest_rel(*means).confidence_interval())


@pytest.mark.parametrize("seeds", [(0, 1, 3), (0, 0, 1), (None, None, None)])
def test_sets_of_other_seeds_are_independent(seeds: tuple[int | None, ...]) -> None:
    means = [[sum(row) / 3 for row in rows] for rows in (A, B)]
    found = gap(sets(A, seeds), sets(B))
    assert found.over == "sets, unpaired"
    assert same(found, stats.ttest_ind(*means, equal_var=False).confidence_interval())


def test_several_sets_against_one_count_as_their_average_network_by_network() -> None:
    found = gap(sets(A), sets(B[:1]))
    average = [sum(column) / 3 for column in zip(*A, strict=True)]
    assert found.over == "networks" and same(found, stats.ttest_rel(average, B[0]).confidence_interval())


def test_only_common_networks_count_and_without_any_it_refuses() -> None:
    ours, theirs = Scored(0, {0: 0.5, 1: 0.6, 2: 0.7}), Scored(0, {1: 0.5, 2: 0.5, 3: 0.0})
    assert math.isclose(gap([ours], [theirs]).mean, 0.15)
    assert gap([ours], [Scored(0, {0: 0.1})]).low is None  # one pair has no interval
    with pytest.raises(ValueError, match="share none"):
        gap([ours], [Scored(0, {7: 0.1})])
    with pytest.raises(ValueError, match="share none"):
        gap([ours], [])


def test_two_that_agree_by_chance_have_no_interval() -> None:
    found = gap(sets([[0.9, 0.8]]), sets([[0.5, 0.4]]))  # equal but for rounding
    assert found.mean == pytest.approx(0.4) and (found.low, found.high, found.error) == (None, None, None)
    assert found.n == 2 and not found.sure
    assert gap(sets([[0.9, 0.8, 0.7]]), sets([[0.5, 0.4, 0.3]])).low == pytest.approx(0.4)
    apart = [sets([[0.9], [0.9]], (0, 1)), sets([[0.5], [0.5]], (2, 3))]
    assert gap(*apart).over == "sets, unpaired" and gap(*apart).low is None


def test_sure_takes_two_errors_and_the_interval() -> None:
    assert Gap(0.03, 0.001, 0.059, 0.01, 5, "networks").sure
    assert not Gap(0.03, -0.001, 0.061, 0.01, 3, "networks").sure
    assert not Gap(0.0199, 0.0001, 0.04, 0.01, 900, "networks").sure
    assert not Gap(0.03, None, None, None, 1, "networks").sure


def test_ranks_are_shared_where_nothing_tells_apart() -> None:
    # 0 and 1 differ by 1.4 errors of the difference, 1 and 2 by 1.4, 0 and 2 by 2.8
    scores = [[0.92, 0.94], [0.90, 0.92], [0.88, 0.90]]
    assert mean_error(scores[0]) == pytest.approx(0.01)
    assert ranks_of(scores) == [1, 1, 2]
    assert ranks_of(list(reversed(scores))) == [2, 1, 1]
    assert ranks_of(scores, within=1.0) == [1, 2, 3]
    assert ranks_of([[0.9], [0.1, 0.1]]) == [1, 1]
    assert shared_ranks(3, lambda i, j: i < j) == [1, 2, 3] and shared_ranks(0, lambda i, j: True) == []
    with pytest.raises(ValueError, match="needs a score"):
        ranks_of([[]])
