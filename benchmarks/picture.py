"""The picture of the README: all real images, ten random ones, ten distilled ones, and what networks learn from each.

infodistill distill --data digits --ipc 1 --out runs/one
infodistill evaluate runs/one --full
python benchmarks/picture.py runs/one --out docs/figures/idea.png
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from torch import Tensor

import infodistill
from infodistill.artefact import results_of
from infodistill.data import load_data
from infodistill.seeding import key

INK, GREY, BLUE, GREEN = "#1d2530", "#8f99a8", "#2f5d9e", "#3c7f4f"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="an evaluated artefact, one image per class, with its full column")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    distilled, real = infodistill.load(args.folder), load_data("digits")
    ((result,),) = [list((results_of(args.folder) or {}).values())]
    (columns,) = result["nets"].values()
    chosen = real.rows(real.sample(key(0, "evaluate.random"), 1))
    everything = real.rows(torch.arange(len(real)))
    panels = [
        (f"{len(real):,} real images", real.space.to_pixels(everything.x), 62, columns["full"], GREEN),
        ("10 of them, at random", real.space.to_pixels(chosen.x), 5, columns["random"], GREY),
        ("10 distilled images", distilled.space.to_pixels(distilled.images), 5, columns["distilled"], BLUE),
    ]
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), width_ratios=(1.2, 1, 1), layout="constrained")
    for axis, panel in zip(axes, panels, strict=True):
        draw(axis, *panel)
    figure.savefig(args.out, dpi=160, bbox_inches="tight", pad_inches=0.15)


def draw(axes: Axes, title: str, pixels: Tensor, across: int, score: dict[str, Any], colour: str) -> None:
    """One panel: the images, their number, and the accuracy of networks trained on them."""
    axes.imshow(mosaic(pixels, across), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title, fontsize=13, color=INK)
    told = f"{100 * score['mean']:.0f} %"
    for text, below, look in ((told, 8, {"fontsize": 26, "weight": "bold"}), ("test accuracy", 42, {"fontsize": 10})):
        axes.annotate(
            text, (0.5, 0), (0, -below), "axes fraction", "offset points", ha="center", va="top", color=colour, **look
        )


def mosaic(pixels: Tensor, across: int) -> Tensor:
    """(n, 1, h, w) images in rows of `across` with a pixel between, white where there are none."""
    n, _, h, w = pixels.shape
    rows = -(-n // across)
    canvas = torch.ones(rows * (h + 1) + 1, across * (w + 1) + 1)
    for number in range(n):
        i, j = divmod(number, across)
        canvas[i * (h + 1) + 1 : (i + 1) * (h + 1), j * (w + 1) + 1 : (j + 1) * (w + 1)] = pixels[number, 0]
    return canvas


if __name__ == "__main__":
    main()
