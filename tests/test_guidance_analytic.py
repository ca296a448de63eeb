"""Guidance on Gaussians, where every law is known: which routes are exact, which are biased, and by how much.

Prior N(0, v), a Gaussian "classifier" q(y | x0) = exp(-(x0 - a)^2 / (2 tau^2)) with a = 2, tau = 1, linear betas, 1000
steps, scale 1. Guided by what it says of *noisy* images the posterior is sampled; by what it says of the predicted
clean image, a known other law. The chains are affine, so their laws are read off impulses: nothing is drawn.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from analytic import Mixture
from infodistill.diffusion import samplers
from infodistill.diffusion.contract import Denoise
from infodistill.diffusion.guidance import Force, Route, bayes, clean, exact, guide, noisy, surrogate
from infodistill.diffusion.samplers import Sampler, ddim, ddpm
from infodistill.diffusion.schedules import linear_alphas_bar, respaced
from infodistill.seeding import stream
from infodistill.types import Batch, pixel_space
from oracles.diffusion import affine_law, impulses

A, TAU = 2.0, 1.0
SPACE = pixel_space(1)


def prior(v: float, dtype: torch.dtype = torch.float64) -> Mixture:
    return Mixture(torch.zeros(1, 1, 1, 1, 1, dtype=dtype), v)


def log_q(x0: Tensor) -> Tensor:
    return -(x0 - A).square() / (2 * TAU**2)


def at_clean(syn: Batch, real: Batch) -> Tensor:
    return -log_q(syn.x).sum()


def at_noisy(v: float) -> Callable[[Batch, Batch], Tensor]:
    """-log E[q(y | x0) | x]: x0 | x is N(v / (v + s^2) x, v s^2 / (v + s^2)); its variance adds to tau^2."""

    def term(syn: Batch, real: Batch) -> Tensor:
        assert syn.noise is not None
        variance = syn.noise.view(-1, 1, 1, 1).square()
        mean, left = v / (v + variance) * syn.x, v * variance / (v + variance)
        return ((mean - A).square() / (2 * (TAU**2 + left))).sum()

    return term


ROUTES = ("noise-aware", "exact", "surrogate")
SAMPLERS: dict[str, Sampler] = {"ddpm": lambda *a: ddpm(*a, variance=samplers.beta), "ddim": ddim}


def guided(v: float, way: str, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> Denoise:
    route: Route = exact if way == "exact" else surrogate()
    term, shows = (at_noisy(v), noisy) if way == "noise-aware" else (at_clean, clean)
    forces = {"q": Force(term, scale, bayes, shows)}
    return guide(prior(v, dtype), forces, classes=1, space=SPACE, route=route, clip=None)


STATED = {
    (1.0, "ddpm", "noise-aware"): (0.995, 0.699),
    (1.0, "ddim", "noise-aware"): (0.992, 0.709),
    (1.0, "ddpm", "exact"): (1.27, 0.656),
    (1.0, "ddpm", "surrogate"): (1.27, 0.656),
    (1.0, "ddim", "exact"): (1.44, 0.602),
    (1.0, "ddim", "surrogate"): (1.44, 0.602),
    (0.25, "ddpm", "noise-aware"): (0.399, 0.446),
    (0.25, "ddim", "noise-aware"): (0.400, 0.447),
    (0.25, "ddpm", "exact"): (0.441, 0.443),
    (0.25, "ddim", "exact"): (0.460, 0.441),
    (0.25, "ddpm", "surrogate"): (0.740, 0.424),
    (0.25, "ddim", "surrogate"): (1.026, 0.396),
}


def in_eps(v: float, way: str, scale: float) -> Callable[[float], tuple[float, float]]:
    """The guided noise prediction, eps = A z + B = sqrt(1 - abar) (z / (abar v + 1 - abar) - s dJ/dz)."""

    def affine(abar: float) -> tuple[float, float]:
        spread = abar * v + 1 - abar
        shrink = abar**0.5 * v / spread  # x0 = shrink z
        left = v * (1 - abar) / spread
        # dJ/dz = jacobian (a - shrink z) / (tau^2 + known)
        jacobian = abar**0.5 if way == "surrogate" else shrink
        precision = 1 / (TAU**2 + (left if way == "noise-aware" else 0.0))
        slope, offset = -jacobian * shrink * precision, jacobian * A * precision
        root = (1 - abar) ** 0.5
        return root * (1 / spread - scale * slope), -root * scale * offset

    return affine


@pytest.mark.parametrize("way", ROUTES)
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("v", [1.0, 0.25])
def test_the_laws_that_were_stated(v: float, sampler: str, way: str) -> None:
    """Noise-aware is the posterior, mean a v / (v + tau^2), whichever the sampler; the others are biased as stated."""
    table = linear_alphas_bar()
    mean, std = impulses(guided(v, way), SAMPLERS[sampler], respaced(table, 1000))
    stated = STATED[v, sampler, way]
    assert abs(mean - stated[0]) < 0.02 and abs(std - stated[1]) < 0.02
    expected = affine_law(in_eps(v, way, 1.0), table, stochastic=sampler == "ddpm")
    assert abs(mean - expected[0]) < 1e-6 and abs(std - expected[1]) < 1e-6
    if way == "noise-aware":
        assert abs(mean - A * v / (v + TAU**2)) < 0.015
        assert abs(std - (v * TAU**2 / (v + TAU**2)) ** 0.5) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("v", [1.0, 0.25])
def test_the_laws_that_were_stated_with_chains_drawn(v: float, sampler: str) -> None:
    chains = 40_000
    for way in ROUTES:
        noise = lambda step: torch.randn(chains, 1, 1, 1, generator=stream(2, "chains", step))  # noqa: E731
        y = torch.zeros(chains, dtype=torch.int64)
        *_, last = SAMPLERS[sampler](guided(v, way, dtype=torch.float32), respaced(linear_alphas_bar(), 1000), y, noise)
        stated = STATED[v, sampler, way]
        assert abs(last.x.mean() - stated[0]) < 0.02 and abs(last.x.std() - stated[1]) < 0.02, way


def test_without_guidance_the_prior_stays() -> None:
    for sampler in SAMPLERS.values():
        mean, std = impulses(guided(1.0, "exact", 0.0), sampler, respaced(linear_alphas_bar(), 1000))
        assert abs(mean) < 1e-9 and abs(std - 1) < 0.01


@pytest.mark.parametrize("way", ROUTES)
@pytest.mark.parametrize("v", [1.0, 0.25])
def test_the_right_sign_raises_and_the_wrong_one_lowers_the_likelihood(v: float, way: str) -> None:
    """E log q = -((mean - a)^2 + std^2) / (2 tau^2)."""

    def likelihood(scale: float) -> float:
        mean, std = impulses(guided(v, way, scale), ddim, respaced(linear_alphas_bar(), 100))
        return -float((mean - A).square() + std.square()) / (2 * TAU**2)

    low, plain, high, more = (likelihood(scale) for scale in (-0.4, 0.0, 0.4, 1.0))
    assert low < plain - 0.05 and plain + 0.05 < high < more


@pytest.mark.parametrize("v", [1.0, 0.25, 0.04])
def test_the_surrogate_is_exact_for_the_gaussian_it_assumes(v: float) -> None:
    told = dict[str, Tensor]()
    x, y = torch.linspace(-3, 3, 7, dtype=torch.float64).view(-1, 1, 1, 1), torch.zeros(7, dtype=torch.int64)
    for name, route in {"exact": exact, "own": surrogate(v), "unit": surrogate()}.items():
        forces = {"q": Force(at_clean, 1.0, bayes)}
        denoise = guide(prior(v), forces, classes=1, space=SPACE, route=route, clip=None)
        told[name] = denoise(x, x.new_full((7,), 0.8), y).x0
    assert torch.allclose(told["exact"], told["own"], rtol=0, atol=1e-14)
    assert torch.allclose(told["exact"], told["unit"]) == (v == 1.0)


def test_two_forces_of_one_term_are_one_of_twice_the_scale() -> None:
    x, y = torch.linspace(-3, 3, 7, dtype=torch.float64).view(-1, 1, 1, 1), torch.zeros(7, dtype=torch.int64)
    for way in ROUTES:
        twice = guided(0.25, way, 2.0)(x, x.new_full((7,), 0.8), y)
        route, shows = (exact if way == "exact" else surrogate()), (noisy if way == "noise-aware" else clean)
        term = at_noisy(0.25) if way == "noise-aware" else at_clean
        forces = {name: Force(term, 1.0, bayes, shows) for name in ("one", "other")}
        both = guide(prior(0.25), forces, classes=1, space=SPACE, route=route, clip=None)
        assert torch.allclose(both(x, x.new_full((7,), 0.8), y).x0, twice.x0, rtol=0, atol=1e-13)
