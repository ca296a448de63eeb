"""Adapters: three ways of predicting give one x0, times find their place, ids and null classes are the model's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from infodistill.diffusion.contract import UNCONDITIONAL, classifier_free
from infodistill.diffusion.models.adapters import Denoiser, between, nearest
from infodistill.diffusion.models.predictions import PREDICTIONS
from infodistill.diffusion.samplers import ddim, keyed_noise
from infodistill.diffusion.schedules import cosine_alphas_bar, linear_alphas_bar, respaced, sigmas_of

TABLE = linear_alphas_bar(1000)
MEANS = torch.tensor([-1.0, 0.5, 2.0, 0.25], dtype=torch.float64)
"""The classes of an analytic model are N(mean, VARIANCE); the last is the null class."""
VARIANCE = 0.3


class Gaussian:
    """Exact predictions of a Gaussian class, written in z and abar as a variance-preserving network sees them."""

    def __init__(self, predicts: str, table: Tensor = TABLE) -> None:
        self.predicts, self.table = predicts, table
        self.seen: list[tuple[Tensor, Tensor]] = []

    def __call__(self, z: Tensor, t: Tensor, ids: Tensor) -> Tensor:
        self.seen.append((t, ids))
        abar = self.table[t.round().long()].view(-1, 1, 1, 1)
        mean = MEANS[ids].view(-1, 1, 1, 1)
        # z = sqrt(abar) x0 + sqrt(1 - abar) eps is Gaussian: regress x0 and eps on it.
        off = (z - abar.sqrt() * mean) / (abar * VARIANCE + 1 - abar)
        x0, eps = mean + abar.sqrt() * VARIANCE * off, (1 - abar).sqrt() * off
        return {"epsilon": eps, "sample": x0, "v_prediction": abar.sqrt() * eps - (1 - abar).sqrt() * x0}[self.predicts]


def model(predicts: str, **changes: object) -> Denoiser:
    settings = {"alphas_bar": TABLE, "clean": PREDICTIONS[predicts], "ids": (0, 1, 2), "null": 3} | changes
    return Denoiser(settings.pop("call", None) or Gaussian(predicts), **settings)


def noisy(levels: list[int], table: Tensor = TABLE) -> tuple[Tensor, Tensor, Tensor]:
    sigma = sigmas_of(table)[torch.tensor(levels)]
    x = torch.randn(len(levels), 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x * (1 + sigma.view(-1, 1, 1, 1)), sigma, torch.arange(len(levels)) % 3


@pytest.mark.parametrize("table", [TABLE, cosine_alphas_bar(400)], ids=["linear", "cosine"])
@pytest.mark.parametrize("predicts", ["epsilon", "v_prediction", "sample"])
def test_a_gaussian_gives_its_posterior_mean_whatever_is_predicted(predicts: str, table: Tensor) -> None:
    x, sigma, y = noisy([0, 7, 200, 390], table)
    found = model(predicts, call=Gaussian(predicts, table), alphas_bar=table)(x, sigma, y)
    wide, mean = sigma.view(-1, 1, 1, 1).square(), MEANS[y].view(-1, 1, 1, 1)
    wanted = (VARIANCE * x + wide * mean) / (VARIANCE + wide)  # in the variance-exploding scale: no abar anywhere
    torch.testing.assert_close(found.x0, wanted, rtol=1e-9, atol=1e-9)
    assert found.spread is None


@pytest.mark.parametrize("predicts", ["epsilon", "v_prediction", "sample"])
def test_the_gradient_in_x_is_the_posterior_s_slope(predicts: str) -> None:
    x, sigma, y = noisy([3, 150, 900])
    x.requires_grad_()
    (slope,) = torch.autograd.grad(model(predicts)(x, sigma, y).x0.sum(), x)
    wanted = (VARIANCE / (VARIANCE + sigma.square())).view(-1, 1, 1, 1).expand_as(x)
    torch.testing.assert_close(slope, wanted, rtol=1e-6, atol=1e-12)


def test_a_network_is_fed_unit_variance_and_the_table_s_times() -> None:
    fed: list[Tensor] = []

    def call(z: Tensor, t: Tensor, ids: Tensor) -> Tensor:
        fed.extend((z, t))
        return torch.zeros_like(z)

    x, sigma, y = noisy([0, 1, 499, 999])
    model("epsilon", call=call)(x.float(), sigma.float(), y)
    abar = TABLE[[0, 1, 499, 999]].view(-1, 1, 1, 1)
    torch.testing.assert_close(fed[0].double(), abar.sqrt() * x, rtol=1e-6, atol=1e-6)
    assert fed[1].tolist() == [0.0, 1.0, 499.0, 999.0]  # float32 sigmas of the table are its entries, exactly


def test_between_entries_time_is_log_linear_in_sigma_or_the_nearest_entry() -> None:
    sigmas = sigmas_of(TABLE)
    third = (sigmas[[10, 600]].log() * 2 / 3 + sigmas[[11, 601]].log() / 3).exp()
    x, y = torch.zeros(2, 1, 1, 1, dtype=torch.float64), torch.zeros(2, dtype=torch.int64)
    for place, wanted in ((between, [10 + 1 / 3, 600 + 1 / 3]), (nearest, [10, 600])):
        network = Gaussian("epsilon")
        model("epsilon", call=network, place=place)(x, third, y)
        assert network.seen[0][0].tolist() == pytest.approx(wanted, abs=1e-4)
        assert network.seen[0][0].is_floating_point() == (place is between)


def test_sigmas_off_the_table_are_refused_and_its_ends_have_some_reach() -> None:
    low, high = sigmas_of(TABLE)[[0, -1]].tolist()
    x, y = torch.zeros(1, 1, 1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.int64)
    for sigma in (low / 1.4, high * 1.4):
        assert model("sample")(x, torch.tensor([sigma], dtype=torch.float64), y).x0.isfinite().all()
    for sigma in (0.0, low / 2, high * 2, float("nan")):
        with pytest.raises(ValueError, match=r"the network knows sigma 0\.01 to 157"):
            model("sample")(x, torch.tensor([sigma], dtype=torch.float64), y)


def test_classes_go_to_the_model_s_ids_and_none_to_its_null() -> None:
    network = Gaussian("sample")
    denoise = model("sample", call=network, ids=(2, 0), null=3)
    x, sigma, _ = noisy([100, 100, 100])
    denoise(x, sigma, torch.tensor([1, UNCONDITIONAL, 0]))
    assert network.seen[0][1].tolist() == [0, 3, 2]
    for y, told in (([2, 0, 0], "0..1, got 0..2"), ([-2, 0, 0], "got -2..0")):
        with pytest.raises(ValueError, match=told.replace(".", r"\.")):
            denoise(x, sigma, torch.tensor(y))
    with pytest.raises(ValueError, match="no null class"):
        model("sample", null=None)(x, sigma, torch.tensor([0, UNCONDITIONAL, 1]))


def test_classifier_free_guidance_is_linear_in_every_prediction() -> None:
    x, sigma, y = noisy([50, 500, 950])
    found = [classifier_free(model(predicts), 3.0)(x, sigma, y).x0 for predicts in PREDICTIONS]
    one = model("sample")
    null = one(x, sigma, torch.full_like(y, UNCONDITIONAL)).x0
    for x0 in found:
        torch.testing.assert_close(x0, null + 3 * (one(x, sigma, y).x0 - null), rtol=1e-7, atol=1e-7)


def test_a_learned_range_becomes_the_spread() -> None:
    v = torch.linspace(-1, 1, 18, dtype=torch.float64).view(1, 2, 3, 3).expand(3, -1, -1, -1)
    network = Gaussian("epsilon")
    denoise = model("epsilon", call=lambda z, t, ids: torch.cat([network(z, t, ids), v], 1))
    x, sigma, y = noisy([50, 500, 950])
    told = denoise(x, sigma, y)
    torch.testing.assert_close(told.x0, model("epsilon")(x, sigma, y).x0)
    assert told.spread is not None
    torch.testing.assert_close(told.spread, (v + 1) / 2)
    with pytest.raises(ValueError, match="answers 3 channels to 2"):
        model("epsilon", call=lambda z, t, ids: torch.cat([z, z[:, :1]], 1))(x, sigma, y)


def test_the_sampled_law_is_the_class_s() -> None:
    y = torch.arange(3).repeat_interleave(400)
    noise = keyed_noise(0, y, torch.arange(400).repeat(3), (1, 2, 2))
    *_, last = ddim(model("v_prediction"), respaced(TABLE, 200), y, noise)
    drawn = last.x.view(3, -1)
    assert (drawn.mean(1) - MEANS[:3]).abs().max() < 0.05
    assert (drawn.var(1) - VARIANCE).abs().max() < 0.03  # 200 steps of ddim
