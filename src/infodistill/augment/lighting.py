"""Colour jitter and PCA lighting of photographs, per image (Krizhevsky et al., NeurIPS 2012; Howard, 2013).

Both act on [0, 1] pixels, are linear in them, and leave values that pass 0 or 1 as they are.
"""

from __future__ import annotations

import math
from itertools import permutations

import torch
from jaxtyping import Float
from torch import Tensor

GREY = (0.299, 0.587, 0.114)
"""Luma of red, green and blue (ITU-R BT.601)."""

EIGENVALUES = (0.2175, 0.0188, 0.0045)
EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
"""Principal components of the colours of ImageNet, standard deviations and columns, as everybody uses them."""

KINDS = ("brightness", "contrast", "saturation")
ORDERS = tuple(permutations(range(len(KINDS))))
"""The orders in which the three may come; a record's `order` is an index into this tuple."""


def jitter(
    x: Float[Tensor, "n c h w"], order: Float[Tensor, " n"], factors: Float[Tensor, "n 3"]
) -> Float[Tensor, "n c h w"]:
    """Brightness, contrast and saturation of image i by its own factors, in its own order.

    Each is m + (x - m) f: towards black (m = 0), towards the mean luma of the image, towards the luma of every pixel.
    One channel is its own luma, so that its saturation does nothing.
    """
    sequence = torch.tensor(ORDERS, device=x.device)[order.long().to(x.device)]  # (n, 3)
    for place in range(len(KINDS)):
        kind = sequence[:, place]
        factor = factors.to(x).gather(1, kind[:, None])
        x = torch.lerp(_towards(x, kind[:, None, None, None]), x, factor[:, :, None, None])
    return x


def lighting(x: Float[Tensor, "n c h w"], shift: Float[Tensor, "n 3"]) -> Float[Tensor, "n c h w"]:
    """A colour added to every pixel; images that are not RGB are left alone."""
    return x + shift.to(x)[:, :, None, None] if x.shape[1] == 3 else x


def colour_shift(u: Float[Tensor, "rows 3"], strength: float) -> Float[Tensor, "rows 3"]:
    """V (alpha * eigenvalues), alpha ~ N(0, strength^2) each, from uniform numbers in [0, 1)."""
    alpha = strength * normal(u)
    return (alpha * u.new_tensor(EIGENVALUES)) @ u.new_tensor(EIGENVECTORS).T


def normal(u: Tensor) -> Tensor:
    """Standard normal numbers from uniform ones: a row of a record takes a fixed number of draws."""
    return torch.erfinv((2 * u - 1).clamp(2**-24 - 1, 1 - 2**-24)) * math.sqrt(2)


def _towards(x: Tensor, kind: Tensor) -> Tensor:
    """The image that a factor of 0 would leave, (n, c, h, w)."""
    luma = (x * x.new_tensor(GREY)[:, None, None]).sum(1, keepdim=True) if x.shape[1] == 3 else x.mean(1, keepdim=True)
    grey = torch.where(kind == KINDS.index("contrast"), luma.mean((2, 3), keepdim=True), luma)
    return torch.where(kind == KINDS.index("brightness"), torch.zeros_like(luma), grey).expand_as(x)
