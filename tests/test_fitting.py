"""The loop that trains generative networks: resume to the bit, the averaged weights, early stopping, refusals."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from infodistill.diffusion.fitting.generative_fit import GenerativeFit, History, Saving, constant, cosine
from infodistill.diffusion.fitting.loop import fit_generative
from infodistill.seeding import build_seeded, stream

HYPER = GenerativeFit(steps=12, lr=0.05, warmup=3, ema=0.8, validate_every=4, patience=None, report=5)


class Interrupted(Exception):
    """Stands for a kill."""


def network() -> nn.Module:
    return build_seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), stream(0, "net")).eval()


def regression(module: nn.Module, stop: int | None = None):
    def loss(step: int) -> Tensor:
        if step == stop:
            raise Interrupted
        x = torch.randn(6, 3, generator=stream(1, "x", step))
        return (module(x)[:, 0] - x.sum(1)).square().mean()

    return loss


def validation(module: nn.Module):
    x = torch.randn(16, 3, generator=stream(2, "held out"))
    return lambda: float((module(x)[:, 0] - x.sum(1)).square().mean())


def weights(module: nn.Module) -> list[Tensor]:
    return [value.detach().clone() for value in module.parameters()]


@pytest.mark.parametrize("stop", [1, 4, 7, 11])
def test_a_resumed_training_is_equal_to_the_bit(tmp_path: Path, stop: int) -> None:
    """Weights, both averages, moments of AdamW, and what was recorded."""
    whole = network()
    told = fit_generative(whole, regression(whole), HYPER, validate=validation(whole))
    saving = Saving(tmp_path / "training.safetensors", {"what": "a test"}, every=0.0)
    first = network()
    with pytest.raises(Interrupted):
        fit_generative(first, regression(first, stop), HYPER, validate=validation(first), saving=saving)
    second = network()
    with torch.no_grad():
        for value in second.parameters():
            value.zero_()
    again = fit_generative(second, regression(second), HYPER, validate=validation(second), saving=saving)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(second), strict=True))
    assert replace(again, seconds=0.0) == replace(told, seconds=0.0)
    finished = fit_generative(second, regression(second, 0), HYPER, validate=validation(second), saving=saving)
    assert finished.losses == told.losses and finished.validations == told.validations


def test_steps_are_adamw_and_the_average_is_as_defined() -> None:
    """Against AdamW written out in float64: m, v, bias correction, decoupled decay, clip, warm-up, EMA."""
    hyper = replace(HYPER, schedule=cosine, clip=0.5, weight_decay=0.1, betas=(0.8, 0.9))
    start = torch.tensor([1.0, -2.0], dtype=torch.float64)
    module = nn.Module()
    module.theta = nn.Parameter(start.clone())
    target = torch.stack([torch.randn(2, generator=stream(3, "target", k)).double() for k in range(hyper.steps)])
    fit_generative(module, lambda k: 0.5 * (module.theta - target[k]).square().sum(), hyper)
    theta, m, v, average = start.clone(), torch.zeros(2), torch.zeros(2), start.clone()
    for k in range(hyper.steps):
        rate = 0.05 * min(1, (k + 1) / 3) * (1 + math.cos(math.pi * k / 12)) / 2
        gradient = theta - target[k]
        gradient = gradient * min(1.0, 0.5 / (float(gradient.norm()) + 1e-6))
        m, v = 0.8 * m + 0.2 * gradient, 0.9 * v + 0.1 * gradient**2
        theta = theta * (1 - rate * 0.1)
        theta = theta - rate * (m / (1 - 0.8 ** (k + 1))) / ((v / (1 - 0.9 ** (k + 1))).sqrt() + 1e-8)
        decay = min(0.8, (2 + k) / (11 + k))
        average = decay * average + (1 - decay) * theta
    torch.testing.assert_close(module.theta.detach(), average, rtol=1e-10, atol=1e-12)


def test_training_stops_when_validation_rises_and_keeps_the_best_average() -> None:
    module = network()
    values = iter([3.0, 1.0, 2.0, 1.5, 9.0])
    seen: list[tuple[int, list[Tensor]]] = []
    hyper = replace(HYPER, steps=400, patience=2)
    told = fit_generative(
        module, regression(module), hyper,
        validate=lambda: next(values), watch=lambda history: seen.append((history.step, weights(module))),
    )  # fmt: skip
    assert (told.stopped, told.step, told.best_step, told.best) == ("patience", 16, 8, 1.0)
    assert [step for step, _ in seen] == [4, 8, 12, 16]
    assert all(torch.equal(a, b) for a, b in zip(weights(module), seen[1][1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights(module), seen[3][1], strict=True))


def test_validation_sees_the_average_and_training_does_not_notice() -> None:
    plain, watched = network(), network()
    fit_generative(plain, regression(plain), HYPER)
    worn: list[list[Tensor]] = []
    told = fit_generative(watched, regression(watched), HYPER, validate=lambda: -float(len(worn)),
                          watch=lambda history: worn.append(weights(watched)))  # fmt: skip
    assert told.stopped == "steps" and told.best_step == 12
    assert all(torch.equal(a, b) for a, b in zip(weights(plain), weights(watched), strict=True))
    assert all(value.grad is None for value in watched.parameters())


def test_a_loss_that_is_not_finite_ends_it_and_what_was_saved_stays(tmp_path: Path) -> None:
    module = network()
    saving = Saving(tmp_path / "training.safetensors", every=0.0)
    good = regression(module)
    with pytest.raises(FloatingPointError, match="not finite"):
        fit_generative(module, lambda k: good(k) * (math.nan if k == 7 else 1), HYPER, saving=saving)
    again = network()
    fit_generative(again, regression(again), replace(HYPER, steps=7), saving=saving)
    with pytest.raises(FloatingPointError, match=r"noise diverged: the mean loss up to step 5 is nan, wanted a finite"):
        fit_generative(network(), lambda k: good(k) * math.nan, HYPER, what="noise")
    with pytest.raises(FloatingPointError, match=r"validation loss of step 4 is nan"):
        fit_generative(module, good, HYPER, validate=lambda: math.nan)


def test_the_training_of_something_else_is_refused(tmp_path: Path) -> None:
    module = network()
    saving = Saving(tmp_path / "training.safetensors", {"data": "digits"})
    fit_generative(module, regression(module), HYPER, saving=saving)
    with pytest.raises(ValueError, match=r"training of something else \(data differ\)"):
        fit_generative(module, regression(module), HYPER, saving=replace(saving, facts={"data": "mnist"}))
    with pytest.raises(ValueError, match=r"\(fit differ\)"):
        fit_generative(module, regression(module), replace(HYPER, lr=0.01), saving=saving)
    longer = fit_generative(module, regression(module), replace(HYPER, steps=14, schedule=cosine), saving=saving)
    assert longer.step == 14


def test_the_budget_of_minutes_ends_with_a_validation(tmp_path: Path) -> None:
    module = network()
    saving = Saving(tmp_path / "training.safetensors")
    told = fit_generative(module, regression(module), replace(HYPER, minutes=0.0), validate=validation(module),
                          saving=saving)  # fmt: skip
    assert (told.stopped, told.step, [step for step, _ in told.validations]) == ("minutes", 0, [0])
    more = fit_generative(module, regression(module), HYPER, validate=validation(module), saving=saving)
    assert more.stopped == "steps" and [step for step, _ in more.validations] == [0, 4, 8, 12]


def test_what_a_budget_ends_is_annealed() -> None:
    """The schedule follows whichever is further on; without a budget, or with a constant one, time changes nothing."""
    hyper = replace(HYPER, steps=100, warmup=0, minutes=2.0)
    assert hyper.rate(0, 60.0) == pytest.approx(hyper.lr / 2) and hyper.rate(75, 60.0) == hyper.rate(75)
    assert hyper.rate(10, 120.0) == pytest.approx(0) and hyper.rate(10, 500.0) == pytest.approx(0)
    assert replace(hyper, minutes=None).rate(0, 500.0) == hyper.lr
    assert replace(hyper, schedule=constant).rate(3, 100.0) == hyper.lr


def test_bfloat16_keeps_float32_weights_and_casts_them_anew_every_step() -> None:
    """A cast kept from an earlier step would leave the loss of a repeated batch where it was."""
    module = network()
    x = torch.randn(8, 3, generator=stream(5, "x"))
    hyper = replace(HYPER, steps=40, report=1, precision="bf16", schedule=constant, warmup=0)
    told = fit_generative(module, lambda k: (module(x)[:, 0].float() - x.sum(1)).square().mean(), hyper)
    assert told.losses[-1][1] < 0.3 * told.losses[0][1]
    assert all(value.dtype == torch.float32 for value in module.parameters())


def test_wrong_settings_are_told_in_a_sentence() -> None:
    for wrong in ({"steps": -1}, {"lr": 0.0}, {"ema": 1.0}, {"patience": 0}, {"validate_every": 0}):
        with pytest.raises(ValueError, match="got"):
            GenerativeFit(**{"steps": 1, **wrong})
    with pytest.raises(ValueError, match="no parameter that asks for a gradient"):
        fit_generative(network().requires_grad_(False), lambda k: torch.zeros(()), HYPER)
    assert History(step=9, best_step=4, validations=[[4, 1.0], [8, 2.0]]).since_best() == 1


@pytest.mark.parametrize("validate", [None, lambda: 0.5], ids=["last", "best"])
def test_an_update_that_breaks_the_weights_is_told_though_every_loss_was_finite(validate) -> None:
    """The last gradient is infinite where the loss is not: |x|^(1/2) at 0."""
    module = nn.Module()
    module.theta = nn.Parameter(torch.zeros(2))
    hyper = replace(HYPER, steps=5)

    def loss(step: int) -> Tensor:
        return module.theta.sum() if step < 4 else (0 * module.theta).abs().sqrt().sum()

    with pytest.raises(FloatingPointError, match="training diverged: after step 5 a weight is not finite"):
        fit_generative(module, loss, hyper, validate=validate)
