"""How a network's training moves its weights: the loss of a row, the optimiser, and the rule of one step.

`training.Fit` holds one of each; the defaults are cross-entropy, SGD, and the plain step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]
"""loss(outputs (n, k), target (n, k)) -> (n,), one value per row."""


class Rates(Protocol):
    """What an optimiser is made from."""

    @property
    def lr(self) -> float: ...
    @property
    def momentum(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...


Optimiser = Callable[[Sequence[Tensor], Rates], torch.optim.Optimizer]

Gradient = Callable[[], Tensor]
"""Clears `.grad`, fills it for the batch at hand (always the same images), and returns the mean loss, ()."""

Descend = Callable[[torch.optim.Optimizer, Sequence[Tensor], Gradient], Tensor]
"""descend(optimiser, parameters, gradient) -> loss: one update of the parameters in place."""


def cross_entropy_rows(outputs: Float[Tensor, "n k"], target: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """-sum_k target_k log softmax(outputs)_k of every row, in nats; targets are rows on the simplex."""
    return -(target * outputs.log_softmax(1)).sum(1)


def squared_error_rows(outputs: Float[Tensor, "n k"], target: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """(1/k) sum_k (outputs_k - target_k)^2 of every row; targets are regression scores."""
    return (outputs - target).square().mean(1)


def sgd(parameters: Sequence[Tensor], rates: Rates) -> torch.optim.Optimizer:
    """SGD with momentum and weight decay."""
    return torch.optim.SGD(parameters, rates.lr, rates.momentum, weight_decay=rates.weight_decay, fused=True)


def adam(parameters: Sequence[Tensor], rates: Rates) -> torch.optim.Optimizer:
    """Adam with betas (0.9, 0.999); `momentum` is not used, weight decay is added to the gradient."""
    return torch.optim.Adam(parameters, rates.lr, weight_decay=rates.weight_decay)


def adamw(parameters: Sequence[Tensor], rates: Rates) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov & Hutter, ICLR 2019), betas (0.9, 0.999)."""
    return torch.optim.AdamW(parameters, rates.lr, weight_decay=rates.weight_decay)


def plain_step(optimiser: torch.optim.Optimizer, parameters: Sequence[Tensor], gradient: Gradient) -> Tensor:
    """One step of the optimiser along the batch's gradient."""
    del parameters
    loss = gradient()
    optimiser.step()
    return loss


@dataclass(frozen=True)
class GSAM:
    """Surrogate-gap guided sharpness-aware minimisation (Zhuang et al., ICLR 2022), as FTD trains its experts.

    With g the gradient at w, the weights move to w + rho e, e = t g / |s g| with s = |w|, t = w^2 (adaptive; both 1
    otherwise), where the gradient is g_p; the optimiser then steps, from w, along

        g_p - alpha (g - <g, g_p> / |g_p|^2 g_p)

    so that the loss around w falls, and with it the gap to the loss at w. Two gradients per step, of the same batch.

    Args:
        rho: radius of the neighbourhood; 0.01 in FTD.
        alpha: weight of the gap; 0.3 or 1 in FTD.
        adaptive: the exponent of |w| in s; 1 (adaptive, as in FTD) or 0.
    """

    rho: float = 0.01
    alpha: float = 0.3
    adaptive: float = 1.0

    def __call__(self, optimiser: torch.optim.Optimizer, parameters: Sequence[Tensor], gradient: Gradient) -> Tensor:
        loss = gradient()
        g = [_grad(parameter) for parameter in parameters]
        here = [parameter.detach().clone() for parameter in parameters]
        self._ascend(parameters, g)
        gradient()
        g_p = [_grad(parameter) for parameter in parameters]
        with torch.no_grad():
            for parameter, value, new in zip(parameters, here, gap_gradient(g, g_p, self.alpha), strict=True):
                parameter.copy_(value)  # adding and subtracting the shift would leave rounding behind
                parameter.grad = new
        optimiser.step()
        return loss

    @torch.no_grad()
    def _ascend(self, parameters: Sequence[Tensor], g: Sequence[Tensor]) -> None:
        scale = [parameter.abs() ** self.adaptive for parameter in parameters]
        norm = _norm([s * part for s, part in zip(scale, g, strict=True)]).clamp_min(1e-12)
        for parameter, s, part in zip(parameters, scale, g, strict=True):
            parameter.add_(self.rho * s.square() * part / norm)


def gap_gradient(g: Sequence[Tensor], g_p: Sequence[Tensor], alpha: float) -> list[Tensor]:
    """g_p - alpha (g - <g, g_p> / |g_p|^2 g_p): the perturbed gradient less the part of g orthogonal to it."""
    product = torch.stack([(a * b).sum() for a, b in zip(g, g_p, strict=True)]).sum()
    along = product / _norm(g_p).square().clamp_min(1e-24)
    return [b - alpha * (a - along * b) for a, b in zip(g, g_p, strict=True)]


def _grad(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.detach().clone()


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([t.square().sum() for t in tensors]).sum().sqrt()
