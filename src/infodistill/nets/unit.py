"""What deeper networks are made of: convolution, norm, ReLU."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def norm_relu(norm: nn.Module, z: Tensor) -> Tensor:
    """relu(norm(z))."""
    return torch.relu(norm(z))


class Unit(nn.Module):
    """relu(norm(conv(x))), then optionally a pooling."""

    def __init__(self, conv: nn.Conv2d, norm: nn.Module, pool: nn.Module | None = None) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm
        self.pool = pool or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(norm_relu(self.norm, self.conv(x)))
