"""Guidance: where it does nothing, what terms are shown, and that a class is one set whatever surrounds it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from guiding import (
    CLASSES,
    CONTEXT,
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
from infodistill.diffusion.contract import Prediction, in_pieces
from infodistill.diffusion.guidance import Force, Step, Watched, bayes, clean, exact, noisy, normalised, surrogate
from infodistill.diffusion.in_pixels import InPixels
from infodistill.diffusion.model import Pixels
from infodistill.diffusion.schedules import linear_alphas_bar, respaced, sigma_at
from infodistill.types import Batch


def test_nothing_to_do_is_the_base_sampler_to_the_bit() -> None:
    base = mixture()
    none = {"p": Force(prototype(), 0.0), "c": Force(CONTEXT, 0.0)}
    some = {"p": Force(prototype(), 1.0), "c": Force(CONTEXT, 1.0)}
    assert steered(base, {}) is base and steered(base, none) is base
    for route in (surrogate(), exact):
        closed = steered(base, some, route=route, window=(0.0, 1e-9))
        assert torch.equal(chain(closed), chain(base))
        assert not torch.equal(chain(steered(base, some, route=route)), chain(base))


def test_no_weight_on_the_context_is_prototype_guidance_to_the_bit() -> None:
    alone = chain(steered(mixture(), {"p": Force(prototype(), 1.0)}))
    both = chain(steered(mixture(), {"p": Force(prototype(), 1.0), "c": Force(CONTEXT, 0.0)}))
    assert torch.equal(alone, both)


@pytest.mark.parametrize("rule", [normalised, bayes])
def test_a_pairwise_term_is_inert_for_one_image_a_class(rule: Callable[[Tensor, Tensor, Step], Tensor]) -> None:
    y = torch.arange(CLASSES)
    context = {"c": Force(CONTEXT, 3.0, rule)}
    for route in (surrogate(), exact):
        assert torch.equal(chain(steered(mixture(), context, route=route), y, 1), chain(mixture(), y, 1))
    alone = {"p": Force(prototype(), 1.0)}
    assert torch.equal(chain(steered(mixture(), alone | context), y, 1), chain(steered(mixture(), alone), y, 1))


@pytest.mark.parametrize("route", [surrogate(), exact], ids=["surrogate", "exact"])
def test_classes_together_are_classes_one_after_the_other(route) -> None:
    forces = {"p": Force(prototype(), 1.0), "c": Force(CONTEXT, 0.3, bayes)}
    denoise = steered(mixture(), forces, route=route)
    together = chain(denoise)
    for label in range(CLASSES):
        alone = chain(denoise, torch.full((N,), label))
        assert torch.allclose(together[N * label : N * (label + 1)], alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("most", [1, 5, 12])
def test_the_exact_route_in_pieces_is_one_batch(most: int) -> None:
    """Two forces, hence two backward passes, each of which recomputes its pieces."""
    forces = {"p": Force(prototype(), 1.0), "c": Force(CONTEXT, 0.3)}
    seen = list[int]()

    def counted(x: Tensor, sigma: Tensor, y: Tensor) -> Prediction:
        seen.append(len(x))
        return mixture()(x, sigma, y)

    whole = steered(mixture(), forces, route=exact)(images(), at(SIGMA), Y).x0
    parts = steered(in_pieces(counted, most), forces, route=exact)(images(), at(SIGMA), Y).x0
    assert torch.allclose(whole, parts, rtol=0, atol=1e-12)
    assert max(seen) <= most and sum(seen) >= len(Y)


def test_images_of_a_class_must_come_together_and_be_equally_many() -> None:
    denoise = steered(mixture(), {"p": Force(prototype(), 1.0)})
    for y in (Y.roll(1), Y.clone().index_fill_(0, torch.tensor([0]), 1)):
        with pytest.raises(ValueError, match="class-major"):
            denoise(images(), at(SIGMA), y)
    steered(mixture(), {"p": Force(prototype(), 1.0)})(images(), at(SIGMA), Y.flip(0))  # in any order of classes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_window_holds_both_its_ends(dtype: torch.dtype) -> None:
    """Its ends are numbers of a table in float64, a sampler's levels may be rounded."""
    table, forces = linear_alphas_bar(), {"p": Force(prototype(), 1.0)}
    for fraction in (0.1, 0.3, 0.55, 0.9, 1.0):
        sigma = sigma_at(table, fraction)
        guided = steered(mixture(), forces, window=(sigma, sigma))
        rounded = float(torch.tensor(sigma, dtype=dtype))
        for level, acts in ((rounded, True), (sigma * 1.01, False), (sigma * 0.99, False)):
            told = guided(images(), at(level), Y).x0
            assert torch.equal(told, mixture()(images(), at(level), Y).x0) != acts, (fraction, dtype)


def test_the_term_sees_what_it_was_promised() -> None:
    seen = dict[str, Batch]()

    @dataclass(frozen=True)
    class Spy:
        name: str

        def __call__(self, syn: Batch, real: Batch) -> Tensor:
            seen[self.name] = syn
            assert torch.equal(real.x, real_batch().x)
            return syn.x.sum()

    forces = {"clean": Force(Spy("clean"), 1.0), "noisy": Force(Spy("noisy"), 1.0, shows=noisy)}
    steered(mixture(), forces)(images(), at(SIGMA), Y)
    assert torch.equal(seen["clean"].x, mixture()(images(), at(SIGMA), Y).x0) and seen["clean"].noise is None
    assert torch.equal(seen["noisy"].x, images())
    assert torch.equal(seen["noisy"].noise, at(SIGMA))
    for batch in seen.values():
        assert torch.equal(batch.y, Y) and batch.target.shape == (len(Y), CLASSES) and batch.space == SPACE


@pytest.mark.parametrize("route", [surrogate(), exact], ids=["surrogate", "exact"])
def test_terms_and_models_that_do_not_depend_on_the_images_push_nothing(route) -> None:
    """Also where their own parameters would take a gradient."""
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)

    def deaf(x: Tensor, sigma: Tensor, y: Tensor) -> Prediction:
        return Prediction(torch.ones_like(x) * weight)

    for term in (lambda syn, real: weight * 2, lambda syn, real: weight.detach()):
        moved = steered(mixture(), {"t": Force(term, 1.0)}, route=route)(images(), at(SIGMA), Y)
        assert torch.equal(moved.x0, mixture()(images(), at(SIGMA), Y).x0)
    if route is exact:
        moved = steered(deaf, {"p": Force(prototype(), 1.0)}, route=route)(images(), at(SIGMA), Y)
        assert torch.equal(moved.x0.detach(), torch.ones_like(images()))


def test_every_guided_step_is_told() -> None:
    told = list[Watched]()
    forces = {"p": Force(prototype(), 1.0), "c": Force(CONTEXT, 0.25), "mean": Force(lambda s, r: s.x.sum(), 0.0)}
    high = sigma_at(linear_alphas_bar(), 0.6)
    chain(steered(mixture(), forces, window=(0.0, high), watch=told.append))
    walked = [float(sigma) for sigma in respaced(linear_alphas_bar(), 8)[:-1] if sigma <= high]
    assert [seen.sigma for seen in told] == pytest.approx(walked) and len(told) > 2
    for seen in told:
        assert torch.equal(seen.y, Y)
        assert set(seen.values) == {"p", "c"} and set(seen.pushes) == {"p", "c", "all"}
        assert all(value.shape == (len(Y),) for value in (*seen.values.values(), *seen.pushes.values()))
        unit = seen.sigma / (1 + seen.sigma**2) ** 0.5
        sizes = seen.pushes["c"].view(CLASSES, N).square().mean(1).sqrt()
        assert torch.allclose(sizes, torch.full((CLASSES,), 0.25 * unit), rtol=1e-4)
        assert float(seen.pushes["all"].max()) <= 1.5 * 1.0001
        assert float(seen.values["c"].min()) >= 0 and float(seen.values["c"].max()) <= math.log(N) + 1e-6
    x0 = mixture()(images(), at(SIGMA), Y).x0
    told.clear()
    steered(mixture(), forces, watch=told.append)(images(), at(SIGMA), Y)
    shown = Batch(x0, Y, torch.nn.functional.one_hot(Y, CLASSES).double(), SPACE)
    assert torch.allclose(told[0].values["c"].double(), CONTEXT.per_image(shown, shown), atol=1e-6)


@pytest.mark.parametrize("shows", [clean, noisy])
def test_a_term_that_reads_real_images_is_refused_where_there_are_none(shows) -> None:
    """The images being sampled must not pass for them."""

    def distance(syn: Batch, real: Batch) -> Tensor:
        return (syn.x.mean(0) - real.x.mean(0)).square().sum()

    def counting(syn: Batch, real: Batch) -> Tensor:
        return syn.x.square().sum() * len(real)

    for term in (distance, counting, InPixels(distance, Pixels(), SPACE), InPixels(distance, Pixels(), SPACE, 2)):
        with pytest.raises(ValueError, match=r"reads the real images .* and there are none: give `guide` its `real`"):
            steered(mixture(), {"t": Force(term, 1.0, shows=shows)}, real=None)(images(), at(SIGMA), Y)
    told = list[Watched]()
    blind = {"c": Force(CONTEXT, 1.0, shows=shows), "in pixels": Force(InPixels(CONTEXT, Pixels(), SPACE, 0), 1.0)}
    alone = steered(mixture(), blind, real=None, watch=told.append)(images(), at(SIGMA), Y)
    assert torch.equal(alone.x0, steered(mixture(), blind)(images(), at(SIGMA), Y).x0) and set(told[0].values) == {
        *blind
    }
