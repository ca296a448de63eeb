"""Surrogate-gap guided sharpness-aware minimisation by SGD, in float64 on one flat vector of weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Loss = Callable[..., Tensor]


def train(
    start: Sequence[Tensor],
    losses: Sequence[Loss],
    *,
    rate: float,
    momentum: float,
    decay: float,
    rho: float,
    alpha: float,
    adaptive: float,
) -> list[Tensor]:
    """`losses[i]` is the loss of batch i as a function of the tensors. v <- mu v + d + decay w, w <- w - rate v."""
    sizes, shapes = [t.numel() for t in start], [t.shape for t in start]
    w = torch.cat([t.flatten() for t in start])
    v = torch.zeros_like(w)

    def slope(loss: Loss, at: Tensor) -> Tensor:
        at = at.clone().requires_grad_()
        parts = [piece.view(shape) for piece, shape in zip(at.split(sizes), shapes, strict=True)]
        return torch.autograd.grad(loss(*parts), at)[0]

    for loss in losses:
        g = slope(loss, w)
        t = torch.diag(w.abs() ** adaptive)
        up = slope(loss, w + rho * (t @ t @ g) / torch.linalg.vector_norm(t @ g))
        unit = up / torch.linalg.vector_norm(up)
        orthogonal = (torch.eye(len(w), dtype=w.dtype) - torch.outer(unit, unit)) @ g
        v = momentum * v + (up - alpha * orthogonal) + decay * w
        w = w - rate * v
    return [piece.view(shape) for piece, shape in zip(w.split(sizes), shapes, strict=True)]
