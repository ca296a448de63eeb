"""Random resized crops: a part of an image, enlarged to the size of the whole (Szegedy et al., CVPR 2015).

Resizing is bilinear and separable, a matrix for the rows and one for the columns: its adjoint is the transposes, so it
is deterministic on every device and differentiable to any order. A crop is never larger than its image, so nothing is
ever shrunk and no anti-aliasing is called for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

TRIES = 10
"""Areas and shapes tried before the crop is the middle of the image, as everywhere."""

DRAWS = 2 * TRIES + 2
"""Uniform numbers a crop takes: area and shape of every try, then its place."""


def crop_box(
    u: Float[Tensor, "rows draws"],
    size: tuple[int, int],
    area: tuple[float, float] = (0.5, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Float[Tensor, "rows 4"]:
    """(top, left, height, width) in whole pixels, from uniform numbers in [0, 1).

    A try takes the share a ~ U(area) of all pixels in the shape width/height = r, log r ~ U(log ratio), and sides
    sqrt(a h w r) and sqrt(a h w / r), rounded. The first of ten that fits lies uniformly in the image. If none fits,
    the crop is the largest middle part whose shape is within `ratio`.
    """
    height, width = size
    share = area[0] + (area[1] - area[0]) * u[:, 0 : 2 * TRIES : 2]
    low, high = (math.log(r) for r in ratio)
    shape = torch.exp(low + (high - low) * u[:, 1 : 2 * TRIES : 2])
    h, w = ((share * height * width / shape).sqrt().round(), (share * height * width * shape).sqrt().round())
    fits = (h >= 1) & (h <= height) & (w >= 1) & (w <= width)
    first = fits.long().argmax(1, keepdim=True)
    found = fits.any(1)
    middle_h, middle_w = _middle(size, ratio)
    h = torch.where(found, h.gather(1, first)[:, 0], middle_h)
    w = torch.where(found, w.gather(1, first)[:, 0], middle_w)
    free_y, free_x = height - h, width - w
    top = torch.where(found, _place(u[:, -2], free_y), (free_y / 2).floor())
    left = torch.where(found, _place(u[:, -1], free_x), (free_x / 2).floor())
    return torch.stack((top, left, h, w), 1)


def enlarge(x: Float[Tensor, "n c h w"], box: Float[Tensor, "n 4"]) -> Float[Tensor, "n c h w"]:
    """The part (top, left, height, width) of image i, resized to the size of the image.

    Output pixel q reads at (q + 1/2) height / h - 1/2 within the part, its border pixels continued outwards: bilinear
    interpolation with `align_corners=False`, of the part alone.
    """
    top, left, height, width = box.to(x).unbind(1)
    rows, columns = _taps(x.shape[2], top, height), _taps(x.shape[3], left, width)
    return torch.matmul(torch.matmul(rows[:, None], x), columns[:, None].transpose(2, 3))


def _taps(length: int, start: Tensor, extent: Tensor) -> Tensor:
    """(n, length, length): the weight that every output position gives to every input position; rows sum to 1."""
    position = torch.arange(length, device=start.device, dtype=start.dtype)
    place = (position + 0.5) * (extent / length)[:, None] - 0.5  # (n, length)
    inside = torch.minimum(place.clamp(min=0), extent[:, None] - 1) + start[:, None]
    return (1 - (inside[:, :, None] - position).abs()).clamp(min=0)


def _place(u: Tensor, free: Tensor) -> Tensor:
    """Uniform in {0 ... free}; the minimum catches u (free + 1) rounding up."""
    return torch.minimum((u * (free + 1)).floor(), free)


def _middle(size: Sequence[int], ratio: tuple[float, float]) -> tuple[Tensor, Tensor]:
    height, width = size
    h = min(height, round(width / ratio[0]))
    w = min(width, round(height * ratio[1]))
    return torch.tensor(float(h)), torch.tensor(float(w))
