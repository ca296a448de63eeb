"""Minimax's criteria by loops over pairs, their gradient by hand, and the bound of a DDPM step in its own symbols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence


def criteria(
    x0: Tensor, y: Sequence[int], real: Mapping[int, Tensor], made: Mapping[int, Tensor], r: float, d: float
) -> tuple[float, Tensor]:
    """The value and its gradient in x0. Memories by class, (m, ...); a class may be missing."""
    value, gradient = 0.0, torch.zeros_like(x0)
    labels = sorted(set(y))
    for label in labels:
        if label not in made:
            continue
        pairs_real = [(_cosine(x0[i], m), i, m) for i, c in enumerate(y) if c == label for m in real[label]]
        pairs_made = [(_cosine(x0[i], m), i, m) for i, c in enumerate(y) if c == label for m in made[label]]
        least, i, m = min(pairs_real, key=lambda pair: pair[0])
        value += r * (1 - least)
        gradient[i] -= r * _slope(x0[i], m) / len(labels)
        most, i, m = max(pairs_made, key=lambda pair: pair[0])
        value += d * most
        gradient[i] += d * _slope(x0[i], m) / len(labels)
    return value / len(labels), gradient


def _cosine(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum() / ((a * a).sum() * (b * b).sum()).sqrt())


def _slope(a: Tensor, b: Tensor) -> Tensor:
    """d cos(a, b) / da."""
    size = (a * a).sum().sqrt()
    return (b / (b * b).sum().sqrt() - _cosine(a, b) * a / size) / size


def step_bits(x0: Tensor, told: Tensor, v: Tensor, abar: float, abar_before: float) -> Tensor:
    """KL of one DDPM step per image in bits, mean over entries; v in [-1, 1] as the network says it."""
    beta = 1 - abar / abar_before
    tilde = beta * (1 - abar_before) / (1 - abar)
    weight = abar_before**0.5 * beta / (1 - abar)
    fraction = (v + 1) / 2
    log_variance = (
        fraction * torch.tensor(beta, dtype=torch.float64).log()
        + (1 - fraction) * torch.tensor(tilde, dtype=torch.float64).log()
    )
    q = Normal(weight * x0, torch.full_like(x0, tilde**0.5))
    p = Normal(weight * told, (log_variance / 2).exp())
    return kl_divergence(q, p).flatten(1).mean(1) / torch.tensor(2.0, dtype=torch.float64).log()
