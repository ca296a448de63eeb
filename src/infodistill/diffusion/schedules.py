"""Noise levels: the abar tables of diffusion models, and the sigmas a sampler walks down."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def linear_alphas_bar(steps: int = 1000, *, first: float = 1e-4, last: float = 0.02) -> Float[Tensor, " t"]:
    """abar_t = prod (1 - beta), beta linear from `first` to `last` (DDPM, DiT); float64."""
    return (1 - torch.linspace(first, last, steps, dtype=torch.float64)).cumprod(0)


def cosine_alphas_bar(steps: int = 1000, *, offset: float = 0.008, most: float = 0.999) -> Float[Tensor, " t"]:
    """abar_t = f(t + 1) / f(0), f(t) = cos^2((t/T + s)/(1 + s) pi/2) (Nichol & Dhariwal); beta <= `most`; float64."""
    position = torch.arange(steps + 1, dtype=torch.float64) / steps
    curve = ((position + offset) / (1 + offset) * math.pi / 2).cos().square()
    return (1 - (1 - curve[1:] / curve[:-1]).clamp_max(most)).cumprod(0)


def sigmas_of(alphas_bar: Float[Tensor, " t"]) -> Float[Tensor, " t"]:
    """Sigma = sqrt((1 - abar) / abar), ascending in t."""
    return ((1 - alphas_bar) / alphas_bar).sqrt()


def respaced(alphas_bar: Float[Tensor, " t"], steps: int) -> Float[Tensor, " s"]:
    """The sigmas of `steps` evenly spaced table entries, both ends among them, descending, and 0 at the end.

    Shape (steps + 1,). Entry i is round(i (T - 1) / (steps - 1)), as in improved DDPM and DiT; one step takes the last.

    Raises:
        ValueError: steps is not in 1..T.
    """
    total = len(alphas_bar)
    if not 1 <= steps <= total:
        raise ValueError(f"a model of {total} noise levels samples in 1..{total} steps, got {steps}")
    stride = (total - 1) / (steps - 1) if steps > 1 else 0.0
    index = [round(i * stride) for i in range(steps)] if steps > 1 else [total - 1]
    sigmas = sigmas_of(alphas_bar.double())[torch.as_tensor(index)].flip(0)
    return torch.cat([sigmas, sigmas.new_zeros(1)])


def sigma_at(alphas_bar: Float[Tensor, " t"], fraction: float) -> float:
    """Sigma at t = fraction * T, between table entries log-linearly; 0 at fraction 0.

    Raises:
        ValueError: the fraction is not in 0..1.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"a time is a fraction of T between 0 and 1, got {fraction}")
    if fraction == 0:
        return 0.0
    log_sigma = sigmas_of(alphas_bar.double()).log()
    place = min(max(fraction * len(log_sigma) - 1, 0.0), len(log_sigma) - 1.0)
    low = min(int(place), len(log_sigma) - 2)
    return math.exp(float(torch.lerp(log_sigma[low], log_sigma[low + 1], place - low)))


def level_of(sigma: Float[Tensor, " n"], alphas_bar: Float[Tensor, " t"]) -> Float[Tensor, " n"]:
    """The place of each sigma in the table, a float index in 0..T-1: log-linear between entries, clamped outside."""
    known = sigmas_of(alphas_bar.double()).log().to(sigma.device)
    wanted = sigma.double().clamp_min(torch.finfo(torch.float64).tiny).log()
    upper = torch.searchsorted(known, wanted.contiguous()).clamp(1, len(known) - 1)
    low, high = known[upper - 1], known[upper]
    return (upper - 1 + ((wanted - low) / (high - low)).clamp(0, 1)).to(torch.float64)
