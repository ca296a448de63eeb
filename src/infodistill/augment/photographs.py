"""The augmentation of networks on photographs (IDC, Minimax Diffusion, IGD, MGD3 on ImageNet): one row per image.

crop (random resized, at least half of the image) -> flip -> jitter (colour, .4 each) -> lighting (PCA, .1), each only
if listed. Jitter and lighting are meant for [0, 1] pixels: a training converts, see `in_pixels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from infodistill.augment.crops import DRAWS, crop_box, enlarge
from infodistill.augment.lighting import ORDERS, colour_shift, jitter, lighting
from infodistill.augment.operations import flip
from infodistill.types import Augment, ValueSpace

STEPS = ("crop", "flip", "jitter", "lighting")
"""In the order they are applied."""

COLUMNS = 12
"""Box (top, left, height, width), flip, order of the jitter, its three factors, the colour of the lighting."""


@dataclass(frozen=True)
class Photographs:
    """See the head of this file.

    Attributes:
        steps: which of `STEPS`; the draws of the others are the same without it.
        area: least and largest share of the pixels a crop keeps.
        ratio: least and largest width/height of a crop.
        strength: of the jitter; factors are U(1 - strength, 1 + strength).
        light: standard deviation of the three PCA coefficients.
    """

    steps: tuple[str, ...] = STEPS
    area: tuple[float, float] = (0.5, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    strength: float = 0.4
    light: float = 0.1

    def __post_init__(self) -> None:
        if unknown := [step for step in self.steps if step not in STEPS]:
            raise ValueError(f"photographs know {', '.join(STEPS)}, not {unknown[0]!r}")

    def draw(self, generator: torch.Generator, rows: int, shape: Sequence[int]) -> Float[Tensor, "rows 12"]:
        """Every column for every row, row by row: n rows are the first n of any longer draw."""
        u = torch.rand(rows, DRAWS + 8, generator=generator)
        box = crop_box(u[:, :DRAWS], (int(shape[1]), int(shape[2])), self.area, self.ratio)
        mirrored, order, *_ = u[:, DRAWS:].unbind(1)
        factors = 1 + (2 * u[:, DRAWS + 2 : DRAWS + 5] - 1) * self.strength
        order = (order * len(ORDERS)).floor().clamp(max=len(ORDERS) - 1)
        flips = (mirrored < 0.5).to(u)
        shift = colour_shift(u[:, DRAWS + 5 :], self.light)
        return torch.cat((box, flips[:, None], order[:, None], factors, shift), 1)

    def apply(self, x: Tensor, record: Tensor, row: Tensor) -> Tensor:
        """Transform image i by `record[row[i]]`; every operation runs on every image, without branches."""
        if record.ndim != 2 or record.shape[1] != COLUMNS:
            raise ValueError(f"the record must be (rows, {COLUMNS}), got {tuple(record.shape)}")
        out = x.to(torch.promote_types(x.dtype, torch.float32))  # half-precision coordinates are off by pixels
        mine = record.to(out)[row.to(x.device)]
        if "crop" in self.steps:
            out = enlarge(out, mine[:, :4])
        if "flip" in self.steps:
            out = flip(out, mine[:, 4] > 0)
        if "jitter" in self.steps:
            out = jitter(out, mine[:, 5], mine[:, 6:9])
        if "lighting" in self.steps:
            out = lighting(out, mine[:, 9:])
        return out.to(x.dtype)

    def apply_branch_free(self, x: Tensor, record: Tensor, row: Tensor) -> Tensor:
        """`apply` itself."""
        return self.apply(x, record, row)


@dataclass(frozen=True)
class InPixels:
    """An augmentation of [0, 1] pixels for images in `space`: converted, transformed, converted back."""

    augment: Augment
    space: ValueSpace

    def draw(self, generator: torch.Generator, rows: int, shape: Sequence[int]) -> Tensor:
        return self.augment.draw(generator, rows, shape)

    def apply(self, x: Tensor, record: Tensor, row: Tensor) -> Tensor:
        return self.space.from_pixels(self.augment.apply(self.space.to_pixels(x), record, row))


def in_pixels(augment: Augment, space: ValueSpace) -> Augment:
    """The augmentation as it applies to images in `space`: `Photographs` work on pixels, others on values as such."""
    return InPixels(augment, space) if isinstance(augment, Photographs) else augment
