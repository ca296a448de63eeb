"""Diffusion in the variance-preserving scale, as the papers write it: z_t = sqrt(abar_t) x0 + sqrt(1 - abar_t) eps.

Everything here is written from those equations and shares no code with the library, which works in x = z / sqrt(abar).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from infodistill.diffusion.contract import Denoise
from infodistill.diffusion.samplers import Sampler

EpsModel = Callable[[Tensor, Tensor], Tensor]
"""eps(z (n, c, h, w), abar scalar) -> (n, c, h, w)."""


def eps_model(denoise: Denoise, y: Tensor) -> EpsModel:
    """The noise prediction of a denoiser: eps = (z - sqrt(abar) x0) / sqrt(1 - abar)."""

    def eps(z: Tensor, abar: Tensor) -> Tensor:
        sigma = ((1 - abar) / abar).sqrt()
        x0 = denoise(z / abar.sqrt(), sigma.expand(len(z)), y).x0
        return (z - abar.sqrt() * x0) / (1 - abar).sqrt()

    return eps


def in_z(x: Tensor, sigma: float) -> Tensor:
    return x / (1 + sigma**2) ** 0.5


Affine = Callable[[float], tuple[float, float]]
"""affine(abar) -> (A, B) of a noise prediction eps = A z + B."""


def affine_law(eps: Affine, alphas_bar: Tensor, *, stochastic: bool) -> tuple[float, float]:
    """Mean and std of what a scalar chain of every level of the table ends at, propagated exactly.

    stochastic: DDPM, z_{t-1} = (z - beta / sqrt(1 - abar) eps) / sqrt(1 - beta) + sqrt(beta) noise, at the end none;
    else DDIM, z_{t-1} = sqrt(abar') x0 + sqrt(1 - abar') eps. With eps = A z + B both are z -> p z + q.
    """
    mean, variance = 0.0, 1.0
    table = [1.0, *alphas_bar.tolist()]
    for abar, lower in zip(table[:0:-1], table[-2::-1], strict=True):
        a, b = eps(abar)
        beta = 1 - abar / lower
        if stochastic:
            root = (1 - beta) ** 0.5
            p, q = (1 - beta / (1 - abar) ** 0.5 * a) / root, -beta / (1 - abar) ** 0.5 * b / root
        else:
            kept = (lower / abar) ** 0.5
            direction = (1 - lower) ** 0.5 - kept * (1 - abar) ** 0.5
            p, q = kept + direction * a, direction * b
        mean, variance = p * mean + q, p**2 * variance + (beta if stochastic and lower < 1 else 0.0)
    return mean, variance**0.5


def impulses(denoise: Denoise, sampler: Sampler, sigmas: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and std, exactly, of what affine scalar chains end at: chain k meets the noise of step k, the last none.

    Where chains do not meet, x_end = mean + sum_k r_k noise_k, so std^2 = sum r_k^2; nothing is drawn.
    """
    chains = len(sigmas) + 1
    unit = torch.eye(chains, dtype=torch.float64).view(chains, chains, 1, 1, 1)
    *_, last = sampler(denoise, sigmas, torch.zeros(chains, dtype=torch.int64), lambda step: unit[step])
    mean = last.x[-1].squeeze()
    return mean, (last.x[:-1] - mean).square().sum().sqrt()
