"""Rivals of the same shape: plain sampling, mode guidance as published and as a force; terms of decoded images."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from analytic import around, two_blobs
from infodistill.diffusion.dit import dit, published_plan
from infodistill.diffusion.encoded import Encoded, encode
from infodistill.diffusion.guidance import Force, Watched, guide
from infodistill.diffusion.in_pixels import InPixels
from infodistill.diffusion.mgd3 import centre_pull, mgd3, mode_shift, modes
from infodistill.diffusion.model import DiffusionModel, Pixels
from infodistill.diffusion.samplers import Variance, beta, ddim, ddpm, learned, posterior
from infodistill.diffusion.sampling import Plan, Steer, plain, sample
from infodistill.seeding import stream
from infodistill.types import Batch, ValueSpace
from infodoubles import batch
from oracles import mgd3 as oracle
from toys import SPACE, real_data

REAL = real_data(per_class=8)
MODEL = around(REAL, 8)
ENCODED = encode(MODEL, REAL)


def drawn(steer: Steer = plain, model: DiffusionModel = MODEL, **changes: object) -> Tensor:
    (group,) = sample(model, Plan(**{"ipc": 3, "steps": 20, "seed": 1, **changes}), steer)
    return group.x


def gap(x: Tensor) -> float:
    """Mean distance of every image to its own centre."""
    return float((x - modes(ENCODED, 3).flatten(0, 1)).flatten(1).norm(dim=1).mean())


@pytest.mark.parametrize("variance", [posterior, beta])
def test_the_published_rule_is_the_authors_ddpm_step(variance: Variance) -> None:
    model, steps = two_blobs(variance=0.05), 50
    centres = torch.randn(2, 2, 1, 2, 2, generator=stream(0, "centres"), dtype=torch.float64)
    encoded = Encoded(centres.flatten(0, 1), torch.tensor([0, 0, 1, 1]), model.latent_space(), model.class_names)
    y = torch.tensor([0, 0, 1, 1])
    own = modes(encoded, 2).flatten(0, 1)

    def noise(step: int) -> Tensor:
        return torch.randn(4, 1, 2, 2, generator=stream(3, "noise", step), dtype=torch.float64)

    steer = mgd3(model, encoded, 2, steps=steps, pull=0.1, variance=variance)
    sigmas = model.sigmas(steps)
    *_, last = ddpm(steer(model.denoise), sigmas, y, noise, variance=variance)
    abar = (1 / (1 + sigmas[:-1].square())).flip(0).tolist()

    def predict(z: Tensor, level: float) -> Tensor:
        sigma = ((1 - level) / level) ** 0.5
        return model.denoise(z / level**0.5, torch.full((4,), sigma, dtype=torch.float64), y).x0

    wanted = oracle.sample(predict, abar, noise, own, pull=0.1, stop=25, beta_variance=variance is beta)
    torch.testing.assert_close(last.x, wanted, atol=1e-9, rtol=1e-9)
    *_, unmoved = ddpm(model.denoise, sigmas, y, noise, variance=variance)
    assert (unmoved.x - last.x).abs().max() > 1e-3


def test_the_learned_variance_of_an_image_scales_its_shift() -> None:
    told = MODEL.denoise(torch.zeros(2, 1, 8, 8), torch.ones(2), torch.tensor([0, 1]))
    wide = replace(told, spread=torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 8, 8))
    towards = torch.ones(2, 1, 8, 8)
    moved = mode_shift(wide, towards, 2.0, 1.0, pull=0.1, variance=learned)
    for row, variance in enumerate((posterior, beta)):
        torch.testing.assert_close(
            moved[row], mode_shift(told, towards, 2.0, 1.0, pull=0.1, variance=variance)[row], atol=1e-6, rtol=1e-5
        )
    lower, sigma = 1.0, 2.0
    wanted = 0.1 * lower / (1 - lower**2 / sigma**2) ** 0.5 * (towards - told.x0)
    torch.testing.assert_close(mode_shift(told, towards, sigma, lower, pull=0.1, variance=posterior), wanted)


def test_pulls_draw_images_to_their_centres() -> None:
    base = gap(drawn())
    weak, strong = (gap(drawn(mgd3(MODEL, ENCODED, 3, steps=20, pull=pull))) for pull in (0.3, 3.0))
    assert strong < weak < base
    forced = [gap(drawn(centre_pull(MODEL, ENCODED, 3, pull=pull, n_init=1))) for pull in (0.3, 1.0)]
    assert forced[1] < forced[0] < base
    assert gap(drawn(centre_pull(MODEL, ENCODED, 3, pull=-0.3, n_init=1))) > base


def test_other_samplers_are_pulled_too() -> None:
    steer = mgd3(MODEL, ENCODED, 3, steps=20, pull=3.0)
    assert gap(drawn(steer, sampler=ddim)) < gap(drawn(sampler=ddim))


@pytest.mark.parametrize("steer", [mgd3(MODEL, ENCODED, 3, pull=0.0), centre_pull(MODEL, ENCODED, 3, pull=0.0)])
def test_no_pull_is_plain_sampling_bit_for_bit(steer: Steer) -> None:
    assert torch.equal(drawn(steer), drawn())


def test_the_published_rule_acts_on_the_noisy_half() -> None:
    seen: list[Watched] = []
    drawn(mgd3(MODEL, ENCODED, 3, steps=50, watch=seen.append), steps=50)
    assert len(seen) == 24  # t = 49 .. 26
    sigmas = MODEL.sigmas(50)
    assert [told.sigma for told in seen] == pytest.approx(sigmas[:24].tolist(), rel=1e-6)
    assert all(bool((told.pushes["mgd3"] > 0).all()) and len(told.y) == 9 for told in seen)


def test_classes_may_be_sampled_apart() -> None:
    for steer in (mgd3(MODEL, ENCODED, 3, steps=20, pull=1.0), centre_pull(MODEL, ENCODED, 3)):
        apart = torch.cat([group.x for group in sample(MODEL, Plan(3, 1, steps=20, together=1), steer)])
        torch.testing.assert_close(apart, drawn(steer), atol=1e-5, rtol=1e-4)


def test_other_plans_are_refused() -> None:
    with pytest.raises(ValueError, match="made for 20 steps"):
        drawn(mgd3(MODEL, ENCODED, 3, steps=20), steps=7)
    for steer in (mgd3(MODEL, ENCODED, 3, steps=20), centre_pull(MODEL, ENCODED, 3)):
        with pytest.raises(ValueError, match="3 images in one piece"):
            drawn(steer, ipc=4)
    with pytest.raises(ValueError, match=r"1\.\.8"):
        mgd3(MODEL, ENCODED, 9)


def test_plain_sampling_is_published_as_a_plan() -> None:
    plan = published_plan(MODEL, 3, seed=5)
    assert (plan.steps, plan.weight, plan.channels, plan.ipc, plan.seed) == (50, 4.0, None, 3, 5)
    latent = replace(MODEL, shape=(4, 2, 2), space=None, null=False)
    assert (published_plan(latent, 1).channels, published_plan(latent, 1).weight) == (3, 1.0)
    assert published_plan(MODEL, 1, steps=7).steps == 7
    told = [group.x for group in sample(MODEL, published_plan(MODEL, 2, steps=5), dit(MODEL, ENCODED, 2))]
    same = [group.x for group in sample(MODEL, published_plan(MODEL, 2, steps=5, sampler=ddpm))]
    assert torch.equal(told[0], same[0])  # nothing is learned here, so the posterior's variance


class Cropped:
    """A codec whose latents have one row fewer than the pixels."""

    def encode(self, pixels: Tensor) -> Tensor:
        return pixels[:, :, 1:] - 0.5

    def decode(self, latents: Tensor) -> Tensor:
        return torch.cat([latents[:, :, :1], latents], 2) + 0.5


class Looking:
    """Keeps what it is shown; the cost is the sum of squares."""

    def __init__(self) -> None:
        self.syn: Batch | None = None
        self.real: Batch | None = None

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        self.syn, self.real = syn, real
        return syn.x.square().sum()


class Telling(Looking):
    def per_image(self, syn: Batch, real: Batch) -> Tensor:
        return self(syn, real).expand(len(syn))


def test_terms_of_images_are_shown_decoded_ones() -> None:
    latents = torch.randn(4, 1, 3, 4, generator=stream(0, "latents")).requires_grad_()
    syn, real = (
        batch(latents, torch.tensor([0, 0, 1, 1])),
        batch(torch.rand(6, 1, 3, 4), torch.tensor([1, 0, 1, 0, 0, 2])),
    )
    term = Looking()
    shown = InPixels(term, Cropped(), SPACE)
    (gradient,) = torch.autograd.grad(shown(syn, real), latents)
    pixels = Cropped().decode(latents)
    torch.testing.assert_close(term.syn.x, (pixels - 0.4) / 0.3)
    assert term.syn.space == SPACE and term.real.x.shape == (6, 1, 4, 4) and not term.real.x.requires_grad
    (wanted,) = torch.autograd.grad(((Cropped().decode(latents) - 0.4) / 0.3).square().sum(), latents)
    torch.testing.assert_close(gradient, wanted)
    replace(shown, per_class=1)(syn, real)
    assert term.real.y.tolist() == [1, 0, 2] and torch.equal(
        term.real.x, SPACE.from_pixels(Cropped().decode(real.x[[0, 1, 5]]))
    )
    replace(shown, per_class=0)(syn, real)
    assert len(term.real) == 0
    with pytest.raises(ValueError, match="got -1"):
        InPixels(term, Cropped(), SPACE, per_class=-1)


def test_pixel_models_convert_and_terms_that_tell_are_heard() -> None:
    told: list[Watched] = []
    forces = {name: InPixels(term, Pixels(), SPACE) for name, term in (("mute", Looking()), ("loud", Telling()))}
    steer = partial(
        guide, forces={n: Force(t, 0.1) for n, t in forces.items()}, classes=3, space=MODEL.space, watch=told.append
    )
    assert not torch.equal(drawn(steer, steps=3), drawn(steps=3))
    assert all(set(seen.values) == {"loud"} and set(seen.pushes) == {"mute", "loud", "all"} for seen in told)
    x = torch.rand(2, 1, 8, 8) * 2 - 1
    wanted = (x / 2 + 0.5 - 0.4) / 0.3
    InPixels(term := Looking(), Pixels(), ValueSpace((0.4,), (0.3,)))(
        batch(x, torch.tensor([0, 1])), batch(x, x[:, 0, 0, 0].long())
    )
    torch.testing.assert_close(term.syn.x, wanted)
