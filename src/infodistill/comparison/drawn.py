"""Pictures of comparisons: differences with their intervals, and accuracy against what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from infodistill.reporting.pictures import COLOURS, INK, MUTED, plain_text, png, style


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


def differences_png(rows: Sequence[Whisker], reference: str) -> bytes:
    """A dot and an interval a row, in points, around 0."""
    figure = Figure(figsize=(7.0, 0.9 + 0.36 * len(rows)), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        if row.low is not None and row.high is not None:
            axes.plot([100 * row.low, 100 * row.high], [place, place], color=COLOURS[0], linewidth=2)
        axes.plot([100 * row.mean], [place], "o", color=COLOURS[0], markersize=6)
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.set_yticks(range(len(rows)), [plain_text(row.label) for row in rows], fontsize=9)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.invert_yaxis()
    style(axes, f"points above {plain_text(reference)}", "")
    axes.tick_params(axis="y", colors=INK, length=0)
    axes.grid(False, axis="y")
    return png(figure)


def costs_png(lines: Mapping[str, Sequence[Point]], cost: str) -> bytes:
    """A line a method through its sizes, accuracy against a cost on a logarithmic axis, bars of one standard error."""
    figure = Figure(figsize=(6.4, 3.8), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    for number, (name, points) in enumerate(lines.items()):
        ordered = sorted(points, key=lambda point: point.cost)
        x, y = [point.cost for point in ordered], [100 * point.mean for point in ordered]
        colour = MUTED if name == RANDOM else COLOURS[number % len(COLOURS)]
        dashes = "--" if name == RANDOM else "-"
        errors = [100 * point.error for point in ordered]
        axes.errorbar(
            x, y, errors, color=colour, linestyle=dashes, marker="o", markersize=5, capsize=3, label=plain_text(name)
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    style(axes, f"{cost} (logarithmic)", "test accuracy, %")
    return png(figure)


RANDOM = "random real images"
"""The line every method is to beat, drawn in grey."""
