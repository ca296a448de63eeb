"""Pictures made of images: the grid of a set, a film of a sampling. Display only: files hold the exact values."""

from __future__ import annotations

import base64
import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from infodistill.distilled import Distilled

MOST_COLUMNS, MOST_ROWS, GAP, SIDE, PAPER = 10, 20, 2, 56, "#ffffff"


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


def source_of(png: bytes) -> str:
    """A picture inside a page."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


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


def _image(pixels: Tensor) -> Image.Image:
    values = (pixels.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    if len(values) == 1:
        return Image.fromarray(np.ascontiguousarray(values[0])).convert("RGB")
    return Image.fromarray(np.ascontiguousarray(values[:3].transpose(1, 2, 0)))
