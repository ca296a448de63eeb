"""What a study says of seeds: means, standard errors, t-intervals, and when a difference is one."""

from __future__ import annotations

import pytest

from infodistill.studies import tables


def test_estimates() -> None:
    told = tables.estimate([0.90, 0.92, 0.94])
    assert (told.mean, told.n) == (pytest.approx(0.92), 3)
    assert told.error == pytest.approx(0.02 / 3**0.5)
    low, high = told.interval()
    assert high - low == pytest.approx(2 * 4.302653 * told.error)  # t of 2 degrees of freedom
    assert tables.beyond({"mean": 0.03, "error": 0.01, "n": 3})
    assert not tables.beyond({"mean": -0.019, "error": 0.01, "n": 3})
