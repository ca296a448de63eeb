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


class Queue:
    """The last `size` images of every class, as lists."""

    def __init__(self, size: int) -> None:
        self.size, self.held = size, dict[int, list[Tensor]]()

    def add(self, images: Tensor, y: Sequence[int]) -> None:
        for image, label in zip(images, y, strict=True):
            self.held[label] = [*self.held.get(label, []), image.clone()][-self.size :]

    def stacked(self) -> dict[int, Tensor]:
        return {label: torch.stack(rows) for label, rows in self.held.items()}


def step(
    x0: Tensor, x: Tensor, told: Tensor, v: Tensor, y: Sequence[int], levels: Sequence[int], abar: Sequence[float],
    queues: tuple[Queue, Queue], r: float, d: float,
) -> tuple[float, Tensor, Tensor]:  # fmt: skip
    """A training step in the symbols of DDPM: its value, and the gradients in the predicted image and in v.

    Image i is at `levels[i]`, the t of abar_t, and class y[i]; `told` are predicted clean images. Queues as before it.
    """
    count, value = x0.numel(), 0.0
    in_told, in_v = torch.zeros_like(x0), torch.zeros_like(x0)
    for i, t in enumerate(levels):
        sigma = ((1 - abar[t]) / abar[t]) ** 0.5
        eps, guess = (x[i] - x0[i]) / sigma, (x[i] - told[i]) / sigma
        value += float((guess - eps).square().sum()) / count
        in_told[i] = -2 * (guess - eps) / sigma / count
        if t > 0:
            leaf = v[i : i + 1].detach().requires_grad_()
            bits = step_bits(x0[i : i + 1], told[i : i + 1], leaf, abar[t], abar[t - 1]).mean()
            bits = bits * len(abar) / 1000 / len(levels)
            in_v[i] = torch.autograd.grad(bits, leaf)[0][0]
            value += float(bits.detach())
    real, made = (queue.stacked() for queue in queues)
    more, slope = criteria(told, y, real, made, r, d)
    return value + more, in_told + slope, in_v
