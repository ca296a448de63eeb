"""Optimisers and schedules that PyTorch does not have."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Lamb(Optimizer):
    """Layer-wise adaptive moments (You et al., ICLR 2020), arXiv:1904.00962; every tensor is one layer.

        m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2
        r = (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps) + weight_decay w
        w <- w - lr (|w| / |r|) r,   the ratio of norms being 1 where either norm is 0

    So one step moves a tensor by lr times its own length, whatever its gradient's scale.

    Args:
        params: leaf tensors, or groups as PyTorch's optimisers take them.
        lr: relative length of a step.
        betas: (b1, b2) of the two moments.
        eps: added to the root of the second moment.
        weight_decay: decoupled decay, inside the ratio.

    Raises:
        ValueError: lr or eps negative, or a beta outside [0, 1).
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 3e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        *,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        if lr < 0 or eps < 0 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"lr and eps must be >= 0 and betas in [0, 1), got lr {lr}, eps {eps}, betas {betas}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move every tensor that has a gradient; `closure` re-evaluates the loss first where one is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for tensor in group["params"]:
                if tensor.grad is not None:
                    self._move(tensor, tensor.grad, group)
        return loss

    def _move(self, tensor: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state, (first, second) = self.state[tensor], group["betas"]
        if not state:
            state.update(step=torch.zeros(()), first=torch.zeros_like(tensor), second=torch.zeros_like(tensor))
        state["step"] += 1
        state["first"].lerp_(grad, 1 - first)
        state["second"].mul_(second).addcmul_(grad, grad, value=1 - second)
        made = float(state["step"])
        root = (state["second"] / (1 - second**made)).sqrt_().add_(group["eps"])
        move = (state["first"] / (1 - first**made)).div_(root).add_(tensor, alpha=group["weight_decay"])
        tensor.sub_(trust_ratio(tensor, move) * move * group["lr"])


def trust_ratio(tensor: Tensor, move: Tensor) -> Tensor:
    """|tensor| / |move| over all entries, a scalar tensor; 1 where either norm is 0."""
    length, size = tensor.norm(), move.norm()
    return torch.where((length > 0) & (size > 0), length / torch.where(size > 0, size, 1), torch.ones_like(length))


@dataclass(frozen=True)
class Cosine:
    """A multiplier that falls from 1 to `final` along half a cosine over `steps` steps, and stays there."""

    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 <= self.final <= 1:
            raise ValueError(f"a cosine needs steps >= 1 and final in [0, 1], got {self.steps} and {self.final}")

    def __call__(self, step: int) -> float:
        done = min(step / self.steps, 1.0)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * done))


@dataclass(frozen=True)
class Kept:
    """Hands every training of one network the same optimiser, so that its moments outlive a call of `fit`."""

    optimiser: Optimizer

    def __call__(self, params: object, hyper: object) -> Optimizer:
        """The kept optimiser, whatever is asked for: it was made for these parameters."""
        del params, hyper
        return self.optimiser
