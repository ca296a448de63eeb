"""The denoiser contract: classifier-free guidance, clamping and micro-batches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from analytic import Mixture
from guiding import SIGMA, Y, at, images, mixture
from infodistill.diffusion.contract import UNCONDITIONAL, Prediction, clamped, classifier_free, in_pieces
from infodistill.seeding import stream

LEVEL = at(SIGMA)
NULL = torch.full_like(Y, UNCONDITIONAL)


def spread(x: Tensor, sigma: Tensor, y: Tensor) -> Prediction:
    """A model with a learned range that differs from class to class."""
    return Prediction(mixture()(x, sigma, y).x0, (y.double().view(-1, 1, 1, 1) + 1).expand_as(x) / 5)


def test_classifier_free_guidance_extrapolates_from_the_null_class() -> None:
    assert classifier_free(spread, 1.0) is spread
    told, null = spread(images(), LEVEL, Y), spread(images(), LEVEL, NULL)
    assert not torch.allclose(told.x0, null.x0)
    for weight in (0.0, 0.5, 4.0):
        found = classifier_free(spread, weight)(images(), LEVEL, Y)
        assert torch.allclose(found.x0, weight * told.x0 + (1 - weight) * null.x0, rtol=0, atol=1e-12)
        assert torch.equal(found.spread, told.spread)  # the variance is the class's
        # in noise it is the same extrapolation
        eps = [(images() - part.x0) / SIGMA for part in (found, null, told)]
        assert torch.allclose(eps[0], eps[1] + weight * (eps[2] - eps[1]), rtol=0, atol=1e-12)


def test_only_the_leading_channels_are_extrapolated_where_asked() -> None:
    means = torch.randn(3, 2, 4, 2, 2, generator=stream(0, "wide"), dtype=torch.float64)
    model, x, sigma = Mixture(means, 0.1), torch.randn(3, 4, 2, 2, generator=stream(0, "x")).double(), LEVEL[:3]
    y = torch.arange(3)
    told = model(x, sigma, y).x0
    every, some = (classifier_free(model, 4.0, channels)(x, sigma, y).x0 for channels in (None, 3))
    assert torch.equal(some[:, :3], every[:, :3]) and torch.equal(some[:, 3:], told[:, 3:])
    assert not torch.allclose(every[:, 3:], told[:, 3:])


def test_the_null_class_is_the_mean_over_classes_and_bayes_rule_joins_them() -> None:
    """The study's P0: eps_y - eps_null = -sigma dlog p(y|x)/dx, so weight w adds w - 1 of its own classifier."""
    x = images().requires_grad_()
    posterior = mixture().log_posterior(x, LEVEL).gather(1, Y[:, None]).sum()
    gradient = torch.autograd.grad(posterior, x)[0]
    told, null = mixture()(images(), LEVEL, Y).x0, mixture()(images(), LEVEL, NULL).x0
    assert torch.allclose(told - null, SIGMA**2 * gradient, rtol=0, atol=1e-10)


def test_clamping() -> None:
    assert clamped(spread, None) is spread
    told, cut = spread(images(), LEVEL, Y), clamped(spread, 0.4)(images(), LEVEL, Y)
    assert torch.equal(cut.x0, told.x0.clamp(-0.4, 0.4)) and torch.equal(cut.spread, told.spread)
    assert float(told.x0.abs().max()) > 0.4


@pytest.mark.parametrize("most", [1, 5, 12, 99])
def test_pieces_are_the_whole(most: int) -> None:
    seen = list[int]()

    def counted(x: Tensor, sigma: Tensor, y: Tensor) -> Prediction:
        seen.append(len(x))
        return spread(x, sigma, y)

    whole, parts = spread(images(), LEVEL, Y), in_pieces(counted, most)(images(), LEVEL, Y)
    assert torch.allclose(whole.x0, parts.x0, rtol=0, atol=1e-12) and torch.equal(whole.spread, parts.spread)
    assert seen == [min(most, len(Y) - start) for start in range(0, len(Y), most)]
    leaf = images().requires_grad_()
    gradient = torch.autograd.grad(in_pieces(counted, most)(leaf, LEVEL, Y).x0.square().sum(), leaf)[0]
    expected = torch.autograd.grad(spread(leaf, LEVEL, Y).x0.square().sum(), leaf)[0]
    assert torch.allclose(gradient, expected, rtol=0, atol=1e-12) and max(seen) <= most
    assert in_pieces(mixture(), most)(images(), LEVEL, Y).spread is None


def test_no_pieces_and_too_small_ones() -> None:
    assert in_pieces(spread, None) is spread
    with pytest.raises(ValueError, match="at least 1 image, got 0"):
        in_pieces(spread, 0)
