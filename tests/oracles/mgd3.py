"""DDPM sampling with the published mode guidance, in z = sqrt(abar) x0 + sqrt(1 - abar) noise, as authors write it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def sample(
    predict: Callable[[Tensor, float], Tensor],
    abar: list[float],
    noise: Callable[[int], Tensor],
    centre: Tensor,
    *,
    pull: float,
    stop: int,
    beta_variance: bool = False,
) -> Tensor:
    """z_0 of the respaced process abar (rising noise, t = 0..T-1); predict(z, abar_t) is the clean image."""
    z = noise(0)
    for t in range(len(abar) - 1, -1, -1):
        now, before = abar[t], abar[t - 1] if t else 1.0
        beta = 1 - now / before
        x0 = predict(z, now)
        mean = before**0.5 * beta / (1 - now) * x0 + (1 - beta) ** 0.5 * (1 - before) / (1 - now) * z
        deviation = (beta if beta_variance else beta * (1 - before) / (1 - now)) ** 0.5
        if t > stop:
            mean = mean + pull * deviation * (centre - x0)
        z = mean + (deviation * noise(len(abar) - t) if t else torch.zeros_like(z))
    return z
