"""How far guidance pushes: unit size per class, a floor, a clip per image; and what more context does to a set."""

from __future__ import annotations

import pytest
import torch

from analytic import Mixture
from guiding import (
    CLASSES,
    CONTEXT,
    SHAPE,
    SIGMA,
    SPACE,
    N,
    Y,
    at,
    chain,
    images,
    mixture,
    prototype,
    real_batch,
    steered,
)
from infodistill.diffusion.contract import Prediction
from infodistill.diffusion.features import Pooled
from infodistill.diffusion.guidance import Force, Step, exact, guide, normalised, surrogate
from infodistill.information.mixtures import MixtureEntropy
from infodistill.types import Batch


@pytest.mark.parametrize("sigma", [0.05, 1.0, 30.0])
@pytest.mark.parametrize("route", [surrogate(), surrogate(0.3), exact], ids=["surrogate", "narrow", "exact"])
def test_normalised_moves_the_predicted_noise_of_a_class_by_its_standard_deviation(sigma: float, route) -> None:
    """s = 1 changes eps by sqrt(1 - abar) = sigma / sqrt(1 + sigma^2), r.m.s. over a class, not over an image."""
    x, base = images(), mixture()
    moved = steered(base, {"p": Force(prototype(), 0.5)}, route=route, clip=None)(x, at(sigma), Y)
    eps = (moved.x0 - base(x, at(sigma), Y).x0) / sigma
    size = 0.5 * sigma / (1 + sigma**2) ** 0.5
    by_class = eps.unflatten(0, (CLASSES, N)).flatten(1).square().mean(1).sqrt()
    assert torch.allclose(by_class, torch.full((CLASSES,), size, dtype=torch.float64), rtol=1e-6)
    by_image = eps.flatten(1).square().mean(1).sqrt()
    assert float(by_image.max() / by_image.min()) > (1.05 if sigma < 2 else 1.0)


def test_normalised_is_the_recipe_in_z() -> None:
    """eps - sigma_t s g / rms(g) with g = dJ/dz through sqrt(abar), one class at a time: the study's own form."""
    x, base, abar = images(), mixture(), 1 / (1 + SIGMA**2)
    told = base(x, at(SIGMA), Y).x0
    found = steered(base, {"p": Force(prototype(), 0.8), "c": Force(CONTEXT, 0.3)}, clip=None)(x, at(SIGMA), Y).x0
    eps = (x - told) / SIGMA
    for label in range(CLASSES):
        rows = Y.eq(label).nonzero().flatten()
        z = told[rows].clone().requires_grad_()
        target = torch.nn.functional.one_hot(Y[rows], CLASSES).double()
        g = torch.zeros_like(z)
        for scale, term in ((0.8, prototype()), (0.3, CONTEXT)):
            uphill = -torch.autograd.grad(term(Batch(z, Y[rows], target, SPACE), real_batch()), z)[0] * abar**0.5
            g = g + scale * uphill / uphill.square().mean().sqrt().clamp_min(1e-6)
        moved = eps[rows] - (1 - abar) ** 0.5 * g
        assert torch.allclose(found[rows], x[rows] - SIGMA * moved, rtol=0, atol=1e-10)


def test_gradients_below_the_floor_are_not_blown_up() -> None:
    step, g = Step(images(), SIGMA, Y), images()
    tiny = g * 1e-9
    assert torch.allclose(normalised(g * 3, g, step), normalised(g, g, step), rtol=1e-9)
    assert float(normalised(tiny, g, step).abs().max()) < 1e-2
    one = g.clone()
    one[N:] = 0  # a class without a force stays, whatever its neighbours do
    assert torch.equal(normalised(one, g, step)[:N], normalised(g, g, step)[:N])
    assert torch.equal(normalised(one, g, step)[N:], torch.zeros_like(g[N:]))
    same = torch.ones(len(Y), *SHAPE, dtype=torch.float64) * 0.3  # all images equal: no direction to part in
    moved = guide(lambda x, sigma, y: Prediction(same), {"c": Force(CONTEXT, 1.0)}, classes=CLASSES, space=SPACE)
    assert torch.equal(moved(images(), at(SIGMA), Y).x0, same)


def test_the_clip_bounds_every_image_alone_and_keeps_its_direction() -> None:
    x, base, forces = images(), mixture(), {"p": Force(prototype(), 4.0)}
    before = base(x, at(SIGMA), Y).x0
    free = (steered(base, forces, clip=None)(x, at(SIGMA), Y).x0 - before).flatten(1) / SIGMA
    sizes = free.square().mean(1).sqrt()
    limit = float(sizes.median())
    cut = (steered(base, forces, clip=limit)(x, at(SIGMA), Y).x0 - before).flatten(1) / SIGMA
    assert torch.allclose(cut.square().mean(1).sqrt(), sizes.clamp_max(limit), rtol=1e-9)
    assert torch.allclose(torch.cosine_similarity(cut, free), torch.ones(len(Y), dtype=torch.float64))


def test_more_context_spreads_a_class_and_makes_its_label_less_certain() -> None:
    """On classes that overlap: the distance within a class rises with beta, the posterior of its label falls."""
    means = torch.linspace(-0.5, 0.5, CLASSES, dtype=torch.float64).view(-1, 1, 1, 1, 1).expand(-1, 1, *SHAPE)
    model, distances, labels = Mixture(means.clone(), 0.25), list[float](), list[float]()
    y = torch.arange(CLASSES).repeat_interleave(40)
    for beta in (0.0, 0.2, 0.6):
        forces = {"c": Force(MixtureEntropy(Pooled(), 4.0), beta)}
        x = chain(guide(model, forces, classes=CLASSES, space=SPACE), y, 40, steps=20)
        distances.append(float(torch.stack([torch.pdist(part.flatten(1)).mean() for part in x.split(40)]).mean()))
        labels.append(float(model.log_posterior(x, torch.zeros(len(y)).double()).gather(1, y[:, None]).mean()))
    assert distances[0] < distances[1] - 0.05 and distances[1] < distances[2] - 0.05
    assert labels[0] > labels[1] > labels[2]
