"""Charts of rows: a name and a number over the whole width, and below them a bar or a dot with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from infodistill.reporting.charts import PAGE, style
from infodistill.reporting.colours import GRID, INK, PAPER
from infodistill.reporting.drawing import own_settings
from infodistill.reporting.lettering import multiline, plain_text, width_of

LINE, BAR, GAP, SIDE, SIZE = 11.0, 9.0, 7.0, 7.0, 9
"""In points: a line of a name, a bar, the gap between rows, the margins beside the axes, the letters."""


def rows(
    names: Sequence[str], told: Sequence[str], words: str, limits: tuple[float, float]
) -> tuple[Figure, Axes, list[float]]:
    """A figure with a name, a text and an empty track a row; the heights at which the tracks lie.

    `words` stand below the axis, whose ends are the `limits`. Heights are points from the top.
    """
    width, below = 72 * PAGE.width, multiline(words, 72 * PAGE.width - 2 * SIDE, SIZE)
    labels = [
        multiline(name, width - 2 * SIDE - width_of(text, SIZE) - 10, SIZE)
        for name, text in zip(names, told, strict=True)
    ]
    tops, places, height = [], [], 2.0
    for label in labels:
        tops.append(height)
        places.append(height + LINE * (label.count("\n") + 1) + 3 + BAR / 2)
        height = places[-1] + BAR / 2 + GAP
    foot = 20 + LINE * (below.count("\n") + 1)
    figure = Figure(figsize=(PAGE.width, (height + foot) / 72))
    box = (SIDE / width, foot / (height + foot), 1 - 2 * SIDE / width, height / (height + foot))
    axes = figure.add_axes(box)
    axes.set_xlim(*limits)
    axes.set_ylim(height, 0)
    axes.barh(places, limits[1] - limits[0], BAR, limits[0], color=GRID)
    across = blended_transform_factory(axes.transAxes, axes.transData)
    for top, label, text in zip(tops, labels, told, strict=True):
        axes.text(0, top, label, transform=across, va="top", fontsize=SIZE, color=INK, linespacing=1.02)
        axes.text(1, top, plain_text(text), transform=across, va="top", ha="right", fontsize=SIZE, color=INK)
    style(axes, below, "")
    axes.grid(False)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    return figure, axes, places


@dataclass(frozen=True)
class Bar:
    """One bar: what was trained on, accuracy in [0, 1], and how it is painted; `hollow` is an outline."""

    label: str
    mean: float
    std: float | None
    colour: str
    hollow: bool = False


@own_settings()
def bars(shown: Sequence[Bar]) -> Figure:
    """A name, a number and a bar a row, with standard deviations; from 0 unless every accuracy exceeds 0.5."""
    ends = [(100 * (bar.mean - (bar.std or 0)), 100 * (bar.mean + (bar.std or 0))) for bar in shown]
    lowest, highest = min(low for low, _ in ends), max(high for _, high in ends)
    start = max(0.0, 10 * math.floor((lowest - 10) / 10)) if lowest > 50 else 0.0
    limits = (start, max(start + 1, highest + 0.02 * (highest - start)))
    told = [f"{100 * bar.mean:.1f}" + ("" if bar.std is None else f" ± {100 * bar.std:.1f}") for bar in shown]
    words = "test accuracy, %" + (f" (the axis starts at {start:.0f})" if start else "")
    figure, axes, places = rows([bar.label for bar in shown], told, words, limits)
    for bar, place in zip(shown, places, strict=True):
        face = PAPER if bar.hollow else bar.colour
        axes.barh(place, 100 * bar.mean - start, BAR, start, facecolor=face, edgecolor=bar.colour, linewidth=1)
        for colour, width, cap in ((PAPER, 3.2, 0), (INK, 1.2, 3)):  # the rim keeps it apart from the bar
            if bar.std is not None:
                axes.errorbar(100 * bar.mean, place, xerr=100 * bar.std, color=colour, linewidth=width, capsize=cap)
    axes.set_xticks([tick for tick in axes.get_xticks() if start <= tick <= min(100, limits[1])])
    axes.set_xlim(*limits)
    return figure
