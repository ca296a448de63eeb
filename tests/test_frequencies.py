"""Where characteristic functions are compared: keyed Gaussian frequencies, and psi against its formula."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from infodistill.seeding import stream
from infodistill.sources.frequencies import FrequencySampler, Gaussian
from oracles import ncfm as oracle
from table import tiny_real

FEATURES = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
SYN = tiny_real().batch(0, 0, 2)


def forward(source: Gaussian | FrequencySampler, steps: int = 1) -> None:
    for _ in range(steps):
        source.advance(SYN, tiny_real())


def grads(sampler: FrequencySampler) -> list[Tensor]:
    """Of sum t^2, which psi is asked to make larger."""
    value = sampler.draw()(FEATURES).square().sum()
    return list(torch.autograd.grad(value, sampler.trainable()))


def test_gaussian_frequencies_are_keyed_by_the_step_and_stay_for_it() -> None:
    source = Gaussian(7, seed=2)
    first = source.draw()(FEATURES)
    assert first.shape == (7, 6) and first.dtype == FEATURES.dtype
    assert torch.equal(first, torch.randn(7, 6, generator=stream(2, "match.frequencies", 0)))
    assert source.draw()(FEATURES[:2] * 3) is first
    forward(source)
    second = source.draw()(FEATURES)
    assert not torch.equal(first, second)
    again = Gaussian(7, seed=2)
    again.draw()(FEATURES)
    again.load_state_dict(source.state_dict())
    assert torch.equal(again.draw()(FEATURES), second)


def test_projections_of_unit_features_are_standard_normal() -> None:
    unit = torch.nn.functional.normalize(torch.randn(1, 300, generator=torch.Generator().manual_seed(1)))
    angles = Gaussian(20000).draw()(unit) @ unit[0]
    assert abs(float(angles.mean())) < 0.03
    assert abs(float(angles.var()) - 1) < 0.03


def test_frequencies_follow_width_and_precision_of_the_features() -> None:
    source = Gaussian(3)
    assert source.draw()(FEATURES.double()).dtype == torch.float64
    assert source.draw()(torch.zeros(2, 11)).shape == (3, 11)


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="at 1 frequency at least, got 0"):
        Gaussian(0)
    with pytest.raises(ValueError, match="over 2 rows at least, got 1"):
        FrequencySampler(count=1)


def test_psi_is_its_formula_in_value_and_gradient() -> None:
    sampler, features = FrequencySampler(seed=4, count=9), FEATURES.double()
    t = sampler.draw()(features)
    noise = torch.randn(9, 6, generator=stream(4, "match.psi.noise", 0)).double()
    names = ("weight", "bias", "scale", "shift")
    layers = [tuple(sampler.tensors[f"{index}.{name}"] for name in names) for index in range(3)]
    wanted = oracle.psi(noise, layers)  # type: ignore[arg-type]
    torch.testing.assert_close(t, wanted, rtol=1e-12, atol=1e-12)
    weigh = torch.randn(9, 6, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    pairs = (torch.autograd.grad((value * weigh).sum(), sampler.trainable()) for value in (t, wanted))
    for mine, true in zip(*pairs, strict=True):
        torch.testing.assert_close(mine, true, rtol=1e-9, atol=1e-12)


def test_psi_starts_by_the_default_law_and_stays_within_the_cube() -> None:
    sampler = FrequencySampler(count=50)
    t = sampler.draw()(torch.zeros(1, 400)).detach()
    assert t.shape == (50, 400) and float(t.abs().max()) < 1
    for layer in range(3):
        weight = sampler.tensors[f"{layer}.weight"].detach()
        assert float(weight.abs().max()) <= 1 / 20
        assert abs(float(weight.var()) * 400 * 3 - 1) < 0.02
        assert bool((sampler.tensors[f"{layer}.scale"] == 1).all())
    assert not torch.equal(sampler.tensors["0.weight"], sampler.tensors["1.weight"])


def test_psi_climbs_by_sgd_with_momentum() -> None:
    sampler, before = FrequencySampler(count=9, lr=0.01, momentum=0.5), list[Tensor]()
    sampler.draw()(FEATURES)
    twin = FrequencySampler(count=9)
    twin.draw()(FEATURES)
    ascent = torch.optim.SGD(twin.trainable(), 0.01, 0.5, maximize=True)
    for _ in range(3):
        before = [tensor.detach().clone() for tensor in sampler.trainable()]
        for tensor, grad in zip(twin.trainable(), grads(twin), strict=True):
            tensor.grad = grad
        ascent.step()
        sampler.update(grads(sampler))
    for name, mine, true in zip(sorted(sampler.tensors), sampler.trainable(), twin.trainable(), strict=True):
        torch.testing.assert_close(mine, true, rtol=1e-6, atol=1e-7)
        moved = float((mine - before.pop(0)).detach().abs().max())
        assert (moved > 1e-5) == ("bias" not in name)  # batch norm takes a bias before it away


def test_psi_finds_larger_values() -> None:
    sampler = FrequencySampler(count=9, lr=0.01)
    start = float(sampler.draw()(FEATURES).square().sum().detach())
    for _ in range(30):
        sampler.update(grads(sampler))
    assert float(sampler.draw()(FEATURES).square().sum().detach()) > start * 1.02


def test_noise_is_keyed_by_the_step_and_weights_are_not() -> None:
    sampler = FrequencySampler(count=9)
    first = sampler.draw()(FEATURES)
    assert torch.equal(sampler.draw()(FEATURES), first)
    weights = {name: value.detach().clone() for name, value in sampler.tensors.items()}
    forward(sampler)
    assert not torch.equal(sampler.draw()(FEATURES), first)
    assert all(torch.equal(sampler.tensors[name], value) for name, value in weights.items())


@pytest.mark.parametrize("fresh", [True, False])
def test_a_saved_psi_goes_on_exactly(fresh: bool) -> None:
    straight = FrequencySampler(count=9, lr=0.1)
    again = FrequencySampler(count=9, lr=0.1)
    if not fresh:
        again.update(grads(again))
    for _ in range(2):
        straight.update(grads(straight))
        forward(straight)
    again.load_state_dict(copy.deepcopy(straight.state_dict()))
    for sampler in (straight, again):
        sampler.update(grads(sampler))
        forward(sampler)
    assert torch.equal(straight.draw()(FEATURES), again.draw()(FEATURES))
