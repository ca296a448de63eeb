"""Unrolled training by plain autograd: the whole graph is kept, one leaf in, one network out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from infodistill.types import Augment


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """-(1/n) sum_ik target_ik (z_ik - log sum_j exp z_ij)."""
    return (target * (logits.logsumexp(1, keepdim=True) - logits)).sum() / len(logits)


def trained(
    module: nn.Module,
    start: Mapping[str, Tensor],
    x: Tensor,
    target: Tensor,
    rates: Sequence[Tensor] | Tensor,
    rows: Sequence[Tensor],
    *,
    momentum: float = 0.0,
    augment: Augment | None = None,
    omegas: Sequence[Tensor] = (),
) -> dict[str, Tensor]:
    """theta_T of SGD from `start`, with its full graph to images, targets and rates."""
    theta = {name: value.detach().clone().requires_grad_() for name, value in start.items()}
    velocity = {name: torch.zeros_like(value) for name, value in theta.items()}
    for t, index in enumerate(rows):
        images = x[index]
        if augment is not None:
            omega = omegas[t]
            images = augment.apply(images, omega, torch.arange(len(images)) if len(omega) > 1 else index * 0)
        loss = soft_cross_entropy(functional_call(module, theta, (images,)), target[index])
        grads = torch.autograd.grad(loss, list(theta.values()), create_graph=True)
        for name, g in zip(theta, grads, strict=True):
            velocity[name] = momentum * velocity[name] + g
        theta = {name: value - rates[t] * velocity[name] for name, value in theta.items()}
    return theta
