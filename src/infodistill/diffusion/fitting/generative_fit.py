"""What a generative training is told, and what it tells: hyper-parameters, where it is saved, how it went."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from infodistill.compute.policy import PRECISIONS


def constant(done: float) -> float:
    """The schedule that never changes the rate."""
    del done
    return 1.0


def cosine(done: float) -> float:
    """From 1 to 0 over the training: (1 + cos(pi done)) / 2 at the fraction `done` of all steps."""
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


SCHEDULES: Mapping[str, Callable[[float], float]] = {"constant": constant, "cosine": cosine}


@dataclass(frozen=True)
class GenerativeFit:
    """Hyper-parameters of one generative training; the rate of step k is lr min(1, (k+1)/warmup) schedule(k/K).

    Attributes:
        steps: updates in total, K.
        lr: peak learning rate of AdamW.
        warmup: steps of linear warm-up.
        schedule: factor of the rate by the fraction of steps done.
        betas: of AdamW.
        weight_decay: of AdamW, decoupled.
        clip: largest norm of the gradient over all parameters.
        ema: d, the decay of the average of the weights.
        validate_every: steps between validations; there is one after the last step too.
        patience: validations without a new best before training stops; None never stops.
        precision: "float32", or "bf16" for autocast with float32 weights and averages.
        minutes: budget of training time over all resumed calls; None has no limit. With one, the schedule follows
            steps or time, whichever is further on: what the budget ends is annealed, and no two runs are equal then.
        report: steps between reports of the mean loss, which is when it is looked at (and an accelerator waited for).
    """

    steps: int
    lr: float = 1e-3
    warmup: int = 100
    schedule: Callable[[float], float] = cosine
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    clip: float = 1.0
    ema: float = 0.999
    validate_every: int = 250
    patience: int | None = 6
    precision: str = "float32"
    minutes: float | None = None
    report: int = 50

    def __post_init__(self) -> None:
        if min(self.steps, self.warmup) < 0 or min(self.validate_every, self.report) < 1:
            raise ValueError(
                "steps and warmup must be >= 0, validate_every and report >= 1, got "
                f"{self.steps}, {self.warmup}, {self.validate_every}, {self.report}"
            )
        if not (self.lr > 0 and self.clip > 0 and 0 <= self.ema < 1):
            raise ValueError(f"lr and clip must be > 0 and ema in [0, 1), got {self.lr}, {self.clip}, {self.ema}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience must be at least 1 validation or None, got {self.patience}")

    def rate(self, step: int, seconds: float = 0.0) -> float:
        """The learning rate of a step, counted from 0, begun after `seconds` of training."""
        done = step / max(self.steps, 1)
        if self.minutes:
            done = max(done, min(seconds / (60 * self.minutes), 1.0))
        return self.lr * min(1.0, (step + 1) / max(self.warmup, 1)) * self.schedule(done)

    def facts(self) -> dict[str, Any]:
        """JSON-able; what a checkpoint must agree with. The totals may be changed when resuming and are not in it."""
        names = ("lr", "warmup", "weight_decay", "clip", "ema", "validate_every", "patience", "precision", "report")
        named = {name: getattr(self, name) for name in names}
        return {**named, "betas": list(self.betas), "schedule": getattr(self.schedule, "__name__", "")}

    def as_dict(self) -> dict[str, Any]:
        """JSON-able and whole; `from_dict` is the inverse."""
        return {"steps": self.steps, "minutes": self.minutes, **self.facts()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GenerativeFit:
        """Raises ValueError for a schedule that has no name here."""
        told: dict[str, Any] = dict(values)
        if told["schedule"] not in SCHEDULES:
            raise ValueError(f"schedule is one of {', '.join(SCHEDULES)}, got {told['schedule']!r}")
        told |= {"schedule": SCHEDULES[told["schedule"]], "betas": tuple(told["betas"])}
        return cls(**told)


@dataclass(frozen=True)
class Saving:
    """Where a training is saved every `every` seconds. `facts` say what is trained; a resumed one must agree."""

    path: Path
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    every: float = 60.0

    def told(self, hyper: GenerativeFit) -> dict[str, Any]:
        """What a saved training must agree with, as JSON gives it back."""
        return json.loads(json.dumps({**self.facts, "fit": hyper.facts()}))

    def check(self, found: object, hyper: GenerativeFit) -> None:
        """Refuse to continue the training of something else."""
        wanted = self.told(hyper)
        if found != wanted:
            have = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
            other = [name for name in wanted if have.get(name) != wanted[name]]
            raise ValueError(
                f"{self.path} is the training of something else ({', '.join(other) or 'its settings'} differ): resume "
                "with the settings it was started with, or choose another folder"
            )


@dataclass
class History:
    """How a training went. `losses`: [step, mean since the last entry]; `validations`: [step, value of the average]."""

    step: int = 0
    best_step: int = 0
    best: float | None = None
    seconds: float = 0.0
    stopped: str = ""
    losses: list[list[float]] = field(default_factory=list[list[float]])
    validations: list[list[float]] = field(default_factory=list[list[float]])

    def since_best(self) -> int:
        """Validations after the best one."""
        return sum(step > self.best_step for step, _ in self.validations)


def require_finite(what: str, step: int, weights: Iterable[Tensor]) -> None:
    """Refuse weights that no loss has shown to be broken: the last update may have done it.

    Raises:
        FloatingPointError: one is not finite.
    """
    if not all(bool(value.isfinite().all()) for value in weights):
        raise FloatingPointError(f"{what} diverged: after step {step} a weight is not finite, wanted finite ones")
