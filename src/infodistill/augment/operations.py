"""The operations of differentiable siamese augmentation (Zhao & Bilen, ICML 2021), one parameter per image.

Every function maps (n, c, h, w) to (n, c, h, w) with parameters of shape (n,), treats images independently, and is
differentiable in the images to any order. Colour and zero fill act on the values as they come: normalised images get
the data set's mean colour where pixels are missing.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from infodistill.augment.resample import resample, shift

Images = Float[Tensor, "n c h w"]
PerImage = Float[Tensor, " n"]


def brightness(x: Images, offset: PerImage) -> Images:
    """Add an offset: x + offset."""
    return x + _wide(offset)


def saturation(x: Images, factor: PerImage) -> Images:
    """Stretch colours: m + (x - m) factor, m the mean over the channels of a pixel; the identity on one channel."""
    if x.shape[1] == 1:
        return x
    return torch.lerp(x.mean(1, keepdim=True), x, _wide(factor))


def contrast(x: Images, factor: PerImage) -> Images:
    """Stretch values: m + (x - m) factor, m the mean over all values of an image."""
    return torch.lerp(x.mean((1, 2, 3), keepdim=True), x, _wide(factor))


def color(x: Images, offset: PerImage, saturate: PerImage, contrast_factor: PerImage) -> Images:
    """Brightness, then saturation, then contrast."""
    return contrast(saturation(brightness(x, offset), saturate), contrast_factor)


def crop(x: Images, dy: Int[Tensor, " n"], dx: Int[Tensor, " n"]) -> Images:
    """An integer shift, out[y, x] = x[y + dy, x + dx], with zero fill."""
    return shift(x, dy, dx)


def cutout(x: Images, cy: Int[Tensor, " n"], cx: Int[Tensor, " n"], side: tuple[int, int]) -> Images:
    """Zero the rows c - side // 2 ... c - side // 2 + side - 1 (and columns alike), clipped at the borders."""
    hole = _span(x.shape[2], cy, side[0])[:, :, None] & _span(x.shape[3], cx, side[1])[:, None, :]
    return x.masked_fill(hole[:, None], 0.0)


def flip(x: Images, flag: Bool[Tensor, " n"]) -> Images:
    """Mirror left and right where `flag`."""
    return torch.where(_wide(flag), x.flip(3), x)


def scale(x: Images, sx: PerImage, sy: PerImage) -> Images:
    """out(x, y) = x(sx x, sy y) about the centre, bilinear, zero outside; a factor above 1 shrinks the content."""
    zero = torch.zeros_like(sx)
    return resample(x, torch.stack((sx, zero, zero, sy), dim=1).view(-1, 2, 2))


def rotate(x: Images, theta: PerImage) -> Images:
    """Turn by theta radians about the centre, bilinear, zero outside."""
    cos, sin = theta.cos(), theta.sin()
    return resample(x, torch.stack((cos, -sin, sin, cos), dim=1).view(-1, 2, 2))


def _span(length: int, centre: Tensor, side: int) -> Tensor:
    start = (centre - side // 2)[:, None]
    position = torch.arange(length, device=centre.device)
    return (position >= start) & (position < start + side)


def _wide(parameter: Tensor) -> Tensor:
    return parameter[:, None, None, None]
