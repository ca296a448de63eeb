"""The other networks of the field's cross-architecture table (Zhao et al., ICLR 2021): MLP, LeNet, AlexNet, VGG-11.

No dropout, PyTorch's default initialisation; stages are the outputs of every block, the last one flat.

Differs: classifiers are sized by the map they get, where the authors' fit 28 and 32 px alone; the wider first padding
of one-channel images is used for 28 px, the size it is made for. VGG-11 averages its last map and leaves out poolings
after which a convolution would see a single pixel, which instance norm turns into a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from infodistill.nets.convnet import Norm, instance_norm, no_norm
from infodistill.nets.unit import Unit
from infodistill.types import Net, NetFactory

Shape = tuple[int, int, int]


class MLP(Net):
    """Pixels -> 128 -> 128 -> classes, ReLU."""

    def __init__(self, shape: Shape, classes: int, *, width: int = 128) -> None:
        super().__init__()
        channels, height, breadth = shape
        self.first = nn.Linear(channels * height * breadth, width)
        self.second = nn.Linear(width, width)
        self.classifier = nn.Linear(width, classes)

    def stages(self, x: Tensor) -> tuple[Tensor, ...]:
        first = torch.relu(self.first(x.flatten(1)))
        return first, torch.relu(self.second(first))

    def head(self, feature: Tensor) -> Tensor:
        return self.classifier(feature)


class LeNet(Net):
    """Two blocks conv 5x5 (6, then 16 wide) -> ReLU -> max pooling, then 120 -> 84 -> classes."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        channels, height, breadth = shape
        padding = 2 if _digits(shape) else 0
        height, breadth = ((((side + 2 * padding - 4) // 2) - 4) // 2 for side in (height, breadth))
        if min(height, breadth) < 1:
            raise ValueError(f"LeNet needs images of at least 16x16 pixels, got {shape[1]}x{shape[2]}")
        self.blocks = nn.ModuleList(
            [
                Unit(nn.Conv2d(channels, 6, 5, padding=padding), nn.Identity(), nn.MaxPool2d(2)),
                Unit(nn.Conv2d(6, 16, 5), nn.Identity(), nn.MaxPool2d(2)),
            ]
        )
        self.hidden = nn.ModuleList([nn.Linear(16 * height * breadth, 120), nn.Linear(120, 84)])
        self.classifier = nn.Linear(84, classes)

    def stages(self, x: Tensor) -> tuple[Tensor, ...]:
        outputs: list[Tensor] = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        x = x.flatten(1)
        for layer in self.hidden:
            x = torch.relu(layer(x))
            outputs.append(x)
        return tuple(outputs)

    def head(self, feature: Tensor) -> Tensor:
        return self.classifier(feature)


class Convolutional(Net):
    """A chain of units and a linear classifier on what the last one gives: AlexNet and VGG-11."""

    def __init__(self, units: Sequence[Unit], features: int, classes: int, *, flatten: nn.Module) -> None:
        super().__init__()
        self.units = nn.ModuleList(units)
        self.flatten = flatten
        self.classifier = nn.Linear(features, classes)

    def stages(self, x: Tensor) -> tuple[Tensor, ...]:
        outputs: list[Tensor] = []
        for unit in self.units:
            x = unit(x)
            outputs.append(x)
        return (*outputs[:-1], self.flatten(x))

    def head(self, feature: Tensor) -> Tensor:
        return self.classifier(feature)


class SpatialMean(nn.Module):
    """(n, c, h, w) -> (n, c)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def mlp(*, width: int = 128) -> NetFactory:
    """Two hidden ReLU layers."""
    return partial(MLP, width=width)


def lenet() -> NetFactory:
    """LeCun et al. 1998 with ReLU and max pooling."""
    return LeNet


def alexnet(*, norm: Norm = no_norm) -> NetFactory:
    """Krizhevsky et al. 2012 scaled to small images: five convolutions, three max poolings, no norm."""
    return partial(_alexnet, norm=norm)


def vgg11(*, norm: Norm = instance_norm) -> NetFactory:
    """Simonyan & Zisserman 2015: eight convolutions 3x3, five max poolings, instance norm."""
    return partial(_vgg11, norm=norm)


def _alexnet(shape: Shape, classes: int, *, norm: Norm) -> Net:
    if min(shape[1:]) < 8:
        raise ValueError(f"AlexNet needs images of at least 8x8 pixels, got {shape[1]}x{shape[2]}")
    plan = ((128, 5, True), (192, 5, True), (256, 3, False), (192, 3, False), (192, 3, True))
    units, (height, breadth) = _chain(shape, plan, norm)
    return Convolutional(units, 192 * height * breadth, classes, flatten=nn.Flatten())


def _vgg11(shape: Shape, classes: int, *, norm: Norm) -> Net:
    if min(shape[1:]) < 2:
        raise ValueError(f"VGG-11 needs images of at least 2x2 pixels, got {shape[1]}x{shape[2]}")
    side = min(shape[1:]) + (4 if _digits(shape) else 0)
    plan: list[tuple[int, int, bool]] = []
    for width, pool in zip(_VGG_WIDTHS, _VGG_POOLS, strict=True):
        shrink = pool and (side >= 4 or (len(plan) == 7 and side >= 2))
        plan.append((width, 3, shrink))
        side //= 2 if shrink else 1
    units, _ = _chain(shape, plan, norm)
    return Convolutional(units, _VGG_WIDTHS[-1], classes, flatten=SpatialMean())


_VGG_WIDTHS = (64, 128, 256, 256, 512, 512, 512, 512)
_VGG_POOLS = (True, True, False, True, False, True, False, True)


def _chain(shape: Shape, plan: Sequence[tuple[int, int, bool]], norm: Norm) -> tuple[list[Unit], tuple[int, int]]:
    """Units of (width, kernel side, pooled or not), same-padded, and the size of the last map."""
    channels, height, breadth = shape
    extra = 2 if _digits(shape) else 0
    units: list[Unit] = []
    for width, kernel, pool in plan:
        height, breadth = height + 2 * extra, breadth + 2 * extra
        conv = nn.Conv2d(channels, width, kernel, padding=kernel // 2 + extra)
        units.append(Unit(conv, norm(width, height, breadth), nn.MaxPool2d(2) if pool else None))
        channels, extra = width, 0
        height, breadth = (height // 2, breadth // 2) if pool else (height, breadth)
    return units, (height, breadth)


def _digits(shape: Shape) -> bool:
    """MNIST's format, which the first convolution pads to 32 px."""
    return shape == (1, 28, 28)
