"""NCFM class by class and frequency by frequency, with complex numbers, in the dtype given."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def function(features: Tensor, t: Tensor) -> Tensor:
    """Phi(t) of one class, complex (m,): the mean over rows z of exp(i <t, z / |z|>)."""
    unit = torch.stack([row / row.pow(2).sum().sqrt() for row in features])
    return torch.stack([torch.exp(1j * (unit * frequency).sum(1)).mean() for frequency in t])


def distance(phi_syn: Tensor, phi_real: Tensor, alpha: float, beta: float) -> Tensor:
    """sqrt(Chf) as printed, (m,), the phase part not below 1e-12."""
    size_s, size_r = phi_syn.abs(), phi_real.abs()
    overlap = phi_real.real * phi_syn.real + phi_real.imag * phi_syn.imag
    phase = 2 * (size_r * size_s - overlap)
    return (alpha * (size_r - size_s) ** 2 + beta * torch.clamp(phase, min=1e-12)).sqrt()


def loss(
    syn: tuple[Tensor, Tensor], real: tuple[Tensor, Tensor], t: Tensor, alpha: float = 0.5, beta: float = 0.5
) -> Tensor:
    """300 sum_c mean_m sqrt(Chf_c(t_m)) of (features, classes) pairs."""
    total = torch.zeros((), dtype=t.dtype)
    for c in sorted(set(syn[1].tolist())):
        phis = [function(features[y == c], t) for features, y in (syn, real)]
        total = total + 300 * distance(phis[0], phis[1], alpha, beta).sum() / len(t)
    return total


def calibration(logits: Tensor, y: Tensor) -> Tensor:
    """Sum over the classes of the mean of -log p_y over their rows."""
    total = torch.zeros((), dtype=logits.dtype)
    for c in sorted(set(y.tolist())):
        rows = logits[y == c]
        total = total + sum((row.exp().sum().log() - row[c] for row in rows), torch.zeros(())) / len(rows)
    return total


def psi(noise: Tensor, layers: Sequence[tuple[Tensor, Tensor, Tensor, Tensor]]) -> Tensor:
    """Three times linear, standardise over the rows (biased variance + 1e-5), scale and shift, activation."""
    x = noise
    for index, (weight, bias, scale, shift) in enumerate(layers):
        x = x @ weight.T + bias
        x = (x - x.mean(0)) / (((x - x.mean(0)) ** 2).mean(0) + 1e-5).sqrt() * scale + shift
        x = torch.tanh(x) if index == 2 else torch.where(x > 0, x, 0.2 * x)
    return x


def adamw_visit(updates: int, visits: int = 400, betas: tuple[float, float] = (0.9, 0.999)) -> float:
    """How far a number moves between two visits, in units of lr, by running Adam on a gradient of 1 or 0."""
    m = v = moved = 0.0
    for step in range(1, updates * visits + 1):
        gradient = 1.0 if step % updates == 0 else 0.0
        m = betas[0] * m + (1 - betas[0]) * gradient
        v = betas[1] * v + (1 - betas[1]) * gradient**2
        if step > updates * (visits - 1):
            moved += m / (1 - betas[0] ** step) / (math.sqrt(v / (1 - betas[1] ** step)) + 1e-12)
    return moved
