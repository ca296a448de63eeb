"""Samplers: the only place that denoises. One function each, a generator of frames, paper symbols inside.

All walk `sigmas` down from the largest to 0 in the scale x = x0 + sigma * noise. There q(x_s | x_t, x0) of DDPM (Ho et
al., NeurIPS 2020) has mean x0 + (s^2/t^2)(x_t - x0) and variance s^2 (t^2 - s^2) / t^2, with t and s the two sigmas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from infodistill.diffusion.contract import Denoise, Prediction
from infodistill.seeding import stream

Noise = Callable[[int], Tensor]
"""noise(k): standard normal (n, c, h, w); noise(0) is the start, noise(k) is added by step k = 1, 2, ..."""


@dataclass(frozen=True)
class Frame:
    """After step `step` (1, 2, ...): images x at noise level `sigma`, and the clean images predicted for it."""

    step: int
    sigma: float
    x: Tensor
    x0: Tensor


Sampler = Callable[[Denoise, Tensor, Tensor, Noise], Iterator[Frame]]
"""sampler(denoise, sigmas (steps + 1,), y (n,), noise): the x of its last frame are the samples."""

Variance = Callable[[float, float, Prediction], "float | Tensor"]
"""variance(sigma, lower, prediction) of the step from `sigma` to `lower`, in this scale."""


def posterior(sigma: float, lower: float, prediction: Prediction) -> float:
    """The variance of q(x_s | x_t, x0): right for one known image, the lower end."""
    del prediction
    return lower**2 * (sigma**2 - lower**2) / sigma**2


def beta(sigma: float, lower: float, prediction: Prediction) -> float:
    """DDPM's beta_t, 1 - abar_t / abar_s: right for white images, the upper end."""
    del prediction
    return (1 + lower**2) * (sigma**2 - lower**2) / (1 + sigma**2)


def learned(sigma: float, lower: float, prediction: Prediction) -> float | Tensor:
    """Between the two, in the log, as the model says; `posterior` where it says nothing.

    In the last step the posterior's variance is 0 and nothing is added.
    """
    low, high = posterior(sigma, lower, prediction), beta(sigma, lower, prediction)
    if prediction.spread is None or low <= 0:
        return low
    return low * (high / low) ** prediction.spread


def ddpm(
    denoise: Denoise, sigmas: Tensor, y: Tensor, noise: Noise, *, variance: Variance = posterior
) -> Iterator[Frame]:
    """Ancestral sampling (Ho et al., 2020); the last step adds no noise."""
    x, sigma = _start(sigmas, noise), float(sigmas[0])
    for step, lower in enumerate(sigmas[1:].tolist(), 1):
        told = _told(denoise, x, sigma, y)
        x = told.x0 + (lower / sigma) ** 2 * (x - told.x0)
        if lower > 0:
            x = x + _root(variance(sigma, lower, told)) * noise(step)
        sigma = lower
        yield Frame(step, sigma, x, told.x0)


def ddim(denoise: Denoise, sigmas: Tensor, y: Tensor, noise: Noise, *, eta: float = 0.0) -> Iterator[Frame]:
    """Song et al. (ICLR 2021): the noise in x is scaled down; `eta` in 0..1 renews a part of it, 1 is `ddpm`."""
    x, sigma = _start(sigmas, noise), float(sigmas[0])
    for step, lower in enumerate(sigmas[1:].tolist(), 1):
        told = _told(denoise, x, sigma, y)
        fresh = eta**2 * posterior(sigma, lower, told)
        x = told.x0 + _root(lower**2 - fresh) / sigma * (x - told.x0)
        if fresh > 0:
            x = x + _root(fresh) * noise(step)
        sigma = lower
        yield Frame(step, sigma, x, told.x0)


def dpm_solver(denoise: Denoise, sigmas: Tensor, y: Tensor, noise: Noise) -> Iterator[Frame]:
    """DPM-Solver++(2M) (Lu et al., 2022): second order in lambda = -log sigma, one evaluation a step, no noise.

    The first and the last step are of first order.
    """
    x, sigma = _start(sigmas, noise), float(sigmas[0])
    before: tuple[Tensor, float] | None = None
    for step, lower in enumerate(sigmas[1:].tolist(), 1):
        told = _told(denoise, x, sigma, y)
        d = told.x0
        if before is not None and lower > 0:
            old, higher = before
            ratio = math.log(sigma / lower) / math.log(higher / sigma)  # h_now / h_before
            d = told.x0 + ratio / 2 * (told.x0 - old)
        x = d + lower / sigma * (x - d)
        before, sigma = (told.x0, sigma), lower
        yield Frame(step, lower, x, told.x0)


def keyed_noise(
    seed: int, y: Tensor, number: Tensor, shape: tuple[int, ...], *, device: torch.device | str = "cpu"
) -> Noise:
    """Noise that belongs to the image: keyed by (seed, class, its number within the class, step) and nothing else.

    So the images of a class do not depend on which others are sampled, in which pieces, or on which device.

    Args:
        seed: of the run.
        y: (n,) classes.
        number: (n,) the number of each image within its class.
        shape: (c, h, w).
        device: where the noise is delivered; it is drawn on the CPU.
    """
    keys = list(zip(y.tolist(), number.tolist(), strict=True))

    def draw(step: int) -> Tensor:
        rows = [torch.randn(shape, generator=stream(seed, f"diffusion.{i}", step, label)) for label, i in keys]
        return torch.stack(rows).to(device)

    return draw


def _start(sigmas: Tensor, noise: Noise) -> Tensor:
    """Z ~ N(0, 1), hence x = sqrt(1 + sigma^2) z: what a variance-preserving model was trained to begin with."""
    return (1 + float(sigmas[0]) ** 2) ** 0.5 * noise(0)


def _told(denoise: Denoise, x: Tensor, sigma: float, y: Tensor) -> Prediction:
    with torch.no_grad():  # a guide that wants gradients turns them on for itself
        return denoise(x, x.new_full((len(x),), sigma), y)


def _root(value: float | Tensor) -> float | Tensor:
    return value**0.5
