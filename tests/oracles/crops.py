"""Resized crops and colour changes of photographs in float64 numpy, one image (c, h, w) and one pixel at a time."""

from __future__ import annotations

import math

import numpy as np

Array = np.ndarray
LUMA = (0.299, 0.587, 0.114)


def enlarge(x: Array, top: int, left: int, height: int, width: int) -> Array:
    """Cut the part out, then resize it: every output pixel mixes the four of the part around the place it reads."""
    channels, h, w = x.shape
    part = x[:, top : top + height, left : left + width]
    out = np.zeros((channels, h, w))
    for i in range(h):
        for j in range(w):
            y = min(max((i + 0.5) * height / h - 0.5, 0.0), height - 1.0)
            z = min(max((j + 0.5) * width / w - 0.5, 0.0), width - 1.0)
            y0, z0 = math.floor(y), math.floor(z)
            for a, weight_y in ((y0, 1 - (y - y0)), (min(y0 + 1, height - 1), y - y0)):
                for b, weight_z in ((z0, 1 - (z - z0)), (min(z0 + 1, width - 1), z - z0)):
                    out[:, i, j] += weight_y * weight_z * part[:, a, b]
    return out


def luma(x: Array) -> Array:
    """(h, w)."""
    return x[0] if len(x) == 1 else sum(weight * channel for weight, channel in zip(LUMA, x, strict=True))


def jitter(x: Array, names: list[str], factors: dict[str, float]) -> Array:
    """Blend with black, with the mean luma, with the luma of each pixel, in the order of `names`."""
    for name in names:
        other = {"brightness": 0.0, "contrast": luma(x).mean(), "saturation": luma(x)[None]}[name]
        x = other * (1 - factors[name]) + x * factors[name]
    return x
