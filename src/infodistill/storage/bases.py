"""Images as combinations of shared bases (RTP, Deng & Russakovsky 2022, arXiv:2206.02916).

    X = up_s(A B),    A (n, k) coefficients, the stored rows;    B (k, ch, h/s, w/s) bases, shared by all classes

up_s enlarges by bilinear interpolation. Bases and coefficients together cost as many numbers as `ipc` images a class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from infodistill.real import RealData
from infodistill.seeding import stream


def combine(a: Float[Tensor, "n k"], bases: Float[Tensor, "k c u v"], scale: int) -> Float[Tensor, "n c h w"]:
    """up_s(A B): images (n, c, u * scale, v * scale), differentiable in both factors.

    Interpolation as in PyTorch with align_corners=False; scale 1 leaves A B as it is.
    """
    small = (a @ bases.flatten(1)).unflatten(1, bases.shape[1:])
    return small if scale == 1 else F.interpolate(small, scale_factor=scale, mode="bilinear", align_corners=False)


def rows_per_class(shape: tuple[int, int, int], classes: int, *, ipc: int, bases: int, scale: int) -> int:
    """R = floor((ipc ch h w C - k ch h w / s^2) / (C k)): images a class that the bytes of `ipc` plain ones buy.

    Raises:
        ValueError: the image sides are no multiples of `scale`, or the bases alone take the whole budget (r < 1).
    """
    channels, height, width = shape
    if bases < 1 or scale < 1 or height % scale or width % scale:
        raise ValueError(f"bases need k >= 1 and sides that {scale} divides, got k = {bases} and {height} x {width}")
    one, small = channels * height * width, channels * height * width // scale**2
    rows = (ipc * one * classes - bases * small) // (classes * bases)
    if rows < 1:
        spent, budget = bases * small + classes * bases, ipc * one * classes
        raise ValueError(
            f"{bases} bases with one coefficient row per class take {spent} numbers, more than the {budget} of {ipc} "
            f"image(s) in each of {classes} classes: use fewer bases, a larger scale or more images per class"
        )
    return rows


@dataclass(frozen=True)
class Combined:
    """The decoder of coefficients over these bases; `bases` is the very tensor that is trained."""

    bases: Tensor
    scale: int

    def __call__(self, stored: Tensor) -> Tensor:
        return combine(stored, self.bases, self.scale)


class Factors(NamedTuple):
    """A start: coefficients (classes * rows, k), class-major, and bases (k, ch, h/s, w/s)."""

    coefficients: Tensor
    bases: Tensor


InitialFactors = Callable[[RealData, int, int, int, int], Factors]
"""(real, rows per class, k, scale, seed) -> Factors."""


def noise_factors(real: RealData, rows: int, bases: int, scale: int, seed: int) -> Factors:
    """B ~ N(0, 1) and A ~ N(0, 1/k), so that the values of A B have variance 1 (our choice: the paper's is UNKNOWN)."""
    channels, height, width = real.shape
    generator = stream(seed, "init.bases")
    b = torch.randn(bases, channels, height // scale, width // scale, generator=generator)
    a = torch.randn(real.num_classes * rows, bases, generator=generator) / bases**0.5
    return Factors(a, b)


def principal_factors(real: RealData, rows: int, bases: int, scale: int, seed: int) -> Factors:
    """The best k-term approximation of `rows` real images a class, shrunk by averaging (ours, for short runs).

    B are the leading right singular vectors of those images, with mean square 1; A their coordinates. A class with
    fewer images than `rows` gives its images again.

    Raises:
        ValueError: more bases than there are images or pixels to span them.
    """
    small = F.avg_pool2d(real.rows(real.draw(seed, 0, rows, owner="init.bases")).x, scale)
    matrix = small.flatten(1).double()
    if bases > min(matrix.shape):
        raise ValueError(f"{tuple(matrix.shape)} shrunk images span at most {min(matrix.shape)} bases, got {bases}")
    b = torch.linalg.svd(matrix, full_matrices=False).Vh[:bases]
    pixels = matrix.shape[1]
    a = matrix @ b.T / pixels**0.5
    return Factors(a.float(), (b * pixels**0.5).float().unflatten(1, small.shape[1:]))
