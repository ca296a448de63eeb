"""One small convolutional network and images for it, shared by the tests of execution."""

from __future__ import annotations

import torch
from torch import Tensor

from infodistill.nets.convnet import convnet
from infodistill.seeding import build_seeded, stream
from infodistill.types import Net

SHAPE = (3, 8, 8)


def small_net() -> Net:
    return build_seeded(lambda: convnet(depth=2, width=6)(SHAPE, 4), stream(0, "net"))


def images(count: int) -> Tensor:
    return torch.randn(count, *SHAPE, generator=stream(0, "x"))
