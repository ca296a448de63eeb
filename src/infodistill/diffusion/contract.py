"""What a sampler and a guide know of a diffusion model: one function, in the variance-exploding scale.

A noisy image is x = x0 + sigma * noise. A variance-preserving model (DDPM, DiT) is fed z = x / sqrt(1 + sigma^2), that
is abar = 1 / (1 + sigma^2); adapters convert, so nobody else asks which model it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

UNCONDITIONAL = -1
"""The class that stands for none; a model maps it to its own null class, or raises."""


@dataclass(frozen=True)
class Prediction:
    """What a denoiser says of noisy images.

    Attributes:
        x0: (n, c, h, w) the expected clean image, E[x0 | x].
        spread: (n, c, h, w) in [0, 1], the log variance of a DDPM step between the posterior's (0) and beta's (1),
            where the model has learned it (Nichol & Dhariwal, ICML 2021); None elsewhere.
    """

    x0: Tensor
    spread: Tensor | None = None


Denoise = Callable[[Tensor, Tensor, Tensor], Prediction]
"""denoise(x (n, c, h, w), sigma (n,), y (n,) int64): y counts the classes of the data, or is UNCONDITIONAL."""


def classifier_free(denoise: Denoise, weight: float, channels: int | None = None) -> Denoise:
    """x0 = x0_null + weight (x0_y - x0_null), classifier-free guidance (Ho & Salimans, 2022); weight 1 is `denoise`.

    The extrapolation is linear, so it is the same in noise, velocity and x0. The spread is that of the class. There is
    one image a row, not a doubled batch: a guide after it edits what is sampled and nothing else.

    Args:
        denoise: a model that knows UNCONDITIONAL.
        weight: 1 follows the class, 0 forgets it, larger exaggerates it.
        channels: how many leading channels are extrapolated; None all (the authors' DiT: 3 of 4).
    """
    if weight == 1.0:
        return denoise

    def guided(x: Tensor, sigma: Tensor, y: Tensor) -> Prediction:
        told, null = denoise(x, sigma, y), denoise(x, sigma, torch.full_like(y, UNCONDITIONAL))
        x0 = null.x0 + weight * (told.x0 - null.x0)
        if channels is not None:
            x0 = torch.cat([x0[:, :channels], told.x0[:, channels:]], 1)
        return replace(told, x0=x0)

    return guided


def clamped(denoise: Denoise, limit: float | None) -> Denoise:
    """Predicted clean images cut to [-limit, limit]; None leaves them."""
    if limit is None:
        return denoise

    def within(x: Tensor, sigma: Tensor, y: Tensor) -> Prediction:
        told = denoise(x, sigma, y)
        return replace(told, x0=told.x0.clamp(-limit, limit))

    return within


def in_pieces(denoise: Denoise, most: int | None) -> Denoise:
    """At most `most` images per forward; a gradient through it recomputes piece after piece, in constant memory."""
    if most is None:
        return denoise
    if most < 1:
        raise ValueError(f"a piece needs at least 1 image, got {most}")

    def one(x: Tensor, sigma: Tensor, y: Tensor) -> tuple[Tensor, Tensor | None]:
        told = denoise(x, sigma, y)
        return told.x0, told.spread

    def pieces(x: Tensor, sigma: Tensor, y: Tensor) -> Prediction:
        if len(x) <= most:
            return denoise(x, sigma, y)
        parts: list[tuple[Tensor, Tensor | None]] = []
        for part in zip(x.split(most), sigma.split(most), y.split(most), strict=True):
            held = torch.is_grad_enabled() and x.requires_grad
            parts.append(checkpoint(one, *part, use_reentrant=False, preserve_rng_state=False) if held else one(*part))
        spreads = [spread for _, spread in parts if spread is not None]
        return Prediction(torch.cat([x0 for x0, _ in parts]), torch.cat(spreads) if spreads else None)

    return pieces
