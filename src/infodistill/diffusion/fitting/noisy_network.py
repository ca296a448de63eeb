"""A small classifier that is told the noise level of its images; `noisy_classifier` trains it."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.functional import silu

from infodistill.diffusion.models.networks import WAVES, waves

TINY = 256
"""Images of at most this many values are classified by the residual MLP."""


class NoiseAwareClassifier(nn.Module):
    """Logits (n, C) of x (n, c, h, w) at sigma (n,): a residual MLP up to 256 values, a ConvNet above.

    It is fed x / sqrt(1 + sigma^2), of about unit variance, and a code of the angle atan(sigma), which runs evenly
    through the levels of a cosine table. The output starts at zero: q uniform, the bound 0.

    Args:
        shape: (c, h, w).
        classes: C.
        width: of the hidden layers.
        depth: blocks; a ConvNet halves its maps after each while they can be halved.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, width: int, depth: int = 3) -> None:
        super().__init__()
        self.shape, self.classes = shape, classes
        self.code = nn.Sequential(nn.Linear(WAVES, width), nn.SiLU(), nn.Linear(width, width))
        flat = math.prod(shape) <= TINY
        self.enter = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), width)) if flat else _conv(shape[0], width)
        blocks: list[nn.Module] = []
        height, breadth = shape[1:]
        for _ in range(depth):
            halves = not flat and min(height, breadth) >= 4
            blocks.append(_Block(width, flat, halves))
            height, breadth = (height // 2, breadth // 2) if halves else (height, breadth)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.GroupNorm(1 if flat else 8, width)
        self.leave = nn.Linear(width if flat else width * height * breadth, classes)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        scale = (1 + sigma.square()).rsqrt().to(x)
        h = self.enter(x * scale.view(-1, 1, 1, 1))
        code = silu(self.code(waves(1000 * 2 / math.pi * sigma.atan(), WAVES).to(h)))
        for block in self.blocks:
            h = block(h, code)
        return self.leave(silu(self.norm(h)).flatten(1)).float()

    def log_prob(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Log q(. | x, sigma), (n, C)."""
        return self(x, sigma).log_softmax(1)


class _Block(nn.Module):
    """h <- h + W2 silu((1 + a(code)) norm(W1 silu(norm(h))) + b(code)), then the maps are halved or not."""

    def __init__(self, width: int, flat: bool, halves: bool) -> None:
        super().__init__()
        layer, groups = (nn.Linear if flat else _conv), 1 if flat else 8
        self.before, self.between = nn.GroupNorm(groups, width), nn.GroupNorm(groups, width)
        self.first, self.second = layer(width, width), layer(width, width)
        self.code = nn.Linear(width, 2 * width)
        self.pool = nn.AvgPool2d(2) if halves else nn.Identity()

    def forward(self, h: Tensor, code: Tensor) -> Tensor:
        scale, shift = self.code(code).view(len(h), -1, *[1] * (h.dim() - 2)).chunk(2, 1)
        inner = self.between(self.first(silu(self.before(h)))) * (1 + scale) + shift
        return self.pool(h + self.second(silu(inner)))


def _conv(channels: int, width: int) -> nn.Module:
    return nn.Conv2d(channels, width, 3, padding=1)
