"""Residual networks: the CIFAR ResNet-18 of the VICO family and of CMI's teachers, and IDC's ResNetAP-10.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; ResNetAP: Kim et al. (IDC), ICML 2022.
Stages are the outputs of the four groups of blocks, the last one averaged over space to (n, d).

Differs: the last average runs over the whole map (the authors' `avg_pool2d(4)` fits 32 px alone and makes 2048 features
of 64 px images), and a group does not halve a map when a single pixel a side would be left, which instance norm turns
into a constant. Every image from 2x2 up works; ResNet-18 is affected below 9 px, ResNetAP-10 below 16 px.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from infodistill.nets.convnet import Norm, instance_norm
from infodistill.nets.initialise import Law, normal_fan_out, uniform_fan_in
from infodistill.nets.unit import norm_relu
from infodistill.types import Net, NetFactory

Size = tuple[int, int]
Down = Callable[[int], tuple[int, int]]
"""down(factor) -> (stride of a block's first convolution, side of the average pooling after it)."""
Stem = Callable[[int, int, Size], tuple[nn.Conv2d, nn.Module]]
"""stem(channels, width, image size) -> (the first convolution, the pooling after its norm and ReLU)."""


def strided(factor: int) -> tuple[int, int]:
    """Shrink in the convolution, as He et al."""
    return factor, 1


def pooled(factor: int) -> tuple[int, int]:
    """Convolve at full resolution, then average (ResNetAP)."""
    return 1, factor


def cifar_stem(channels: int, width: int, size: Size) -> tuple[nn.Conv2d, nn.Module]:
    """One 3x3 convolution, no pooling."""
    del size
    return nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.Identity()


def pooled_stem(channels: int, width: int, size: Size) -> tuple[nn.Conv2d, nn.Module]:
    """IDC's size classes: 3x3 up to 64 px; 3x3 and 2x2 averages up to 128 px; 7x7 and 4x4 averages beyond."""
    if max(size) > 128:
        return nn.Conv2d(channels, width, 7, padding=3, bias=False), _average(4)
    return cifar_stem(channels, width, size)[0], _average(2 if max(size) > 64 else 1)


def strided_stem(channels: int, width: int, size: Size) -> tuple[nn.Conv2d, nn.Module]:
    """IDC's size classes of ResNets with strides: 3x3 up to 64 px; beyond, 3x3 maxima at every second pixel.

    Above 128 px the convolution is 7x7 at every second pixel too, that of He et al. for ImageNet.
    """
    if max(size) <= 64:
        return cifar_stem(channels, width, size)
    large = nn.Conv2d(channels, width, 7, 2, padding=3, bias=False)
    return large if max(size) > 128 else cifar_stem(channels, width, size)[0], nn.MaxPool2d(3, 2, padding=1)


class BasicBlock(nn.Module):
    """relu(norm(conv(pool(relu(norm(conv(x)))))) + shortcut(x)), convolutions 3x3 without bias."""

    def __init__(self, inputs: int, outputs: int, size: Size, *, shrink: tuple[int, int], norm: Norm) -> None:
        super().__init__()
        stride, pool = shrink
        after = _shrunk(size, shrink)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = norm(outputs, *_shrunk(size, (stride, 1)))
        self.pool = _average(pool)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = norm(outputs, *after)
        self.shortcut: nn.Module = nn.Identity()
        if stride * pool > 1 or inputs != outputs:
            project = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(project, _average(pool), norm(outputs, *after))

    def forward(self, x: Tensor) -> Tensor:
        z = self.pool(norm_relu(self.norm1, self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(z)) + self.shortcut(x))


class ResNet(Net):
    """Groups of basic blocks behind a stem; `law` is how `initialise` draws the weights."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        *,
        blocks: Sequence[int] = (2, 2, 2, 2),
        widths: Sequence[int] = (64, 128, 256, 512),
        norm: Norm = instance_norm,
        stem: Stem = cifar_stem,
        down: Down = strided,
        law: Law = uniform_fan_in,
    ) -> None:
        super().__init__()
        channels, size = shape[0], shape[1:]
        if min(size) < 2:
            raise ValueError(f"a ResNet needs images of at least 2x2 pixels, got {size[0]}x{size[1]}")
        self.law = law
        self.conv, pool = stem(channels, widths[0], size)
        size = _through(self.conv, size)
        self.norm = norm(widths[0], *size)
        self.pool = pool
        size, inputs = _through(pool, size), widths[0]
        self.groups = nn.ModuleList()
        for index, (count, width) in enumerate(zip(blocks, widths, strict=True)):
            shrink = _halving(size, down) if index else (1, 1)
            group = [BasicBlock(inputs, width, size, shrink=shrink, norm=norm)]
            size, inputs = _shrunk(size, shrink), width
            group += [BasicBlock(width, width, size, shrink=(1, 1), norm=norm) for _ in range(count - 1)]
            self.groups.append(nn.Sequential(*group))
        self.classifier = nn.Linear(inputs, classes)

    def stages(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.pool(norm_relu(self.norm, self.conv(x)))
        outputs: list[Tensor] = []
        for group in self.groups:
            x = group(x)
            outputs.append(x)
        return (*outputs[:-1], x.mean((2, 3)))

    def head(self, feature: Tensor) -> Tensor:
        return self.classifier(feature)


def resnet18(*, norm: Norm = instance_norm) -> NetFactory:
    """CIFAR ResNet-18: 3x3 stem, two blocks per group, widths 64 to 512, default PyTorch initialisation."""
    return partial(ResNet, norm=norm)


def resnet18_idc(*, norm: Norm = instance_norm) -> NetFactory:
    """ResNet-18 as IDC and Minimax Diffusion evaluate photographs: `resnet18` up to 64 px, `strided_stem` beyond."""
    return partial(ResNet, norm=norm, stem=strided_stem)


def resnetap10(*, norm: Norm = instance_norm, width: int | None = None) -> NetFactory:
    """IDC's ResNetAP-10: one block per group, average pooling in place of strides, weights ~ N(0, 2 / (k k c_out)).

    `width` is the width of the first group; None takes 32 up to 32 px (IDC's CIFAR network) and 64 beyond.
    Differs: the authors choose the narrow network by the name of the data set, so their MNIST and SVHN ones have 64.
    """
    return partial(_resnetap10, norm=norm, width=width)


def _resnetap10(shape: tuple[int, int, int], classes: int, *, norm: Norm, width: int | None) -> ResNet:
    first = width if width is not None else 32 if max(shape[1:]) <= 32 else 64
    return ResNet(
        shape,
        classes,
        blocks=(1, 1, 1, 1),
        widths=(first, 2 * first, 4 * first, 8 * first),
        norm=norm,
        stem=pooled_stem,
        down=pooled,
        law=normal_fan_out,
    )


def _halving(size: Size, down: Down) -> tuple[int, int]:
    """How a group shrinks its input: by two, unless less than two pixels a side would be left."""
    return down(2) if min(_shrunk(size, down(2))) >= 2 else (1, 1)


def _through(module: Any, size: Size) -> Size:
    """Map size after a convolution or a pooling."""
    if isinstance(module, nn.Identity):
        return size
    kernel, stride, padding = (_side(value) for value in (module.kernel_size, module.stride, module.padding))
    height, width = ((length + 2 * padding - kernel) // stride + 1 for length in size)
    return height, width


def _side(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]


def _shrunk(size: Size, shrink: tuple[int, int]) -> Size:
    """Map size after a same-padded convolution of this stride, then average pooling of this side."""
    stride, pool = shrink
    height, width = (((length - 1) // stride + 1) // pool for length in size)
    return height, width


def _average(side: int) -> nn.Module:
    return nn.AvgPool2d(side) if side > 1 else nn.Identity()
