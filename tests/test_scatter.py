"""The statistics of the scatter: what size explains is not credited to a number."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

_SPEC = importlib.util.spec_from_file_location(
    "scatter_table", Path(__file__).parents[1] / "benchmarks" / "scatter_table.py"
)
assert _SPEC is not None and _SPEC.loader is not None
scatter = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(scatter)


@pytest.fixture(autouse=True)
def _fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scatter, "RESAMPLES", 60)


def row(method: str, shown: int, value: float, accuracy: float, name: str = "") -> dict[str, Any]:
    told = {"mean": accuracy, "values": [accuracy] * 4}
    return {
        "name": name or f"{method}{shown}{value}",
        "data": "toy",
        "method": method,
        "shown": shown,
        "accuracy": told,
        "profile": {"x": value},
    }


def read(rows: list[dict[str, Any]]) -> Mapping[str, Any]:
    return scatter.conclude(rows)["correlations"]["toy"]


def confounded() -> list[dict[str, Any]]:
    """Both grow with the size; at one size they have nothing to do with each other, on average."""
    order = [0.2, 0.5, 0.1, 0.4, 0.3]
    mirrored = order[::-1]  # the opposite correlation, whatever it is
    small = [row(f"m{i}", 1, i, a) for i, a in enumerate(order)]
    large = [row(f"m{i}", 10, 100 + i, 10 + a) for i, a in enumerate(mirrored)]
    return [*small, *large]


def test_what_size_explains_is_left_out() -> None:
    found = read(confounded())["x"]
    assert found["all"]["spearman"] > 0.7
    assert found["within"]["spearman"] == pytest.approx(0, abs=1e-12)
    assert found["within"]["kendall"] == pytest.approx(0, abs=1e-12)
    assert found["within"]["n"] == 10


def test_a_group_in_which_the_number_is_constant_does_not_count() -> None:
    rows = [row(f"m{i}", 10, i, i) for i in range(6)] + [row(f"m{i}", 1, 0.0, i, f"c{i}") for i in range(6)]
    found = read(rows)["x"]
    assert found["within"]["spearman"] == pytest.approx(1)
    assert found["within"]["n"] == 6
    assert found["by_size"]["1"]["spearman"] is None


def test_groups_count_by_their_sets() -> None:
    up = [row(f"m{i}", 1, i, i) for i in range(5)]
    down = [row(f"m{i}", 10, i, -i) for i in range(10)]
    assert read(up + down)["x"]["within"]["spearman"] == pytest.approx((5 - 10) / 15)


def test_seeds_of_a_method_count_once_among_methods_and_widen_its_interval() -> None:
    """Ten copies of every set are no news: the interval by sets shrinks, that by methods does not."""
    values = [(0, 0.1), (1, 0.4), (2, 0.2), (3, 0.5), (4, 0.3), (5, 0.6)]
    rows = [row(f"m{x}", 1, x + seed / 1e4, a + seed / 1e4, f"{x}/{seed}") for x, a in values for seed in range(10)]
    found = read(rows)["x"]
    assert found["methods"]["n"] == 6

    def width(of: str) -> float:
        low, high = found["within"][of]["spearman"]
        return high - low

    assert width("by_methods") > 1.5 * width("by_sets")


def test_the_controls_are_told_beside_the_numbers() -> None:
    found = read(confounded())
    assert found[scatter.SIZE]["all"]["spearman"] > 0.8
    assert found[scatter.SIZE]["within"]["spearman"] is None
    assert found[scatter.SEEN]["within"]["spearman"] == pytest.approx(1)
    assert "| x | +0." in scatter.table(found)
