"""The step that moves a synthetic set: optimiser, schedule, clipping and acceptance, each with its own state."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from infodistill.objective import total_norm

Accept = Callable[[Mapping[str, float]], bool]


@dataclass
class Update:
    """One optimiser step on the stored tensors.

    Args:
        optimizer: owns the learning rates and its momentum buffers.
        schedule: step to a multiplier of every learning rate.
        clip: largest norm of the gradient over all stored tensors; longer ones are scaled down.
        accept: given the raw value of every term, whether to make this update at all (DATM skips some).
        restarts: steps before which the optimiser forgets its moments (a new stage with tensors of its own).
        observe: told the raw value of every term once a round, after its updates (a rate that follows the loss).
    """

    optimizer: torch.optim.Optimizer
    schedule: Callable[[int], float] | None = None
    clip: float | None = None
    accept: Accept | None = None
    restarts: Callable[[int], bool] | None = None
    observe: Callable[[Mapping[str, float]], None] | None = None
    _rates: list[float] = field(default_factory=list[float])

    def __post_init__(self) -> None:
        self._rates = [float(group["lr"]) for group in self.optimizer.param_groups]

    def begin(self, step: int) -> None:
        """Called before a round, which makes one update, or one for every group of classes."""
        if self.restarts is not None and self.restarts(step):
            self.optimizer.state.clear()

    def apply(self, tensors: Sequence[Tensor], grads: Sequence[Tensor], step: int) -> None:
        """Move `tensors` down `grads`."""
        scale = self._shrink(grads)
        for tensor, grad in zip(tensors, grads, strict=True):
            tensor.grad = grad * scale if scale != 1 else grad
        multiplier = 1.0 if self.schedule is None else self.schedule(step)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * multiplier
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _shrink(self, grads: Sequence[Tensor]) -> float:
        if self.clip is None:
            return 1.0
        norm = float(total_norm(grads))
        return min(1.0, self.clip / norm) if norm > 0 and math.isfinite(norm) else 1.0
