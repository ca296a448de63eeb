"""Augmentations that are not siamese dialects: none, integer translation, and DC's evaluation augmentation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from infodistill.augment import operations
from infodistill.augment.resample import shift, take


@dataclass(frozen=True)
class Identity:
    """No augmentation: `apply` returns the images themselves."""

    def draw(self, generator: torch.Generator, rows: int, shape: Sequence[int]) -> Tensor:
        return torch.zeros(rows, 1)

    def apply(self, x: Tensor, record: Tensor, row: Tensor) -> Tensor:
        return x


@dataclass(frozen=True)
class Shift:
    """Translation by whole pixels, dy and dx uniform in {-pixels ... pixels}, zero fill. Record: (dy, dx)."""

    pixels: int = 1

    def __post_init__(self) -> None:
        if self.pixels < 0:
            raise ValueError(f"a shift needs pixels >= 0, got {self.pixels}")

    def draw(self, generator: torch.Generator, rows: int, shape: Sequence[int]) -> Tensor:
        return torch.randint(-self.pixels, self.pixels + 1, (rows, 2), generator=generator).float()

    def apply(self, x: Tensor, record: Tensor, row: Tensor) -> Tensor:
        dy, dx = record.long().to(x.device)[row.to(x.device)].unbind(1)
        return shift(x, dy, dx)


@dataclass(frozen=True)
class DCAugment:
    """DC's evaluation augmentation (Zhao et al., ICLR 2021): one operation per image, not meant to be differentiated.

    crop: shift by {-pad ... pad - 1}, filled with the batch's mean per channel. scale: height and width by factors
    U(1 - stretch, 1 + stretch), nearest pixel, zero fill, centred. rotate: whole degrees in [-degrees, degrees), filled
    with the batch's mean. noise: N(0, noise^2) per value.
    Differs: rotation is bilinear about the image centre (the authors' is a cubic spline on an enlarged canvas).
    """

    strategy: tuple[str, ...]
    pad: int = 4
    stretch: float = 0.2
    degrees: int = 45
    noise: float = 0.001

    def draw(self, generator: torch.Generator, rows: int, shape: Sequence[int]) -> Tensor:
        """Record: op, dy, dx, target height, target width, theta, and c * h * w noise values if noise is listed."""
        u = torch.rand(rows, 6, generator=generator)
        choice = (u[:, 0] * len(self.strategy)).long().clamp(max=len(self.strategy) - 1)
        codes = torch.tensor([DC_OPERATIONS.index(name) for name in self.strategy])
        dy, dx = ((u[:, 1:3] * 2 * self.pad).floor().clamp(max=2 * self.pad - 1) - self.pad).unbind(1)
        factors = 1 + (2 * u[:, 3:5] - 1) * self.stretch
        height, width = (factors * torch.tensor(shape[1:])).floor().clamp(min=1).unbind(1)
        theta = (((2 * u[:, 5] - 1) * self.degrees).floor()) * (math.pi / 180)
        columns = torch.stack((codes[choice].float(), dy, dx, height, width, theta), dim=1)
        if "noise" not in self.strategy:
            return columns
        noise = torch.randn(rows, math.prod(shape), generator=generator) * self.noise
        return torch.cat((columns, noise), dim=1)

    def apply(self, x: Tensor, record: Tensor, row: Tensor) -> Tensor:
        mine = record.to(x)[row.to(x.device)]
        mean = x.mean((0, 2, 3), keepdim=True)
        out = x
        for name in self.strategy:
            chosen = (mine[:, 0] == DC_OPERATIONS.index(name))[:, None, None, None]
            out = torch.where(chosen, _DC[name](x, mine, mean), out)
        return out


def _dc_crop(x: Tensor, mine: Tensor, mean: Tensor) -> Tensor:
    return shift(x - mean, mine[:, 1].long(), mine[:, 2].long()) + mean


def _dc_scale(x: Tensor, mine: Tensor, mean: Tensor) -> Tensor:
    height, width = x.shape[2:]
    canvas = mine[:, 3:5].max(1, keepdim=True).values.clamp(min=max(height, width)).long()
    return take(x, _nearest(height, mine[:, 3:4].long(), canvas), _nearest(width, mine[:, 4:5].long(), canvas))


def _dc_rotate(x: Tensor, mine: Tensor, mean: Tensor) -> Tensor:
    return operations.rotate(x - mean.mean(), mine[:, 5]) + mean.mean()


def _dc_noise(x: Tensor, mine: Tensor, mean: Tensor) -> Tensor:
    return x + mine[:, 6:].view_as(x)


def _nearest(length: int, target: Tensor, canvas: Tensor) -> Tensor:
    """Source index of every pixel after resizing to `target`, centring on `canvas` and cutting `length` out again."""
    position = torch.arange(length, device=target.device) + (canvas - length) // 2 - (canvas - target) // 2
    return torch.where((position >= 0) & (position < target), position * length // target, -1)


DC_OPERATIONS = ("crop", "scale", "rotate", "noise")
_DC: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = dict(
    zip(DC_OPERATIONS, (_dc_crop, _dc_scale, _dc_rotate, _dc_noise), strict=True)
)
