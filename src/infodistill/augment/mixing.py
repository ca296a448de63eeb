"""Mixing of training images and their labels: CutMix (Yun et al., ICCV 2019), as IDC's and NCFM's trainings use it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor

Mix = Callable[[Tensor, Tensor, Generator], tuple[Tensor, Tensor]]
"""mix(images (n, c, h, w), targets (n, k), generator) -> images and targets, mixed; every draw from the generator."""


class Box(NamedTuple):
    """Rows top .. bottom - 1 and columns left .. right - 1."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def area(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)


def box_around(row: int, column: int, keep: float, size: tuple[int, int]) -> Box:
    """The box of sides floor(sqrt(1 - keep) * size) around a pixel, clipped at the borders of the image."""
    half_h, half_w = (int(math.sqrt(1 - keep) * side) // 2 for side in size)
    height, width = size
    return Box(max(row - half_h, 0), min(row + half_h, height), max(column - half_w, 0), min(column + half_w, width))


def paste(
    x: Float[Tensor, "n c h w"], target: Float[Tensor, "n k"], order: Tensor, box: Box
) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n k"]]:
    """Image i with the box of image order[i], and the targets mixed by the two areas."""
    mixed = x.clone()
    rows, columns = slice(box.top, box.bottom), slice(box.left, box.right)
    mixed[:, :, rows, columns] = x[order, :, rows, columns]
    share = box.area / (x.shape[2] * x.shape[3])
    return mixed, torch.lerp(target, target[order], share)


@dataclass(frozen=True)
class CutMix:
    """With some probability per batch, every image gets a box of another one, and its label in proportion.

    The kept share is lam ~ Beta(beta, beta), the box's middle uniform; clipped at the border, its own area counts.

    Args:
        probability: of mixing a batch; 0.5 in IDC and NCFM, 1 for ImageNet.
        beta: parameter of the Beta distribution; 1 (uniform) in both.

    Raises:
        ValueError: a probability outside [0, 1], or beta not positive.
    """

    probability: float = 0.5
    beta: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1 or self.beta <= 0:
            raise ValueError(
                f"CutMix needs a probability in [0, 1] and beta > 0, got {self.probability} and {self.beta}"
            )

    def __call__(self, x: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        # All draws are made whether or not they are used: one batch never shifts the next one's.
        chance, row, column = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
        key = int(torch.randint(2**62, (), generator=generator))  # torch draws no Beta from a generator
        order = torch.randperm(len(x), generator=generator)
        if chance >= self.probability:
            return x, target
        keep, (height, width) = float(np.random.default_rng(key).beta(self.beta, self.beta)), x.shape[2:]
        box = box_around(int(row * height), int(column * width), keep, (height, width))
        return paste(x, target, order.to(x.device), box)


def no_mix(x: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Images and targets as they are."""
    del generator
    return x, target


MIXES: dict[str, Mix] = {"none": no_mix, "cutmix": CutMix(), "cutmix-always": CutMix(probability=1.0)}
"""The mixings a protocol can name."""
