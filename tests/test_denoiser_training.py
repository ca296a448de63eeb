"""What denoisers and autoencoders are trained on and by: targets, losses, keyed draws, the held-out part."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from infodistill.diffusion.contract import UNCONDITIONAL
from infodistill.diffusion.fitting.denoiser_training import (
    DenoiserFit,
    step_task,
    task,
    train_denoiser,
    validation_loss,
    validation_task,
)
from infodistill.diffusion.fitting.generative_fit import GenerativeFit
from infodistill.diffusion.fitting.supply import LatentSupply, PixelSupply, held_out, rows_of_step, supplied
from infodistill.diffusion.model import Pixels
from infodistill.diffusion.models.adapters import adapted
from infodistill.diffusion.models.networks import build
from infodistill.diffusion.models.predictions import PREDICTIONS, TARGETS
from infodistill.real import RealData
from infodistill.seeding import stream
from infodistill.types import pixel_space

HOW = DenoiserFit(GenerativeFit(10), batch=16)


def coloured(rows: int = 60, name: str = "cats") -> RealData:
    """Random 4x4 colour images of three classes."""
    images = torch.randint(256, (rows, 3, 4, 4), generator=stream(0, "images"), dtype=torch.uint8)
    return RealData(images, torch.arange(rows) % 3, ("a", "b", "c"), pixel_space(3), name)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_adapters_turn_the_target_back_into_the_clean_image(name: str) -> None:
    """At every level: x = sqrt(1 + sigma^2) z, sigma^2 = (1 - abar) / abar, x0 = clean(x, sigma, target)."""
    how = DenoiserFit(GenerativeFit(1), prediction=name)
    x0 = torch.randn(6, 2, 3, 3, generator=stream(0, "x0"), dtype=torch.float64)
    eps = torch.randn(6, 2, 3, 3, generator=stream(0, "eps"), dtype=torch.float64)
    t = torch.tensor([0, 10, 300, 600, 900, 990])
    made = task(x0, t, eps, torch.zeros(6, dtype=torch.int64), how)
    sigma = ((1 - how.alphas_bar) / how.alphas_bar).sqrt()[t].view(-1, 1, 1, 1)
    x = (1 + sigma**2).sqrt() * made.z
    torch.testing.assert_close(x, x0 + sigma * eps)
    torch.testing.assert_close(PREDICTIONS[name](x, sigma, made.target), x0, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_the_loss_is_the_mean_over_images_and_entries(name: str) -> None:
    """Value and gradient against sums written out, float64, network f(z, t, y) = a z + b_y."""
    how = DenoiserFit(GenerativeFit(1), prediction=name, table="linear", levels=50)
    x0, eps = (torch.randn(5, 1, 2, 2, generator=stream(0, key), dtype=torch.float64) for key in ("x0", "eps"))
    t, ids = torch.tensor([0, 7, 20, 33, 49]), torch.tensor([0, 1, 2, 2, 1])
    a = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    b = torch.tensor([0.1, -0.2, 0.5], dtype=torch.float64, requires_grad=True)
    made = task(x0, t, eps, ids, how)
    loss = made.loss(lambda z, time, y: a * z + b[y].view(-1, 1, 1, 1))
    gradient = torch.autograd.grad(loss, (a, b))
    value, da, db, abar = 0.0, 0.0, [0.0] * 3, 1.0
    tables: list[float] = []
    for k in range(50):
        abar *= 1 - (1e-4 + (0.02 - 1e-4) * k / 49)
        tables.append(abar)
    for i in range(5):
        abar = tables[int(t[i])]
        for entry in range(4):
            clean, noise = float(x0[i].flatten()[entry]), float(eps[i].flatten()[entry])
            z = math.sqrt(abar) * clean + math.sqrt(1 - abar) * noise
            wanted = noise if name == "epsilon" else math.sqrt(abar) * noise - math.sqrt(1 - abar) * clean
            error = 0.3 * z + [0.1, -0.2, 0.5][int(ids[i])] - wanted
            value += error**2 / 20
            da += 2 * error * z / 20
            db[int(ids[i])] += 2 * error / 20
    assert float(loss.detach()) == pytest.approx(value, rel=1e-10)
    assert float(gradient[0]) == pytest.approx(da, rel=1e-10)
    assert gradient[1].tolist() == pytest.approx(db, rel=1e-10)


def test_every_epoch_shows_every_row_once() -> None:
    shown = torch.cat([rows_of_step(step, 7, 10, seed=3) for step in range(10)])
    for epoch in shown.split(10):
        assert sorted(epoch.tolist()) == list(range(10))
    assert shown[:10].tolist() != shown[10:20].tolist()
    assert sorted(rows_of_step(0, 25, 10, seed=3)[:20].tolist()) == sorted(list(range(10)) * 2)
    assert shown.tolist() != torch.cat([rows_of_step(step, 7, 10, seed=4) for step in range(10)]).tolist()


def test_steps_are_keyed_and_labels_are_dropped_to_the_null_class() -> None:
    supply = supplied(coloured(), Pixels())
    how = DenoiserFit(GenerativeFit(1), batch=2000)
    first, again, other = (step_task(supply, step, how, null=3) for step in (5, 5, 6))
    assert torch.equal(first.z, again.z) and torch.equal(first.target, again.target)
    assert not torch.equal(first.z, other.z)
    assert float((first.ids == 3).double().mean()) == pytest.approx(0.1, abs=0.025)
    kept = first.ids != 3
    assert torch.equal(first.ids[kept], supply.y[rows_of_step(5, 2000, 60, 0)][kept])
    assert float(first.t.min()) < 20 and float(first.t.max()) > 980


def test_validation_is_fixed_and_even_over_the_table() -> None:
    held = held_out(coloured(), 0)[1]
    judged, again = (validation_task(supplied(held, Pixels()), HOW, rows=500) for _ in range(2))
    assert torch.equal(judged.z, again.z)
    assert judged.t.sort().values.tolist() == [1.0 + 2 * k for k in range(500)]
    assert 3 not in judged.ids.tolist()
    zero = validation_loss(lambda z, t, y: torch.zeros_like(z), judged, piece=64)
    assert zero == pytest.approx(float(judged.target.square().mean()), rel=1e-5)


def test_the_held_out_part_is_stratified_small_and_not_the_test_data() -> None:
    real = coloured().replace(test=coloured(9))
    train, held = held_out(real, 0)
    assert held.counts.tolist() == [2, 2, 2] and train.counts.tolist() == [18, 18, 18]
    both = torch.cat([train.images, held.images]).flatten(1)
    assert len(both.unique(dim=0)) == len(real.images.flatten(1).unique(dim=0))
    many = RealData(torch.zeros(40_000, 1, 1, 1, dtype=torch.uint8), torch.arange(40_000) % 10, "abcdefghij",
                    pixel_space(1))  # fmt: skip
    assert held_out(many, 0)[1].counts.tolist() == [200] * 10


class Doubling:
    """A codec that is not equivariant to flips: the columns are weighted."""

    def encode(self, pixels: Tensor) -> Tensor:
        return pixels * torch.tensor([1.0, 2.0, 3.0, 4.0])

    def decode(self, latents: Tensor) -> Tensor:
        return latents / torch.tensor([1.0, 2.0, 3.0, 4.0])


def test_only_what_keeps_its_class_is_flipped() -> None:
    index, mirrored = torch.tensor([4, 9]), torch.tensor([True, False])
    cats, digits = coloured(name="cats"), coloured(name="my_mnist")
    pixels = Pixels().encode(cats.pixels(index).float() / 255)
    flipped = supplied(cats, Pixels())
    assert isinstance(flipped, PixelSupply) and flipped.flips
    shown = flipped.images(index, mirrored)
    assert torch.equal(shown[0], pixels[0].flip(2)) and torch.equal(shown[1], pixels[1])
    assert torch.equal(supplied(digits, Pixels()).images(index, mirrored), pixels)
    latents = supplied(cats, Doubling())
    assert isinstance(latents, LatentSupply) and latents.flips
    encoded = Doubling().encode((cats.pixels(index).float() / 255).flip(3))
    assert torch.equal(latents.images(index, mirrored)[0], encoded[0])
    assert not supplied(digits, Doubling()).flips


def test_a_trained_denoiser_knows_the_posterior_mean() -> None:
    """Constant images at -a (class 0) and a (class 1): E[x0|x,y] = +-a; no class: a tanh(a sum x / sigma^2)."""
    x = torch.tensor([-0.5, 0.5]).view(2, 1, 1, 1).expand(2, 1, 2, 2).repeat(40, 1, 1, 1)
    supply = LatentSupply(x, torch.arange(80) % 2)
    module = build({"kind": "mlp", "shape": [1, 2, 2], "classes": 2, "width": 64, "depth": 2}, stream(0, "net"))
    fit = GenerativeFit(500, lr=3e-3, ema=0.97, validate_every=250, patience=None)
    history = train_denoiser(module, supply, supply, DenoiserFit(fit, batch=128, drop=0.3), null=2)
    assert history.validations[-1][1] < history.losses[0][1]
    assert not module.training
    model = adapted(module, HOW.alphas_bar, ("dark", "bright"))
    sigma = torch.full((200,), 0.6)
    noisy = supply.x[:2].repeat(100, 1, 1, 1) + 0.6 * torch.randn(200, 1, 2, 2, generator=stream(0, "noise"))
    y = (torch.arange(200) % 2).long()
    with torch.no_grad():
        named = model.denoise(noisy, sigma, y).x0.mean((1, 2, 3))
        blind = model.denoise(noisy, sigma, torch.full((200,), UNCONDITIONAL)).x0.mean((1, 2, 3))
    assert float((named - (y - 0.5)).abs().mean()) < 0.05
    exact = 0.5 * torch.tanh(0.5 * noisy.sum((1, 2, 3)) / 0.6**2)
    assert float((blind - exact).abs().mean()) < 0.08


def test_wrong_settings_are_told_in_a_sentence() -> None:
    for wrong in ({"prediction": "score"}, {"table": "edm"}, {"batch": 0}, {"drop": 1.0}):
        with pytest.raises(ValueError, match="got"):
            DenoiserFit(GenerativeFit(1), **wrong)


def test_the_divergence_of_the_autoencoder_is_the_textbook_one() -> None:
    from infodistill.diffusion.fitting.autoencoder_training import gaussian_kl

    mean, logvar = (torch.randn(50, generator=stream(0, key), dtype=torch.float64) for key in ("m", "v"))
    exact = kl_divergence(Normal(mean, (logvar / 2).exp()), Normal(torch.zeros(()).double(), torch.ones(()).double()))
    torch.testing.assert_close(gaussian_kl(mean, logvar), exact)
    assert float(gaussian_kl(torch.zeros(()), torch.zeros(()))) == 0
