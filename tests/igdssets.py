"""Small sets and batches for the tests of the IGDS estimators."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from infodistill.seeding import stream
from infodistill.types import Batch, pixel_space


def normal(*shape: int, key: int = 0) -> Tensor:
    return torch.randn(*shape, generator=stream(key, "igds"), dtype=torch.float64)


def flat(x: Tensor) -> Tensor:
    """The feature most tests use: the pixels."""
    return x.flatten(1)


def labels(classes: int, each: int) -> Tensor:
    return torch.arange(classes).repeat_interleave(each)


def batch(f: Tensor, y: Tensor, classes: int | None = None) -> Batch:
    """Rows (n, d) as images (n, 1, 1, d)."""
    return Batch(f[:, None, None], y, one_hot(y, classes or int(y.max()) + 1).to(f.dtype), pixel_space(1))


def clusters(classes: int, each: int, dimension: int, apart: float, key: int = 0) -> tuple[Tensor, Tensor]:
    """Gaussian classes around random centres `apart` times unit normal; rows class-major."""
    y = labels(classes, each)
    return apart * normal(classes, dimension, key=key)[y] + normal(len(y), dimension, key=key + 1), y
