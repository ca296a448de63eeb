"""A small vision transformer (Dosovitskiy et al., ICLR 2021) for the cross-architecture table.

The plain variant of Beyer et al. 2022 ("Better plain ViT baselines"): fixed sine-cosine positions and the mean of all
tokens in place of learned positions and a class token, so that every weight belongs to a linear layer, a convolution or
a norm and PyTorch's default initialisation is the whole law. Pre-norm blocks, GELU, MLP of ratio 4, no dropout.

Ours, papers of distillation do not agree on one: width 192 and 3 heads (ViT-Tiny), 6 blocks, and patches of an eighth
of the longer side, at least 2 and at most 16 pixels: 8 px -> 2, 28 and 32 -> 4, 64 -> 8, 128 and beyond -> 16.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pad

from infodistill.types import Net, NetFactory

Shape = tuple[int, int, int]


def patch_side(height: int, width: int) -> int:
    """Pixels a side of a patch: an eighth of the longer side, rounded up, between 2 and 16."""
    return min(16, max(2, math.ceil(max(height, width) / 8)))


def sine_cosine_positions(rows: int, columns: int, width: int) -> Tensor:
    """Fixed positions (rows * columns, width): sines and cosines of row and column at width / 4 frequencies.

    Frequency i is 10000^(-i / (width / 4 - 1)); `width` is a multiple of 4.
    """
    count = width // 4
    frequencies = 10_000.0 ** -(torch.arange(count, dtype=torch.float32) / max(1, count - 1))
    y, x = torch.meshgrid(
        torch.arange(rows, dtype=torch.float32), torch.arange(columns, dtype=torch.float32), indexing="ij"
    )
    angles = [place.flatten()[:, None] * frequencies for place in (y, x)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], 1)


class Attention(nn.Module):
    """softmax(q k^T / sqrt(d)) v over the tokens (n, t, w) of each image, `heads` heads.

    Written out: the fused kernels have no second derivative, which gradient matching needs.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inputs = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        rows, tokens, width = x.shape
        shaped = self.inputs(x).view(rows, tokens, 3, self.heads, width // self.heads)
        q, k, v = shaped.permute(2, 0, 3, 1, 4).unbind(0)
        shares = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
        return self.output((shares @ v).transpose(1, 2).reshape(rows, tokens, width))


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.narrow(gelu(self.widen(self.norm2(x))))


class ViT(Net):
    """Stages are the outputs of the blocks as maps (n, width, rows, columns), the last one averaged to (n, width).

    Sides that patches do not divide are padded with zeros, below and to the right.
    """

    positions: Tensor

    def __init__(self, shape: Shape, classes: int, *, width: int = 192, depth: int = 6, heads: int = 3) -> None:
        super().__init__()
        channels, height, breadth = shape
        if min(height, breadth) < 2:
            raise ValueError(f"a ViT needs images of at least 2x2 pixels, got {height}x{breadth}")
        if depth < 1 or width % (4 * heads):
            raise ValueError(f"a ViT needs a block and a width divisible by 4 x heads, got {depth}, {width}, {heads}")
        side = patch_side(height, breadth)
        self.grid = (-(-height // side), -(-breadth // side))
        self.margin = (0, self.grid[1] * side - breadth, 0, self.grid[0] * side - height)
        self.embed = nn.Conv2d(channels, width, side, side)
        self.register_buffer("positions", sine_cosine_positions(*self.grid, width), persistent=False)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, classes)

    def stages(self, x: Tensor) -> tuple[Tensor, ...]:
        tokens = self.embed(pad(x, self.margin)).flatten(2).transpose(1, 2)
        tokens = tokens + self.positions.to(tokens.dtype)
        outputs: list[Tensor] = []
        for block in self.blocks:
            tokens = block(tokens)
            outputs.append(tokens.transpose(1, 2).unflatten(2, self.grid))
        return (*outputs[:-1], self.norm(tokens).mean(1))

    def head(self, feature: Tensor) -> Tensor:
        return self.classifier(feature)


def vit(*, width: int = 192, depth: int = 6, heads: int = 3) -> NetFactory:
    """A small ViT; patches follow the image size."""
    return partial(ViT, width=width, depth=depth, heads=heads)
