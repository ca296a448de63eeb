"""How stored images become the images networks see: multi-formation of tiles, and storage as [0, 1] pixels.

Multi-formation (IDC, Kim et al., ICML 2022; the partition of IDM, Zhao et al., CVPR 2023) keeps f x f small images in
every stored one. Networks see each of them enlarged, so IPC stored images count as IPC f^2 for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from infodistill.types import ValueSpace

if TYPE_CHECKING:
    from infodistill.synthetic import SyntheticSet


def tile_side(side: int, factor: int) -> int:
    """Pixels of a tile along a side: ceil(side / factor).

    Raises:
        ValueError: the last tile would begin beyond the image and hold nothing of it.
    """
    pixels = -(-side // factor)
    if pixels * (factor - 1) >= side:
        raise ValueError(
            f"{factor} tiles of {pixels} pixels along a side of {side} leave tiles without an image: take a smaller "
            "factor"
        )
    return pixels


def tiles(pixels: Float[Tensor, "n c h w"], factor: int, fill: float = 0.5) -> Float[Tensor, "m c h w"]:
    """Cut every image into factor x factor tiles and enlarge each to the whole size; m = n factor^2.

    An image whose sides are no multiples of `factor` is first continued below and to the right with `fill`. Bilinear,
    corners not aligned. The tiles of an image stand together, row by row.

    Differs: the released code orders tile after tile over all images; here a class stays in one piece.
    """
    if factor == 1:
        return pixels
    n, c, h, w = pixels.shape
    high, wide = tile_side(h, factor), tile_side(w, factor)
    whole = F.pad(pixels, (0, wide * factor - w, 0, high * factor - h), value=fill)
    cut = whole.view(n, c, factor, high, factor, wide).permute(0, 2, 4, 1, 3, 5).reshape(-1, c, high, wide)
    return F.interpolate(cut, (h, w), mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class MultiFormation:
    """The decoder of a set whose stored images hold `factor` x `factor` tiles.

    Args:
        factor: tiles along each side; 1 stores whole images.
        space: the value space of decoded images where [0, 1] pixels are stored; None: stored values are decoded ones.
        fill: value, in what is stored, of the pixels a tile lacks where a side is no multiple of `factor`.
    """

    factor: int = 2
    space: ValueSpace | None = None
    fill: float = 0.5

    def __post_init__(self) -> None:
        if self.factor < 1:
            raise ValueError(f"the factor of multi-formation must be at least 1, got {self.factor}")

    def __call__(self, pixels: Tensor) -> Tensor:
        images = tiles(pixels, self.factor, self.fill)
        return images if self.space is None else self.space.from_pixels(images)


@dataclass(frozen=True)
class Clamped:
    """Keep stored pixels in [0, 1]: a `Project` that acts after every update, or after every `every`-th."""

    every: int = 1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"pixels are clamped every so many updates, at least 1, got {self.every}")

    def __call__(self, syn: SyntheticSet, step: int) -> None:
        if (step + 1) % self.every == 0:
            with torch.no_grad():
                syn.pixels.clamp_(0, 1)
