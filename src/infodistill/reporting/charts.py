"""Charts of a report as matplotlib figures; `drawing` makes a file or a part of a page of them.

Charts of pages are so narrow that on a phone, where one fills the width, their letters are read without zooming.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter
from torch import Tensor

from infodistill.reporting.colours import AXIS, CONTROL, GRID, INK, MUTED, PAPER, Look, looks
from infodistill.reporting.drawing import own_settings
from infodistill.reporting.lettering import multiline, plain_text, width_of

Curve = tuple[Sequence[float], Sequence[float]]
Key = Callable[[Axes, Sequence[Any], Sequence[str]], None]
"""(axes, what was drawn, its names): where the names stand."""


def key_within(axes: Axes, drawn: Sequence[Any], names: Sequence[str]) -> None:
    """Inside the axes, where there is room."""
    axes.legend(drawn, [plain_text(name) for name in names], frameon=False, fontsize=8, labelcolor=INK)


def key_above(axes: Axes, drawn: Sequence[Any], names: Sequence[str]) -> None:
    """Above the axes over the whole width, long names on several lines; the figure grows by what the names need."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    width = 72 * figure.get_figwidth()
    labels = [multiline(name, width - 34, 8) for name in names]
    widest = max((width_of(line, 8) for label in labels for line in label.split("\n")), default=0)
    columns = max(1, min(3, int(width // (widest + 34))))
    legend = figure.legend(drawn, labels, loc="outside upper left", ncols=columns, frameon=False, fontsize=8)
    for text in legend.get_texts():
        text.set_color(INK)
    lines = sum(label.count("\n") + 1 for label in labels) / columns
    figure.set_figheight(figure.get_figheight() + math.ceil(lines) * 12 / 72)


@dataclass(frozen=True)
class Sheet:
    """Width and height of a chart of lines in inches, and where the names of its lines stand."""

    width: float
    height: float
    key: Key

    def figure(self) -> tuple[Figure, Axes]:
        figure = Figure(figsize=(self.width, self.height), dpi=130, layout="constrained")
        return figure, figure.add_subplot()


FILE, PAGE = Sheet(5.6, 3.1, key_within), Sheet(4.2, 2.4, key_above)


@own_settings()
def curves(
    lines: Mapping[str, Curve], label: str, drawn_as: Mapping[str, Look] | None = None, sheet: Sheet = FILE
) -> Figure:
    """Named lines over steps; the vertical axis is logarithmic when all values are positive and span a factor of 20."""
    figure, axes = sheet.figure()
    known = drawn_as or looks(lines)
    positive = [v for _, values in lines.values() for v in values if math.isfinite(v)]
    handles = [
        axes.plot(steps, values, color=known[name].colour, linestyle=known[name].dashes, linewidth=1.5)[0]
        for name, (steps, values) in lines.items()
    ]
    if positive and min(positive) > 0 and max(positive) > 20 * min(positive):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    sheet.key(axes, handles, list(lines))
    style(axes, "step", label)
    return figure


@own_settings()
def images_over_levels(sigmas: Tensor, values: Tensor, colour: str) -> Figure:
    """A thin line for every image, values (s, n) at noise levels (s,), and their mean in a colour.

    Noise falls from left to right, as in sampling; of more than 80 images, 80 evenly spread ones are drawn.
    """
    figure, axes = PAGE.figure()
    levels, mean = sigmas.tolist(), values.nanmean(1).tolist()
    rows = torch.linspace(0, values.shape[1] - 1, min(80, values.shape[1])).round().long().tolist()
    threads = [axes.plot(levels, values[:, row].tolist(), color=CONTROL, linewidth=0.5)[0] for row in rows]
    axes.plot(levels, mean, color=PAPER, linewidth=4)
    (line,) = axes.plot(levels, mean, color=colour, linewidth=2)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.invert_xaxis()
    PAGE.key(axes, [threads[0], line], ["an image", "mean over images"])
    style(axes, "noise level σ (sampling runs to the right)", "")
    return figure


def style(axes: Axes, x: str, y: str) -> None:
    """Labels, a quiet grid and no box: how every chart here looks."""
    axes.set_xlabel(x, fontsize=9, color=MUTED)
    axes.set_ylabel(y, fontsize=9, color=MUTED)
    axes.tick_params(labelsize=8, colors=MUTED, length=3)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(AXIS)
