"""Siamese augmentation in float64 numpy, one image (c, h, w) at a time, pixel by pixel as it was published."""

from __future__ import annotations

import math

import numpy as np

Array = np.ndarray


def color(x: Array, offset: float, saturate: float, contrast: float) -> Array:
    """Brightness, saturation, contrast, in this order."""
    x = x + offset
    grey = x.mean(0, keepdims=True)
    x = grey + (x - grey) * saturate
    return x.mean() + (x - x.mean()) * contrast


def crop(x: Array, dy: int, dx: int) -> Array:
    """A clamped gather on a 1-pixel zero border, as the public code does it."""
    _, h, w = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    out = np.empty_like(x)
    for i in range(h):
        for j in range(w):
            out[:, i, j] = padded[:, min(max(i + dy + 1, 0), h + 1), min(max(j + dx + 1, 0), w + 1)]
    return out


def cutout(x: Array, cy: int, cx: int, side: tuple[int, int]) -> Array:
    """Zero the clamped positions centre + k - side // 2, k = 0 .. side - 1."""
    _, h, w = x.shape
    out = x.copy()
    for k in range(side[0]):
        for m in range(side[1]):
            out[:, min(max(cy + k - side[0] // 2, 0), h - 1), min(max(cx + m - side[1] // 2, 0), w - 1)] = 0
    return out


def flip(x: Array, flag: bool) -> Array:
    return x[:, :, ::-1].copy() if flag else x


def affine(x: Array, matrix: Array, *, corners: bool) -> Array:
    """Bilinear sampling at theta times the normalised output position; -1 and 1 are pixel edges, or pixel centres."""
    _, h, w = x.shape
    out = np.zeros_like(x)
    for i in range(h):
        for j in range(w):
            place = matrix @ np.array([_normalised(j, w, corners), _normalised(i, h, corners)])
            px, py = _pixel(place[0], w, corners), _pixel(place[1], h, corners)
            for y in (math.floor(py), math.floor(py) + 1):
                for z in (math.floor(px), math.floor(px) + 1):
                    if 0 <= y < h and 0 <= z < w:
                        out[:, i, j] += (1 - abs(py - y)) * (1 - abs(px - z)) * x[:, y, z]
    return out


def scale(x: Array, sx: float, sy: float, *, corners: bool = False) -> Array:
    return affine(x, np.diag([sx, sy]), corners=corners)


def rotate(x: Array, theta: float, *, corners: bool = False) -> Array:
    """On non-square images normalised axes are rescaled first, so that the turn is a turn in pixels."""
    _, h, w = x.shape
    ratio = (h - 1) / (w - 1) if corners else h / w
    cos, sin = math.cos(theta), math.sin(theta)
    return affine(x, np.array([[cos, -sin * ratio], [sin / ratio, cos]]), corners=corners)


def _normalised(index: int, length: int, corners: bool) -> float:
    return 2 * index / (length - 1) - 1 if corners else (2 * index + 1) / length - 1


def _pixel(place: float, length: int, corners: bool) -> float:
    return (place + 1) / 2 * (length - 1) if corners else ((place + 1) * length - 1) / 2


def dc_scale(x: Array, height: int, width: int) -> Array:
    """Nearest resize to (height, width), centred on a zero canvas, central part cut out."""
    c, h, w = x.shape
    small = np.empty((c, height, width))
    for i in range(height):
        for j in range(width):
            small[:, i, j] = x[:, i * h // height, j * w // width]
    side = max(height, width, h, w)
    canvas = np.zeros((c, side, side))
    top, left = (side - height) // 2, (side - width) // 2
    canvas[:, top : top + height, left : left + width] = small
    top, left = (side - h) // 2, (side - w) // 2
    return canvas[:, top : top + h, left : left + w]
