"""The scatter as pictures: accuracy against every number of the profile, a colour per method, a marker per size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from infodistill.files import write_atomically

MARKERS = {1: "o", 5: "^", 10: "s", 40: "D"}
ACROSS = 5


def family(method: str) -> str:
    """What shares a colour: a method with and without an added term is told apart, guided samples are not."""
    return "sampled" if method.startswith("sampled") else method


def colours(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Random subsets black, everything else by name."""
    others = sorted({family(row["method"]) for row in rows} - {"random"})
    palette = [*colormaps["tab20"].colors, *colormaps["Dark2"].colors]  # type: ignore[attr-defined]
    return {"random": "black", **dict(zip(others, palette, strict=False))}


def draw(rows: Sequence[Mapping[str, Any]], found: Mapping[str, Any], path: Path, title: str) -> None:
    """One panel per number; its title tells the correlation over all sizes and at equal size.

    `rows` are those of one data set, `found` their correlations by number.
    """
    names = sorted({name for row in rows for name in row["profile"]}, key=lambda n: -_strength(found[n]))
    down = -(-(len(names) + 1) // ACROSS)
    figure = Figure(figsize=(3.6 * ACROSS, 3.0 * down), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    palette = colours(rows)
    for place, name in enumerate(names):
        axes = figure.add_subplot(down, ACROSS, place + 1)
        for row in rows:
            if name in row["profile"]:
                axes.plot(
                    row["profile"][name], 100 * row["accuracy"]["mean"], MARKERS.get(row["shown"], "x"), ms=5,
                    color=palette[family(row["method"])], alpha=0.75, mew=0,
                )  # fmt: skip
        axes.set_title(_told(name, found[name]), fontsize=9)
        axes.set_ylabel("test accuracy, %", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.25)
    _legend(figure.add_subplot(down, ACROSS, len(names) + 1), palette, sorted({row["shown"] for row in rows}))
    write_atomically(path, lambda partial: figure.savefig(partial, dpi=90, format="png"))


def _strength(one: Mapping[str, Any]) -> float:
    return abs(one["within"]["spearman"] or 0.0)


def _told(name: str, one: Mapping[str, Any]) -> str:
    values = [one[reading]["spearman"] for reading in ("all", "within")]
    alone, equal = ("–" if value is None else f"{value:+.2f}" for value in values)
    return f"{name}\nall sizes {alone}, equal size {equal}"


def _legend(axes: Axes, palette: Mapping[str, Any], sizes: Sequence[int]) -> None:
    axes.axis("off")
    dots = [Line2D([], [], marker="o", ls="", color=colour, label=name) for name, colour in palette.items()]
    shapes = [
        Line2D([], [], marker=MARKERS.get(size, "x"), ls="", color="grey", label=f"{size} images per class")
        for size in sizes
    ]
    axes.legend(handles=[*shapes, *dots], fontsize=7, ncols=2, loc="center", frameon=False)
