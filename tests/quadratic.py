"""Distillations whose answer is known in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from infodistill.distillation import Distillation
from infodistill.synthetic import from_noise, synthesise
from infodistill.types import Batch
from infodistill.updates import Update
from infodistill.weights import Weighted
from table import tiny_real


@dataclass(frozen=True)
class Pull:
    """0.5 * strength * |x|^2: gradient strength * x, known in closed form."""

    strength: float = 1.0

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        return 0.5 * self.strength * syn.x.square().sum()


@dataclass(frozen=True)
class Tilt:
    """sum of x: gradient 1 everywhere."""

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        return syn.x.sum()


def quadratic(lr: float = 0.1, momentum: float = 0.0, group: int | None = None, **terms: Weighted) -> Distillation:
    real = tiny_real()
    syn = synthesise(real, 2, 0, from_noise)
    update = Update(torch.optim.SGD(syn.trainable(), lr, momentum))
    return Distillation(syn, real, terms or {"pull": Weighted(1.0, Pull())}, update, real_per_class=4, group=group)


def run(job: Distillation, steps: int):
    return list(job.run(steps))
