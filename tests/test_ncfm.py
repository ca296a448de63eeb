"""NCFM: the loss and its gradient against loops in float64, and its closed forms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module

import pytest
import torch
from torch import Tensor

from infodistill.compute import Policy
from infodistill.looks import Looks
from infodistill.methods.ncfm import (
    Calibration,
    CharacteristicFunctions,
    characteristic,
    discrepancy,
)
from infodistill.sources.frequencies import FrequencySampler, Gaussian
from infodistill.sources.interpolated import Interpolated
from infodistill.types import Batch, pixel_space
from oracles import ncfm as oracle
from rows_ncfm import AUGMENT
from rows_ncfm import made as job
from table import tiny_real
from trajectories import NET, Walks


def images(counts: Sequence[int], seed: int) -> Batch:
    """So many images of each class, in float64."""
    y = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    x = torch.randn(len(y), 1, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Batch(x, y, torch.nn.functional.one_hot(y, len(counts)).double(), pixel_space(1))


def term(**changes: object) -> CharacteristicFunctions:
    walks = Walks(lambda shape, classes: NET(shape, classes).double())
    looks = Looks(Interpolated(walks, 1), AUGMENT, 1)
    return CharacteristicFunctions(looks, **{"frequencies": Gaussian(11, 1), **changes})  # type: ignore[arg-type]


def functions(seed: int) -> Tensor:
    """Means of points on the unit circle, (2, 3, 40)."""
    angle = torch.randn(5, 3, 40, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.stack([angle.cos().mean(0), angle.sin().mean(0)])


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.5), (0.3, 0.7), (1.0, 0.0), (0.0, 1.0)])
def test_value_and_gradient_are_those_of_the_loop(alpha: float, beta: float) -> None:
    mine, syn, real = term(alpha=alpha, beta=beta), images((3, 4, 2), 2), images((5, 7, 6), 3)
    syn.x.requires_grad_()
    look = mine.looks.look(syn, real)
    features = [(look.syn()[0], syn.y), (look.real()[0], real.y)]
    wanted = oracle.loss(*features, mine.frequencies.draw()(look.syn()[0]), alpha, beta)
    value = mine(syn, real)
    torch.testing.assert_close(value, wanted, rtol=1e-11, atol=0)
    grads = [torch.autograd.grad(loss, syn.x)[0] for loss in (value, wanted)]
    assert float(grads[1].norm()) > 0
    assert float((grads[0] - grads[1]).norm()) < 1e-9 * float(grads[1].norm())


def test_the_adversary_gets_the_gradient_of_the_loop() -> None:
    """Through both streams: the functions of the real images depend on the frequencies too."""
    mine, syn, real = term(frequencies=FrequencySampler(count=5)), images((3, 2), 2), images((5, 4), 3)
    look, psi = mine.looks.look(syn, real), mine.frequencies
    features = [(look.syn()[0], syn.y), (look.real()[0], real.y)]
    wanted = oracle.loss(*features, psi.draw()(look.syn()[0]))
    pairs = (torch.autograd.grad(loss, psi.trainable()) for loss in (mine(syn, real), wanted))
    for found, true in zip(*pairs, strict=True):
        torch.testing.assert_close(found, true, rtol=1e-8, atol=1e-9)


def test_equal_weights_make_it_the_distance_of_the_functions() -> None:
    syn, real = functions(1), functions(2)
    wanted = (real - syn).square().sum(0).sqrt() / math.sqrt(2)
    torch.testing.assert_close(discrepancy(syn, real), wanted, rtol=1e-9, atol=0)


def test_in_single_precision_close_functions_keep_their_digits() -> None:
    """Computed as printed, the phase part of functions 1e-4 apart is mostly rounding."""
    syn = functions(1)
    real = syn + 1e-4 * functions(2)
    wanted = oracle.distance(torch.complex(*syn), torch.complex(*real), 0.2, 0.8)
    error = (discrepancy(syn.float(), real.float(), 0.2, 0.8).double() / wanted - 1).abs()
    assert float(error.median()) < 2e-3


@pytest.mark.parametrize("beta", [0.0, 0.25, 0.5])
def test_equal_sets_have_the_value_of_the_clamp_and_no_gradient(beta: float) -> None:
    phi = functions(1).requires_grad_()
    value = discrepancy(phi, phi.detach(), 0.5, beta)
    torch.testing.assert_close(value, torch.full_like(value, 1e-6 * math.sqrt(beta)), rtol=1e-9, atol=1e-15)
    assert not torch.autograd.grad(value.sum(), phi)[0].any()


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.5), (1.0, 0.0), (0.0, 1.0)])
def test_the_gradient_is_finite_where_functions_vanish(alpha: float, beta: float) -> None:
    zero, some = torch.zeros(2, 3, 40, dtype=torch.float64), functions(1)
    for left, right in ((zero, zero), (zero, some), (some, zero), (some, -some), (some, 2 * some)):
        left = left.clone().requires_grad_()
        (grad,) = torch.autograd.grad(discrepancy(left, right, alpha, beta).sum(), left)
        assert bool(torch.isfinite(grad).all())


@pytest.mark.parametrize("weights", [(-0.1, 1.0), (0.0, 0.0)])
def test_weights_that_cannot_be_are_refused(weights: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="at least 0 and not both 0"):
        discrepancy(functions(1), functions(2), *weights)


def test_a_set_written_twice_has_the_same_functions() -> None:
    draw = torch.Generator().manual_seed(1)
    z, y, t = torch.randn(6, 9, generator=draw), torch.tensor([0, 0, 0, 1, 1, 2]), torch.randn(30, 9, generator=draw)
    once, twice = characteristic(z, y, t, 3), characteristic(torch.cat([z, z]), torch.cat([y, y]), t, 3)
    torch.testing.assert_close(once, twice, rtol=1e-5, atol=1e-6)
    assert float(once.square().sum(0).max()) <= 1 + 1e-6


def test_blocks_of_frequencies_change_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(1)
    z, y, t = torch.randn(6, 9, generator=draw), torch.tensor([0, 0, 1, 1, 2, 2]), torch.randn(30, 9, generator=draw)
    whole = characteristic(z, y, t, 3)
    monkeypatch.setattr(import_module("infodistill.methods.ncfm"), "BLOCK", 7)
    torch.testing.assert_close(characteristic(z, y, t, 3), whole, rtol=1e-5, atol=1e-6)


def test_frequencies_repeated_make_no_difference() -> None:
    """So the released sampler's 64 rows of 4 distinct ones are `count=4`."""
    z, y = torch.randn(6, 9, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 0, 1, 1, 2, 2])
    t = Gaussian(4).draw()(z)
    values = [
        discrepancy(characteristic(z, y, rows, 3), characteristic(-z, y, rows, 3)).mean(1)
        for rows in (t, t.repeat(16, 1))
    ]
    torch.testing.assert_close(values[0], values[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("changes", [{}, {"calibration": 1.0}])
def test_the_loss_is_a_sum_over_classes_however_it_is_evaluated(changes: dict[str, object]) -> None:
    still = {**changes, "lr": 0.0}
    jobs = [
        job(tiny_real(), **still),
        job(tiny_real(), **still, policy=Policy(groups=3)),
        job(tiny_real(), **still, group=1),
    ]
    (whole,), (parts,), (split,) = (list(one.run(1)) for one in jobs)
    for name in whole.values:
        for other in (parts, split):
            torch.testing.assert_close(other.values[name], whole.values[name], rtol=1e-5, atol=0)
            torch.testing.assert_close(other.norms[name], whole.norms[name], rtol=1e-4, atol=0)


def test_calibration_is_the_cross_entropy_of_the_trained_network() -> None:
    mine, syn, real = term(), images((3, 4, 2), 2), images((5, 7, 6), 3)
    nets = mine.looks.nets
    assert isinstance(nets, Interpolated)
    syn.x.requires_grad_()
    value = Calibration(mine.looks, nets)(syn, real)
    logits = nets.final().logits(mine.looks.look(syn, real).syn_images)
    wanted = oracle.calibration(logits, syn.y)
    torch.testing.assert_close(value, wanted, rtol=1e-11, atol=0)
    grads = [torch.autograd.grad(loss, syn.x)[0] for loss in (value, wanted)]
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-9, atol=1e-12)


def test_calibration_is_off_unless_it_is_asked_for() -> None:
    assert set(job(tiny_real()).terms) == {"match"}
    assert set(job(tiny_real(), calibration=0.5).terms) == {"match", "calibration"}
