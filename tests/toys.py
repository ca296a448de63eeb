"""Tiny data, networks and artefacts that the training, evaluation and report tests share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from infodistill.distilled import Distilled
from infodistill.real import RealData
from infodistill.types import Batch, Net, ValueSpace

SPACE = ValueSpace((0.4,), (0.3,))
NAMES = ("circle", "cross", "dot")


class Affine(Net):
    """Softmax regression on the raw values."""

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(shape[0] * shape[1] * shape[2], classes)

    def stages(self, x: Tensor) -> tuple[Tensor, ...]:
        return (x.flatten(1),)

    def head(self, feature: Tensor) -> Tensor:
        return self.fc(feature)


def images(per_class: int, seed: int, side: int = 8) -> tuple[Tensor, Tensor]:
    """Three noisy patterns, uint8 (n, 1, side, side), shuffled, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.rand(3, 1, side, side, generator=torch.Generator().manual_seed(99))
    y = torch.arange(3).repeat_interleave(per_class)[torch.randperm(3 * per_class, generator=generator)]
    noisy = patterns[y] + 0.35 * torch.randn(len(y), 1, side, side, generator=generator)
    return (noisy.clamp(0, 1) * 255).round().to(torch.uint8), y


def real_data(per_class: int = 12, side: int = 8) -> RealData:
    test = RealData(*images(8, 2, side), NAMES, SPACE, "toys")
    return RealData(*images(per_class, 1, side), NAMES, SPACE, "toys", test=test)


def batch(rows: int = 7, seed: int = 3) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(rows, 3, generator=generator).softmax(1)
    x = torch.randn(rows, 1, 4, 4, generator=generator)
    return Batch(x, target.argmax(1), target, SPACE)


def artefact(ipc: int = 2, seed: int = 0, **meta: object) -> Distilled:
    real = real_data()
    rows = real.rows(real.sample(seed, ipc))
    facts = {"data": real.name, "fingerprint": real.fingerprint, "method": "random", **meta}
    return Distilled(rows.x, rows.y, SPACE, NAMES, meta=facts)


def soft_artefact(ipc: int = 2) -> Distilled:
    plain = artefact(ipc)
    soft = 0.8 * plain.target() + 0.2 / 3
    return Distilled(plain.images, plain.y, SPACE, NAMES, soft_labels=soft, meta=plain.meta)
