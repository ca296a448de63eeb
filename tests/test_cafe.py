"""CAFE: alignment of every stage and discrimination against a class loop in float64, and the recipe."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from infodistill.augment import dsa, dsa_per_image, identity
from infodistill.compute import Policy, View
from infodistill.looks import Looks
from infodistill.methods.cafe import (
    BeforePooling,
    FeatureAlignment,
    before_pooling,
    cafe,
    discrimination_loss,
    published_weights,
    streamed_means,
)
from infodistill.nets.convnet import convnet
from infodistill.seeding import stream
from infodistill.sources.plateau import HalvedByLife, Plateau, Watch
from infodistill.sources.rolling import Rolling
from infodistill.types import Batch, pixel_space
from oracles import cafe as oracle
from table import NET, tiny_real
from toys import Affine

CLASSES, SHAPE, WIDTH = 3, (2, 8, 8), 4
FACTORY = partial(before_pooling, convnet(depth=3, width=WIDTH))
Y = {name: torch.arange(CLASSES).repeat_interleave(rows) for name, rows in (("syn", 2), ("real", 5))}


def batch(name: str, dtype: torch.dtype = torch.float64) -> Batch:
    y = Y[name]
    x = torch.randn(len(y), *SHAPE, generator=stream(1, name), dtype=torch.float64).to(dtype)
    return Batch(x.requires_grad_(name == "syn"), y, torch.nn.functional.one_hot(y, CLASSES).to(dtype), pixel_space(2))


def looks(policy: Policy | None = None) -> Looks:
    nets = Rolling(FACTORY, SHAPE, CLASSES, seed=0)
    nets.module.double()
    nets.use(policy or Policy())
    return Looks(nets, identity(), 0)


def value_and_gradient(term: FeatureAlignment, syn: Batch, real: Batch) -> tuple[Tensor, Tensor]:
    value = term(syn, real)
    return value.detach(), torch.autograd.grad(value, syn.x)[0]


@pytest.mark.parametrize("policy", [Policy(), Policy(chunk=4), Policy(chunk=2, recompute=True)])
@pytest.mark.parametrize("strength", [0.0, 0.7])
def test_value_and_gradient_are_the_oracle(policy: Policy, strength: float) -> None:
    syn, real, seen = batch("syn"), batch("real"), looks(policy)
    mine = value_and_gradient(FeatureAlignment(seen, discrimination=strength), syn, real)
    module = seen.nets.draw().module
    s, t = oracle.maps(module, syn.x, WIDTH), oracle.maps(module, real.x, WIDTH)
    wanted = oracle.alignment(s, t, syn.y, real.y, [0.1, 0.1, 1.0, 1.0])
    wanted = wanted + strength * oracle.discrimination(s[-1], t[-1], syn.y, real.y)
    expected = torch.autograd.grad(wanted, syn.x)[0]
    assert float(expected.abs().max()) > 1e-3
    torch.testing.assert_close(mine[0], wanted.detach(), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(mine[1], expected, rtol=1e-10, atol=1e-12)


def test_the_published_weights_count_the_last_layer_twice() -> None:
    assert published_weights(4) == (0.1, 0.1, 1.0, 2.0)
    assert [published_weights(n) for n in (1, 2, 3)] == [(2.0,), (1.0, 2.0), (0.1, 1.0, 2.0)]
    assert published_weights(6) == (0.1, 0.1, 0.1, 0.1, 1.0, 2.0)


def test_every_weight_belongs_to_its_stage() -> None:
    """The value is linear in the weights: with one of them alone it is that stage's distance."""
    syn, real, seen = batch("syn"), batch("real"), looks()
    module = seen.nets.draw().module
    s, t = oracle.maps(module, syn.x.detach(), WIDTH), oracle.maps(module, real.x, WIDTH)
    for stage in range(4):
        chosen = tuple(3.0 * (stage == other) for other in range(4))
        value = FeatureAlignment(seen, chosen, 0.0)(syn, real).item()
        apart = [s[stage][syn.y == c].mean(0) - t[stage][real.y == c].mean(0) for c in range(CLASSES)]
        assert value == pytest.approx(3 * sum(float(d.square().sum()) for d in apart), rel=1e-10)


def test_equal_batches_are_aligned_and_what_remains_is_discrimination() -> None:
    rows, seen = batch("syn"), looks()
    assert FeatureAlignment(seen, discrimination=0.0)(rows, rows).item() == pytest.approx(0, abs=1e-20)
    assert FeatureAlignment(seen)(rows, rows).item() > 0.01


def test_discrimination_in_closed_form() -> None:
    real, y = torch.eye(3, dtype=torch.float64) * 2, torch.arange(3)
    assert discrimination_loss(real, y, torch.zeros_like(real)).item() == pytest.approx(3 * math.log(3))
    sharp = discrimination_loss(real, y, 3 * torch.eye(3, dtype=torch.float64)).item()
    assert sharp == pytest.approx(3 * math.log(1 + 2 * math.exp(-6)))
    # Real rows are repeated: a sum over them, not a mean.
    twice = discrimination_loss(real.repeat(2, 1), y.repeat(2), torch.zeros_like(real)).item()
    assert twice == pytest.approx(6 * math.log(3))


@pytest.mark.parametrize("chunk", [None, 1, 4])
def test_streamed_means_are_the_means_of_one_pass(chunk: int | None) -> None:
    view = replace(looks().nets.draw(), policy=Policy(chunk=chunk))
    real = batch("real")
    means, feature = streamed_means(view, real, 4)
    outputs = view.stages(real.x)
    torch.testing.assert_close(feature, outputs[-1].detach(), rtol=1e-12, atol=1e-13)
    for mean, output in zip(means, outputs, strict=True):
        rows = output.flatten(1).unflatten(0, (CLASSES, -1)).mean(1).detach()
        torch.testing.assert_close(mean, rows, rtol=1e-12, atol=1e-13)
        assert not mean.requires_grad


def test_unpooled_stages_are_those_of_the_same_network() -> None:
    plain, wrapped = (factory(SHAPE, CLASSES) for factory in (convnet(depth=3, width=WIDTH), FACTORY))
    assert isinstance(wrapped, BeforePooling)
    wrapped.net.load_state_dict(plain.state_dict())
    x = torch.randn(3, *SHAPE)
    maps, pooled = View.own(wrapped).stages(x), View.own(plain).stages(x)
    assert [tuple(m.shape[1:]) for m in maps] == [(4, 8, 8), (4, 4, 4), (4, 2, 2), (4,)]
    for before, after in zip(maps[:-1], pooled, strict=True):
        assert torch.equal(torch.nn.functional.avg_pool2d(before, 2).flatten(1), after.flatten(1))
    assert torch.equal(maps[-1], pooled[-1])
    assert torch.equal(View.own(wrapped).logits(x), plain(x))


def test_a_network_that_is_no_convnet_keeps_its_own_stages() -> None:
    assert isinstance(before_pooling(Affine, SHAPE, CLASSES), Affine)
    job = cafe(tiny_real(), Affine, ipc=2, real_per_class=4, window=2, probe=2, most_updates=2, most_epochs=2)
    assert [float(p.norms["match"]) > 0 for p in job.run(2)] == [True, True]


def test_the_recipe_is_the_papers() -> None:
    real = tiny_real()
    job = cafe(real, NET, ipc=2, seed=3, augment=dsa(), augment_train=dsa_per_image())
    term = job.terms["match"].term
    assert isinstance(term, FeatureAlignment)
    nets = term.looks.nets
    assert isinstance(nets, Plateau)
    assert (term.discrimination, term.layers, job.real_per_class) == (0.01, None, 256)
    group: dict[str, Any] = job.update.optimizer.param_groups[0]
    assert (group["lr"], group["momentum"]) == (0.1, 0.5)
    assert nets.watch == Watch(10, 0.04, 0.03, 128)
    train = nets.train
    assert (train.epochs, train.batch, train.lr, train.momentum, train.weight_decay) == (1, 256, 0.01, 0.0, 0.0)
    assert train.augment == dsa_per_image() and term.looks.augment == dsa()
    assert job.update.schedule == HalvedByLife(nets, (1200, 1600, 1800))
    assert abs(float(job.syn.pixels.detach().mean())) < 0.2  # noise, not images


def test_the_rate_of_the_images_follows_the_lives_also_in_a_copy() -> None:
    real = tiny_real()
    base = cafe(real, NET, ipc=2, real_per_class=4, window=2, probe=2, most_updates=1, most_epochs=2, halved=(1, 2, 3))
    copy = base.adding(again=base.terms["match"])
    rates = []
    for _ in copy.run(5):
        rates.append(copy.update.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1, 0.05, 0.025, 0.0125, 0.0125])
    schedules = [job.update.schedule for job in (copy, base)]
    assert [s.nets.life for s in schedules if isinstance(s, HalvedByLife)] == [5, 0]


def test_what_cannot_be_aligned_is_refused() -> None:
    syn, real = batch("syn"), batch("real")
    with pytest.raises(ValueError, match="4 stages, its flat feature included, got 3 weights"):
        FeatureAlignment(looks(), (1.0, 1.0, 1.0))(syn, real)
    job = cafe(tiny_real(), NET, ipc=2, real_per_class=4)
    with pytest.raises(ValueError, match=r"among all 3 classes, got images of 1.*group=None"):
        next(replace(job, group=1).run(1))
