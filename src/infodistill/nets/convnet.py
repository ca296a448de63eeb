"""ConvNet-D, the field's distillation backbone (Gidaris & Komodakis 2018; Zhao et al., ICLR 2021).

D blocks of conv 3x3 -> norm -> ReLU -> pool, then one linear layer. Depth 3 up to 32 px, 4 for 64 px, 5 for 128 px.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from infodistill.types import Net, NetFactory

Norm = Callable[[int, int, int], nn.Module]
"""norm(channels, height, width) -> module."""


def instance_norm(channels: int, height: int, width: int) -> nn.Module:
    """One group per channel, affine, no running statistics: the same in training and evaluation."""
    del height, width
    return nn.GroupNorm(channels, channels)


def group_norm(channels: int, height: int, width: int, *, groups: int = 4) -> nn.Module:
    """Normalise over `groups` groups of channels."""
    del height, width
    return nn.GroupNorm(groups, channels)


def layer_norm(channels: int, height: int, width: int) -> nn.Module:
    """Normalise each image over channels and space, with an affine map per element."""
    return nn.LayerNorm([channels, height, width])


def batch_norm(channels: int, height: int, width: int) -> nn.Module:
    """Couples the images of a batch: such networks are never run in chunks while training."""
    del height, width
    return nn.BatchNorm2d(channels)


def no_norm(channels: int, height: int, width: int) -> nn.Module:
    """Leave activations as they are."""
    del channels, height, width
    return nn.Identity()


average_pool = partial(nn.AvgPool2d, 2)
max_pool = partial(nn.MaxPool2d, 2)


class Block(nn.Module):
    """conv -> norm -> ReLU -> pool."""

    def __init__(self, conv: nn.Conv2d, norm: nn.Module, pool: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(torch.relu(self.norm(self.conv(x))))


class ConvNet(Net):
    """`stages` gives the D pooled block outputs, the last one flattened channel-major to (n, width * h' * w')."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        *,
        depth: int = 3,
        width: int = 128,
        norm: Norm = instance_norm,
        pool: Callable[[], nn.Module] = average_pool,
    ) -> None:
        super().__init__()
        channels, height, breadth = shape
        # 28 px digits are padded to 32 so that three poolings divide evenly (VICO's rule for one-channel images).
        padding = 3 if channels == 1 and (height, breadth) == (28, 28) else 1
        height, breadth = height + 2 * (padding - 1), breadth + 2 * (padding - 1)
        if min(depth, width, classes, *shape) < 1:
            raise ValueError(f"depth, width, classes, shape must be positive, got {depth}, {width}, {classes}, {shape}")
        blocks: list[nn.Module] = []
        for index in range(depth):
            conv = nn.Conv2d(channels, width, 3, padding=padding if index == 0 else 1)
            module = pool()
            blocks.append(Block(conv, norm(width, height, breadth), module))
            height, breadth = _after(module, (height, breadth), shape, (depth, index))
            channels = width
        self.blocks = nn.ModuleList(blocks)
        self.classifier = nn.Linear(width * height * breadth, classes)

    def stages(self, x: Tensor) -> tuple[Tensor, ...]:
        outputs: list[Tensor] = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return (*outputs[:-1], x.flatten(1))

    def head(self, feature: Tensor) -> Tensor:
        return self.classifier(feature)


def convnet(
    *, depth: int = 3, width: int = 128, norm: Norm = instance_norm, pool: Callable[[], nn.Module] = average_pool
) -> NetFactory:
    """A factory of ConvNets: `convnet(depth=2, width=32)((1, 8, 8), 10)`."""
    return partial(ConvNet, depth=depth, width=width, norm=norm, pool=pool)


def _after(
    pool: nn.Module, side: tuple[int, int], shape: tuple[int, int, int], blocks: tuple[int, int]
) -> tuple[int, int]:
    """The map size after pooling, asked of the layer itself so that any pooling module may be passed.

    `shape` of the images, and (depth, blocks that fit), are for the sentence where no more pooling fits.
    """
    height, breadth = side
    try:
        pooled = pool(torch.zeros(1, 1, height, breadth, device="cpu")).shape
    except RuntimeError as error:
        _, high, wide = shape
        depth, fit = blocks
        smaller = f", or convnet{fit} (by --net; for teachers by --set teachers.net=convnet{fit})" if fit else ""
        why = f"a {height}x{breadth} map is too small to pool again"
        wanted = f"take larger images (--size){smaller}"
        raise ValueError(f"images of {high}x{wide} are too small for convnet{depth}: {why}; {wanted}") from error
    return pooled[2], pooled[3]
