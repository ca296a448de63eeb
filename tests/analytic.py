"""A diffusion model whose denoiser is known exactly: every class a mixture of equal isotropic Gaussians.

p(x0 | y) = mean over k of N(m_yk, v I). With x = x0 + sigma * noise, component k has the posterior weight
softmax_k(-||x - m_yk||^2 / (2 (v + sigma^2))) and posterior mean m_yk + v / (v + sigma^2) (x - m_yk); E[x0 | x, y] is
their average. UNCONDITIONAL averages over the components of all classes, which are equally likely.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from infodistill.diffusion.contract import UNCONDITIONAL, Prediction
from infodistill.diffusion.model import DiffusionModel, Pixels, signed_pixels
from infodistill.diffusion.schedules import linear_alphas_bar
from infodistill.real import RealData


@dataclass(frozen=True)
class Mixture:
    """The denoiser, a `Denoise`; means (C, K, c, h, w), variance v >= 0 of every component."""

    means: Tensor
    variance: float

    def __call__(self, x: Tensor, sigma: Tensor, y: Tensor) -> Prediction:
        means, near = self._components(x, y), self.variance + sigma.to(x).square()  # near (n,)
        weight = self._log_components(x, sigma, y).softmax(1)  # (n, K)
        centre = (weight[:, :, None] * means.flatten(2)).sum(1).view_as(x)
        return Prediction(centre + (self.variance / near).view(-1, 1, 1, 1) * (x - centre))

    def log_density(self, x: Tensor, sigma: Tensor, y: Tensor) -> Tensor:
        """log p(x | y) of noisy images, (n,), up to the constant of the Gaussians' normaliser at this sigma."""
        logs = self._log_components(x, sigma, y)
        return logs.logsumexp(1) - torch.tensor(float(logs.shape[1])).log()

    def log_posterior(self, x: Tensor, sigma: Tensor) -> Tensor:
        """log p(y | x), (n, C), of noisy images under equally likely classes: the best noise-aware classifier."""
        every = [self.log_density(x, sigma, torch.full((len(x),), label)) for label in range(len(self.means))]
        return torch.stack(every, 1).log_softmax(1)

    def draw(self, y: Tensor, generator: torch.Generator) -> Tensor:
        """Exact samples (n, c, h, w) of the classes y (n,)."""
        part = torch.randint(self.means.shape[1], (len(y),), generator=generator)
        noise = torch.randn(len(y), *self.means.shape[2:], generator=generator, dtype=self.means.dtype)
        return self.means[y, part] + self.variance**0.5 * noise

    def _components(self, x: Tensor, y: Tensor) -> Tensor:
        means = self.means.to(x)
        if bool((y == UNCONDITIONAL).all()):
            return means.flatten(0, 1).expand(len(x), *[-1] * 4)
        return means[y]

    def _log_components(self, x: Tensor, sigma: Tensor, y: Tensor) -> Tensor:
        gap = (x[:, None] - self._components(x, y)).flatten(2).square().sum(2)  # (n, K)
        return -gap / (2 * (self.variance + sigma.to(x).square()))[:, None]


def model_of(
    mixture: Mixture, names: tuple[str, ...] | None = None, alphas_bar: Tensor | None = None
) -> DiffusionModel:
    """The mixture as a pixel model (values in [-1, 1], no codec) that knows its null class."""
    classes, _, c, h, w = mixture.means.shape
    return DiffusionModel(
        denoise=mixture,
        alphas_bar=linear_alphas_bar() if alphas_bar is None else alphas_bar,
        shape=(c, h, w),
        codec=Pixels(),
        class_names=names or tuple(f"class {label}" for label in range(classes)),
        space=signed_pixels(c),
        null=True,
        module=nn.Identity(),
        facts={"architecture": "analytic mixture"},
    )


def around(real: RealData, per_class: int, variance: float = 0.02) -> DiffusionModel:
    """Components of this variance around the first `per_class` real images of every class."""
    means = [real.pixels(rows[:per_class]).float() / 127.5 - 1 for rows in real.class_rows]
    return model_of(Mixture(torch.stack(means), variance), tuple(real.class_names))


def two_blobs(side: int = 2, gap: float = 0.5, variance: float = 0.01) -> DiffusionModel:
    """Two classes of one component each, at constant images -gap and +gap."""
    values = torch.tensor([-gap, gap]).view(2, 1, 1, 1, 1)
    return model_of(Mixture(values.expand(2, 1, 1, side, side).clone(), variance))
