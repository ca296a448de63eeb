"""Charts of comparisons: differences with their intervals, and accuracy against what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from infodistill.reporting.charts import PAGE, style
from infodistill.reporting.colours import COLOURS, MUTED, Look
from infodistill.reporting.drawing import own_settings
from infodistill.reporting.pages import points
from infodistill.reporting.rows import BAR, rows


@dataclass(frozen=True)
class Whisker:
    """One row: its name, a value, and an interval or None. Fractions; drawn in points."""

    label: str
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Point:
    """A method at one size: what it costs (bytes, seconds; positive), accuracy in [0, 1] and its standard error."""

    cost: float
    mean: float
    error: float


@own_settings()
def differences(shown: Sequence[Whisker], reference: str, colour: str = COLOURS[0]) -> Figure:
    """A dot and an interval a row, in points, around 0."""
    known = [0.0, *(end for row in shown for end in (row.mean, row.low, row.high) if end is not None)]
    low, high = 100 * min(known), 100 * max(known)
    room = 0.06 * (high - low) or 1.0
    limits = (low - room, high + room)
    names, told = [row.label for row in shown], [points(row.mean) for row in shown]
    figure, axes, places = rows(names, told, f"points above {reference}", limits)
    for place, row in zip(places, shown, strict=True):
        axes.plot([0, 0], [place - BAR / 2 - 2, place + BAR / 2 + 2], color=MUTED, linewidth=1)
        if row.low is not None and row.high is not None:
            axes.plot([100 * row.low, 100 * row.high], [place, place], color=colour, linewidth=2)
        axes.plot([100 * row.mean], [place], "o", color=colour, markersize=6)
    return figure


@own_settings()
def costs(
    lines: Mapping[str, Sequence[Point]], cost: str, shown: Callable[[float], str], drawn_as: Mapping[str, Look]
) -> Figure:
    """A line a method through its sizes, accuracy against a cost on a logarithmic axis, bars of one standard error.

    `shown` says a cost in words, for the axis.
    """
    figure, axes = PAGE.figure()
    handles = []
    for name, points_of in lines.items():
        ordered, look = sorted(points_of, key=lambda point: point.cost), drawn_as[name]
        x, y = [point.cost for point in ordered], [100 * point.mean for point in ordered]
        handles.append(
            axes.errorbar(
                *(x, y, [100 * point.error for point in ordered]),
                color=look.colour,
                linestyle=look.dashes,
                marker=look.marker,
                markersize=5,
                capsize=3,
            )
        )
    _logarithmic(axes, [point.cost for points_of in lines.values() for point in points_of], shown)
    PAGE.key(axes, handles, list(lines))
    style(axes, f"{cost} (logarithmic)", "test accuracy, %")
    return figure


def _logarithmic(axes: Axes, values: Sequence[float], shown: Callable[[float], str]) -> None:
    """A logarithmic axis with two to five numbers on it, whether the values span a tenth of a decade or ten."""
    axes.set_xscale("log")
    low, high = min(values) / 1.06, max(values) * 1.06
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    tried = [
        [found for decade in decades for part in parts if low <= (found := part * 10.0**decade) <= high]
        for parts in ((1, 2, 5), (1, 3), (1,))
    ]
    tried.append([tick for tick in MaxNLocator(3).tick_values(low, high) if low <= tick <= high])
    ticks = next((ticks for ticks in tried if 2 <= len(ticks) <= 5), tried[2][:: 1 + len(tried[2]) // 5])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [shown(tick) for tick in ticks])


RANDOM = "random real images"
"""The line every method is to beat, drawn in grey."""
