"""Training of a class-conditional denoiser: velocity prediction by default, label dropout, a fixed validation set.

At a time t of a table abar, uniform, z = sqrt(abar) x0 + sqrt(1 - abar) eps, and the network f says the velocity v or
the noise eps (`predictions`):

    L = mean over images and entries of (f(z, t, y) - target)^2,   y replaced by the null class with probability 0.1

(Ho & Salimans, 2022). Velocity is the default: its error stays bounded as abar -> 0, where the cosine table ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from infodistill.diffusion.fitting.generative_fit import GenerativeFit, History, Saving
from infodistill.diffusion.fitting.loop import fit_generative
from infodistill.diffusion.fitting.supply import Supply, rows_of_step
from infodistill.diffusion.models.adapters import Call
from infodistill.diffusion.models.networks import module_call
from infodistill.diffusion.models.predictions import TARGETS
from infodistill.diffusion.schedules import cosine_alphas_bar, linear_alphas_bar
from infodistill.progress import Tell
from infodistill.seeding import stream

VALIDATION_ROWS = 1024
"""(image, time, noise) triples of the validation; held-out images are repeated or left out to give that many."""

TABLES: Mapping[str, Callable[[int], Tensor]] = {"cosine": cosine_alphas_bar, "linear": linear_alphas_bar}


@dataclass(frozen=True)
class DenoiserFit:
    """How a denoiser is trained.

    Attributes:
        fit: the loop's hyper-parameters.
        batch: images a step.
        prediction: a name of `predictions.TARGETS`.
        table: a name of `TABLES`, the law of abar.
        levels: T.
        drop: probability that a label is replaced by the null class.
        seed: key of every draw.
    """

    fit: GenerativeFit
    batch: int = 256
    prediction: str = "v_prediction"
    table: str = "cosine"
    levels: int = 1000
    drop: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, table in (("prediction", TARGETS), ("table", TABLES)):
            if getattr(self, name) not in table:
                raise ValueError(f"{name} is one of {', '.join(table)}, got {getattr(self, name)!r}")
        if self.batch < 1 or self.levels < 2 or not 0 <= self.drop < 1:
            raise ValueError(
                f"batch >= 1, levels >= 2 and drop in [0, 1) are wanted, got {self.batch}, {self.levels}, {self.drop}"
            )

    @property
    def alphas_bar(self) -> Tensor:
        """(T,) float64."""
        return _alphas_bar(self.table, self.levels)

    def facts(self) -> dict[str, Any]:
        """JSON-able, without the loop's."""
        names = ("batch", "prediction", "table", "levels", "drop", "seed")
        return {name: getattr(self, name) for name in names}


@lru_cache(maxsize=8)
def _alphas_bar(table: str, levels: int) -> Tensor:
    return TABLES[table](levels)


@dataclass(frozen=True)
class Task:
    """What a denoiser is asked: noisy rows and the right answers."""

    z: Tensor
    t: Tensor
    ids: Tensor
    target: Tensor

    def loss(self, call: Call) -> Tensor:
        """Mean squared error over images and entries, a scalar in the type of the target."""
        return (call(self.z, self.t, self.ids).to(self.target) - self.target).square().mean()


def task(x0: Tensor, t: Tensor, eps: Tensor, ids: Tensor, how: DenoiserFit) -> Task:
    """Noise clean images (n, c, h, w) with eps at the places t (n,) of the table; ids (n,) as the network counts."""
    abar = how.alphas_bar[t].view(-1, 1, 1, 1).to(x0.device, x0.dtype)
    z = abar.sqrt() * x0 + (1 - abar).sqrt() * eps
    return Task(z, t.to(x0.device).float(), ids, TARGETS[how.prediction](x0, eps, abar))


def step_task(supply: Supply, step: int, how: DenoiserFit, null: int) -> Task:
    """The task of one training step; images, mirror images, times, noise and dropped labels are keyed by the step."""
    index = rows_of_step(step, how.batch, len(supply), how.seed)
    generator = stream(how.seed, "denoiser", step)
    t = torch.randint(how.levels, (len(index),), generator=generator)
    dropped = torch.rand(len(index), generator=generator) < how.drop
    x0 = supply.images(index, torch.rand(len(index), generator=generator) < 0.5)
    eps = torch.randn(x0.shape, generator=generator).to(x0)
    y = supply.y[index.to(supply.y.device)].to(x0.device)
    return task(x0, t, eps, y.masked_fill(dropped.to(x0.device), null), how)


def validation_task(supply: Supply, how: DenoiserFit, rows: int = VALIDATION_ROWS) -> Task:
    """The fixed task the averaged weights are judged by: times evenly over the table, every label kept, no flips."""
    index = rows_of_step(0, rows, len(supply), how.seed)
    generator = stream(how.seed, "denoiser.validation")
    even = (2 * torch.arange(rows) + 1) * how.levels // (2 * rows)
    t = even[torch.randperm(rows, generator=generator)]
    x0 = supply.images(index, torch.zeros(rows, dtype=torch.bool))
    eps = torch.randn(x0.shape, generator=generator).to(x0)
    return task(x0, t, eps, supply.y[index.to(supply.y.device)].to(x0.device), how)


def validation_loss(call: Call, given: Task, piece: int) -> float:
    """The loss of a task in pieces of `piece` rows."""
    total = 0.0
    for part in torch.arange(len(given.t), device=given.t.device).split(piece):
        rows = Task(given.z[part], given.t[part], given.ids[part], given.target[part])
        total += float(rows.loss(call)) * len(part)
    return total / len(given.t)


@dataclass(frozen=True)
class Surroundings:
    """What a training reports to: where it is saved, who is told, who looks at it after every validation."""

    saving: Saving | None = None
    tell: Tell | None = None
    watch: Callable[[History], None] | None = None
    what: str = "denoiser"


def train_denoiser(
    module: nn.Module, train: Supply, held: Supply, how: DenoiserFit, null: int, around: Surroundings | None = None
) -> History:
    """Train a network of `networks.build` in place; it ends with the averaged weights of the best validation.

    It stays in eval mode: labels are dropped here, by key. Raises what `fit_generative` raises.
    """
    around = around or Surroundings()

    def call(z: Tensor, t: Tensor, ids: Tensor) -> Tensor:
        return module_call(module, z, t, ids)

    judged = validation_task(held, how)
    return fit_generative(
        module.eval(),
        lambda step: step_task(train, step, how, null).loss(call),
        how.fit,
        validate=lambda: validation_loss(call, judged, how.batch),
        watch=around.watch,
        saving=around.saving,
        tell=around.tell,
        what=around.what,
    )
