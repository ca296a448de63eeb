"""What generative networks are trained on: images of a data set as they are denoised, drawn by key, a part held out.

Held out are 10 % of every class, at most about 2,000 images in all: training data that the network never sees, to stop
it before it memorises. Test data are never touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from infodistill.diffusion.model import Codec, Pixels
from infodistill.evaluation.protocols import flippable
from infodistill.real import RealData
from infodistill.seeding import stream

HELD_OUT, MOST_HELD_OUT, PIECE = 0.1, 2000, 256


class Supply(Protocol):
    """Images to train on; `mirrored` says of each row whether it is to be flipped left to right."""

    @property
    def y(self) -> Tensor: ...
    @property
    def flips(self) -> bool: ...
    def __len__(self) -> int: ...
    def images(self, index: Tensor, mirrored: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class PixelSupply:
    """[-1, 1] pixels, converted when they are asked for."""

    real: RealData
    flips: bool

    @property
    def y(self) -> Tensor:
        return self.real.labels

    def __len__(self) -> int:
        return len(self.real)

    def images(self, index: Tensor, mirrored: Tensor) -> Tensor:
        """Rows `index` (n,) as float32 (n, c, h, w) on the device of the data, those of `mirrored` (n,) flipped."""
        x = Pixels().encode(self.real.pixels(index).to(self.real.device).float() / 255)
        return torch.where(mirrored.to(x.device).view(-1, 1, 1, 1), x.flip(3), x) if self.flips else x


@dataclass(frozen=True)
class LatentSupply:
    """Latents (N, c, h, w), encoded once; `mirror`: those of the flipped images, None where flips change labels."""

    x: Tensor
    y: Tensor
    mirror: Tensor | None = None

    @property
    def flips(self) -> bool:
        return self.mirror is not None

    def __len__(self) -> int:
        return len(self.y)

    def images(self, index: Tensor, mirrored: Tensor) -> Tensor:
        """Latents of rows `index`, or of their mirror images: the encoder is not equivariant, so both are kept."""
        index = index.to(self.x.device)
        if self.mirror is None:
            return self.x[index]
        return torch.where(mirrored.to(self.x.device).view(-1, 1, 1, 1), self.mirror[index], self.x[index])


def supplied(real: RealData, codec: Codec) -> Supply:
    """The supply of a codec: pixels as they are, latents encoded now on the device of the data."""
    flips = flippable(real.name)
    if isinstance(codec, Pixels):
        return PixelSupply(real, flips)
    return LatentSupply(_encoded(real, codec), real.labels, _encoded(real, codec, mirrored=True) if flips else None)


@torch.no_grad()
def _encoded(real: RealData, codec: Codec, *, mirrored: bool = False) -> Tensor:
    parts: list[Tensor] = []
    for index in torch.arange(len(real)).split(PIECE):
        pixels = real.pixels(index).to(real.device).float() / 255
        parts.append(codec.encode(pixels.flip(3) if mirrored else pixels))
    return torch.cat(parts)


def held_out(real: RealData, seed: int) -> tuple[RealData, RealData]:
    """(what is trained on, what is validated on): stratified and keyed; both may flip or not as `real` may."""
    return real.split(min(HELD_OUT, MOST_HELD_OUT / len(real)), seed)


def rows_of_step(step: int, batch: int, count: int, seed: int) -> Tensor:
    """Rows of one step, int64 (batch,): a window of keyed permutations of `count` rows laid end to end."""
    first = step * batch
    epochs = range(first // count, (first + batch - 1) // count + 1)
    order = torch.cat([_order(epoch, count, seed) for epoch in epochs])
    start = first - epochs[0] * count
    return order[start : start + batch]


@lru_cache(maxsize=4)
def _order(epoch: int, count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=stream(seed, "generator.order", epoch))
