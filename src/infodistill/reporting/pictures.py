"""Pictures: the image grid of a set and the curves and bars of a report. Display only: files hold the exact values."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter
from PIL import Image
from torch import Tensor

from infodistill.distilled import Distilled

MOST_COLUMNS, MOST_ROWS, GAP, SIDE = 10, 20, 2, 56
INK, MUTED, PAPER = "#1d2530", "#667085", "#ffffff"
COLOURS = ("#2f5d9e", "#c2571a", "#3c7f4f", "#8a4f9e", "#a08412", "#4a9aa8", "#b0413e", "#5b6573")
COLUMN_COLOURS = {
    "random": "#b4bcc8",
    "random_same_bytes": "#8f99a8",
    "distilled": "#2f5d9e",
    "distilled_hard": "#7ea2cf",
    "full": "#3c7f4f",
}
Curve = tuple[Sequence[float], Sequence[float]]


def clipped_share(distilled: Distilled) -> tuple[float, float]:
    """(mean, largest) over the images: the share of pixels outside [0, 1], which a picture must clip."""
    pixels = distilled.space.to_pixels(distilled.images.detach().float().cpu())
    share = ((pixels < 0) | (pixels > 1)).flatten(1).float().mean(1)
    return float(share.mean()), float(share.max())


def grid_caption(distilled: Distilled) -> str:
    """What the grid shows and what it hides."""
    mean, most = clipped_share(distilled)
    rows, columns = min(distilled.num_classes, MOST_ROWS), min(distilled.ipc, MOST_COLUMNS)
    part = "" if (rows, columns) == (distilled.num_classes, distilled.ipc) else ", the first of each"
    clip = f"For display each image is clipped to [0, 1]: {100 * mean:.1f} % of its pixels on average"
    return (
        f"{rows} classes (rows) × {columns} images{part}. {clip}, {100 * most:.1f} % at most. The file is not clipped."
    )


def grid(distilled: Distilled) -> Image.Image:
    """Rows are classes, columns are images; pixels clipped to [0, 1], enlarged by a whole number."""
    _, height, width = distilled.shape
    scale = max(1, round(SIDE / max(height, width)))
    rows = min(distilled.num_classes, MOST_ROWS)
    columns = min(distilled.ipc, MOST_COLUMNS)
    step_y, step_x = height * scale + GAP, width * scale + GAP
    canvas = Image.new("RGB", (columns * step_x + GAP, rows * step_y + GAP), PAPER)
    pixels = distilled.space.to_pixels(distilled.images.detach().float().cpu())
    for row in range(rows):
        for column, index in enumerate((distilled.y.cpu() == row).nonzero().flatten().tolist()[:columns]):
            tile = _image(pixels[index]).resize((width * scale, height * scale), Image.Resampling.NEAREST)
            canvas.paste(tile, (GAP + column * step_x, GAP + row * step_y))
    return canvas


def grid_png(distilled: Distilled) -> bytes:
    file = io.BytesIO()
    grid(distilled).save(file, format="PNG", optimize=True)
    return file.getvalue()


def curves_png(curves: Mapping[str, Curve], label: str) -> bytes:
    """Named lines over steps; the vertical axis is logarithmic when all values are positive and span a factor of 20."""
    figure = Figure(figsize=(5.6, 3.1), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    positive = [v for _, values in curves.values() for v in values if math.isfinite(v)]
    for number, (name, (steps, values)) in enumerate(curves.items()):
        axes.plot(steps, values, color=COLOURS[number % len(COLOURS)], linewidth=1.5, label=plain_text(name))
    if positive and min(positive) > 0 and max(positive) > 20 * min(positive):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    style(axes, "step", label)
    return png(figure)


def film_png(frames: Tensor) -> bytes:
    """Images over time (moments, images, c, h, w) in [0, 1]: one row an image, time from left to right."""
    moments, images, _, height, width = frames.shape
    scale = max(1, round(SIDE / max(height, width)))
    step_y, step_x = height * scale + GAP, width * scale + GAP
    canvas = Image.new("RGB", (moments * step_x + GAP, images * step_y + GAP), PAPER)
    for column in range(moments):
        for row in range(images):
            tile = _image(frames[column, row]).resize((width * scale, height * scale), Image.Resampling.NEAREST)
            canvas.paste(tile, (GAP + column * step_x, GAP + row * step_y))
    file = io.BytesIO()
    canvas.save(file, format="PNG", optimize=True)
    return file.getvalue()


def images_over_levels_png(sigmas: Tensor, values: Tensor, y: Tensor, label: str) -> bytes:
    """A thin line for every image, values (s, n) at noise levels (s,), coloured by class y (n,), and their mean.

    Noise falls from left to right, as in sampling; of more than 80 images, 80 evenly spread ones are drawn.
    """
    figure = Figure(figsize=(5.6, 3.1), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    rows = torch.linspace(0, len(y) - 1, min(80, len(y))).round().long()
    for row, kind in zip(rows.tolist(), y[rows].tolist(), strict=True):
        colour = COLOURS[kind % len(COLOURS)]
        axes.plot(sigmas.tolist(), values[:, row].tolist(), color=colour, linewidth=0.6, alpha=0.5)
    axes.plot(sigmas.tolist(), values.nanmean(1).tolist(), color=INK, linewidth=1.8, label="mean over images")
    axes.set_xscale("log")
    axes.invert_xaxis()
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    style(axes, "noise level σ (sampling runs to the right)", label)
    return png(figure)


@dataclass(frozen=True)
class Bar:
    """One bar: what was trained on, the column it is, accuracy in [0, 1]."""

    label: str
    column: str
    mean: float
    std: float


def bars_png(bars: Sequence[Bar]) -> bytes:
    """Horizontal bars with standard deviations; the axis starts at 0 unless every accuracy exceeds 0.5."""
    figure = Figure(figsize=(7.0, 0.75 + 0.36 * len(bars)), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    means, stds = [100 * bar.mean for bar in bars], [100 * bar.std for bar in bars]
    colours = [COLUMN_COLOURS[bar.column] for bar in bars]
    axes.barh(range(len(bars)), means, 0.66, xerr=stds, color=colours, ecolor=INK, capsize=3)
    lowest = min(mean - std for mean, std in zip(means, stds, strict=True))
    start = max(0.0, 10 * math.floor((lowest - 10) / 10)) if lowest > 50 else 0.0
    end = max(mean + std for mean, std in zip(means, stds, strict=True))
    axes.set_xlim(start, end + 0.14 * (end - start))
    axes.set_xticks([tick for tick in axes.get_xticks() if start <= tick <= 100])
    axes.set_xlim(start, end + 0.14 * (end - start))
    for place, (mean, std) in enumerate(zip(means, stds, strict=True)):
        text = f"{mean:.1f} ± {std:.1f}"
        where = (mean + std, place)
        axes.annotate(text, where, (5, 0), textcoords="offset points", va="center", fontsize=8, color=INK)
    axes.set_yticks(range(len(bars)), [plain_text(bar.label) for bar in bars], fontsize=9)
    axes.invert_yaxis()
    style(axes, "test accuracy, %" + (f" (the axis starts at {start:.0f})" if start else ""), "")
    axes.tick_params(axis="y", colors=INK, length=0)
    axes.grid(False, axis="y")
    return png(figure)


def plain_text(label: str) -> str:
    """A label drawn as it is: no formulas between dollar signs, no underscore in front that hides it from a legend."""
    return " " * label.startswith("_") + label.replace("$", r"\$")


def _image(pixels: Tensor) -> Image.Image:
    values = (pixels.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    if len(values) == 1:
        return Image.fromarray(np.ascontiguousarray(values[0])).convert("RGB")
    return Image.fromarray(np.ascontiguousarray(values[:3].transpose(1, 2, 0)))


def style(axes: Axes, x: str, y: str) -> None:
    """Labels, a quiet grid and no box: how every plot here looks."""
    axes.set_xlabel(x, fontsize=9, color=MUTED)
    axes.set_ylabel(y, fontsize=9, color=MUTED)
    axes.tick_params(labelsize=8, colors=MUTED, length=3)
    axes.grid(True, color="#e6e9ee", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#c5ccd6")


def png(figure: Figure) -> bytes:
    """The figure as the content of a PNG file."""
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file)
    return file.getvalue()
