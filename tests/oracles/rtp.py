"""Bases, budget and upsampling written out with loops, in the dtype of the inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def combine(a: Tensor, bases: Tensor, scale: int) -> Tensor:
    """Every output pixel as the bilinear mix of the four nearest pixels of sum_j a_ij B_j (half-pixel centres)."""
    small = torch.einsum("ik,kcuv->icuv", a, bases)
    height, width = bases.shape[2] * scale, bases.shape[3] * scale
    rows = [_between(y, scale, bases.shape[2]) for y in range(height)]
    columns = [_between(x, scale, bases.shape[3]) for x in range(width)]
    out = torch.zeros(len(a), bases.shape[1], height, width, dtype=a.dtype)
    for y, (y0, y1, fy) in enumerate(rows):
        for x, (x0, x1, fx) in enumerate(columns):
            top = (1 - fx) * small[:, :, y0, x0] + fx * small[:, :, y0, x1]
            bottom = (1 - fx) * small[:, :, y1, x0] + fx * small[:, :, y1, x1]
            out[:, :, y, x] = (1 - fy) * top + fy * bottom
    return out


def _between(position: int, scale: int, count: int) -> tuple[int, int, float]:
    """The two source indices around an output position, and the share of the second."""
    source = max((position + 0.5) / scale - 0.5, 0.0)
    first = min(math.floor(source), count - 1)
    return first, min(first + 1, count - 1), source - first


def affordable(shape: tuple[int, int, int], classes: int, ipc: int, bases: int, scale: int) -> int:
    """The most coefficient rows per class whose bytes, with the bases', do not exceed the budget: by counting up."""
    channels, height, width = shape
    budget = ipc * channels * height * width * classes
    spent = bases * channels * (height // scale) * (width // scale)
    rows = 0
    while spent + (rows + 1) * classes * bases <= budget:
        rows += 1
    return rows
