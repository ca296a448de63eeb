"""What distances between images are measured in: a function of the sampled tensor itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Feature = Callable[[Tensor], Tensor]
"""feature(x (n, c, h, w)) -> (n, d), differentiable."""


def pooled(x: Float[Tensor, "n c h w"], side: int) -> Float[Tensor, "n d"]:
    """Averages over at most side x side cells, flattened: low-pass, cheap, hard to game. Smaller maps are kept."""
    size = min(side, x.shape[2]), min(side, x.shape[3])
    kept = x if size == tuple(x.shape[2:]) else F.adaptive_avg_pool2d(x, size)
    return kept.flatten(1)


@dataclass(frozen=True)
class Pooled:
    """`pooled` with its side; 8 keeps 8x8 digits whole and makes 256 features of 4-channel latents (our choice)."""

    side: int = 8

    def __call__(self, x: Tensor) -> Tensor:
        return pooled(x, self.side)
