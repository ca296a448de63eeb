"""How a gradient for the predicted clean image becomes one for the noisy image: through the denoiser, or past it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from infodistill.diffusion.contract import Denoise, Prediction

Pull = Callable[[Tensor], Tensor]
"""pull(gradient for x0 (n, c, h, w)) -> gradient for x (n, c, h, w): the transposed Jacobian of the denoiser."""

Route = Callable[[Denoise, Tensor, Tensor, Tensor], tuple[Prediction, Pull]]
"""route(denoise, x, sigma, y) -> the (detached) prediction, and how gradients travel from x0 to x."""


def exact(denoise: Denoise, x: Tensor, sigma: Tensor, y: Tensor) -> tuple[Prediction, Pull]:
    """Through the denoiser: one backward pass a force, and its activations (`in_pieces` recomputes them)."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        told = denoise(leaf, sigma, y)

    def pull(gradient: Tensor) -> Tensor:
        if not told.x0.requires_grad:  # a model that ignores its input
            return torch.zeros_like(x)
        return torch.autograd.grad(told.x0, leaf, gradient, retain_graph=True, materialize_grads=True)[0]

    spread = None if told.spread is None else told.spread.detach()
    return Prediction(told.x0.detach(), spread), pull


def surrogate(variance: float = 1.0) -> Route:
    """No pass through the denoiser: its Jacobian is taken for a Gaussian prior's, s0^2 / (s0^2 + sigma^2) times 1.

    Args:
        variance: s0^2 of what is denoised; 1 makes it abar, the factor sqrt(abar) in z of the plain surrogate.

    Not the derivative with the noise prediction held fixed, which is 1 and in z 1 / sqrt(abar): that diverges at high
    noise. Under `normalised` the factor cancels.
    """
    if not variance > 0:
        raise ValueError(f"the variance of a prior must be positive, got {variance}")

    def route(denoise: Denoise, x: Tensor, sigma: Tensor, y: Tensor) -> tuple[Prediction, Pull]:
        factor = variance / (variance + float(sigma[0]) ** 2)
        return denoise(x, sigma, y), lambda gradient: factor * gradient

    return route
