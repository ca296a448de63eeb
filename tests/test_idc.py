"""IDC: value and gradient against the class loop in float64, the published optimiser step, and what it is made of."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from infodistill.compute import Policy
from infodistill.distillation import Distillation
from infodistill.methods.dm import squared
from infodistill.methods.idc import AtMost, Early, absolute, conv_l1, conv_squared_error, idc, learning_rate
from infodistill.nets.convnet import convnet
from infodistill.objective import measure
from infodistill.samplers import Cyclic
from infodistill.seeding import stream
from infodistill.training import Fit
from infodistill.types import Batch, Net
from infodistill.weights import Weighted, whole_set
from oracles import idc as oracle
from table import NET, tiny_real

SMALL: dict[str, Any] = {
    "ipc": 2, "seed": 5, "lr": 0.02, "real_per_class": 4, "inner": 3, "train_images": 10, "batch_train": 6
}  # fmt: skip


def double_net(shape: tuple[int, int, int], classes: int) -> Net:
    return convnet(depth=2, width=4)(shape, classes).double()


def double_job(**settings: Any) -> tuple[Distillation, Batch]:
    """A job in float64 with perturbed pixels, and its real batch of the first step."""
    real = tiny_real(per_class=12)
    job = idc(real, double_net, **{**SMALL, **settings})
    noise = torch.randn(job.syn.pixels.shape, generator=stream(0, "noise"), dtype=torch.float64)
    pixels = (job.syn.pixels.detach().double() + 0.1 * noise).requires_grad_()
    job.syn = replace(job.syn, pixels=pixels, labels=job.syn.labels.double())
    batch = real.rows(job.sampler(real, 5, 0, 4))
    return job, replace(batch, x=batch.x.double(), target=batch.target.double())


def match(job: Distillation) -> AtMost:
    term = job.terms["match"].term
    assert isinstance(term, AtMost)
    return term


def trained(job: Distillation) -> list[Tensor]:
    """The weights of the step's network."""
    return [value.detach().clone() for value in match(job).looks.nets.draw().params.values()]


def steps(job: Distillation, count: int) -> Distillation:
    for _ in job.run(count):
        pass
    return job


@pytest.mark.parametrize("most", [128, 5])
@pytest.mark.parametrize(("distance", "power"), [(conv_squared_error, 2), (conv_l1, 1)])
def test_value_and_gradient_equal_the_class_loop(distance: Callable[..., Tensor], power: int, most: int) -> None:
    job, real = double_job(distance=distance, most=most)
    term = match(job)
    value = term(job.syn.batch(), real)
    (gradient,) = torch.autograd.grad(value, job.syn.pixels)

    look = term.looks.look(job.syn.batch(), real)
    module = copy.deepcopy(look.view.module).requires_grad_(True)
    pixels, expected = job.syn.pixels.detach().requires_grad_(), torch.zeros((), dtype=torch.float64)
    for c in range(3):
        syn = oracle.decoded(pixels[2 * c : 2 * c + 2], 2, 0.4, 0.25)
        if most < len(syn):
            syn = syn[torch.randperm(len(syn), generator=stream(5, "match.subset", 0, c))[:most]]
        both = torch.cat([real.x[4 * c : 4 * c + 4], syn])
        both = look.augment.apply(both, look.record[c : c + 1], torch.zeros(len(both), dtype=torch.long))
        expected = expected + oracle.class_loss(module, both[4:], both[:4], c, power)
    (wanted,) = torch.autograd.grad(expected, pixels)
    assert float(expected.detach()) > 1e-3 and wanted.abs().max() > 1e-4
    torch.testing.assert_close(value, expected.detach(), rtol=1e-10, atol=1e-12, check_dtype=False)
    torch.testing.assert_close(gradient, wanted, rtol=1e-8, atol=1e-10)


def test_the_set_itself_as_real_data_costs_nothing() -> None:
    job, _ = double_job()
    batch = job.syn.batch()
    value = match(job)(batch, batch.detach())
    (gradient,) = torch.autograd.grad(value, job.syn.pixels)
    assert float(value.detach()) < 1e-20 and float(gradient.abs().max()) < 1e-10


def test_only_kernels_count() -> None:
    zero = {"conv": torch.zeros(3, 2, 1, 2, 2), "bias": torch.zeros(3, 2), "fc": torch.zeros(3, 5, 7)}
    other = {name: value + 2 for name, value in zero.items()}
    assert float(conv_squared_error(zero, other)) == 24 * 4
    assert float(conv_l1(zero, other)) == 24 * 2
    assert float(conv_l1(zero, {**other, "conv": zero["conv"]})) == 0
    with pytest.raises(ValueError, match=r"no gradient is of a convolution.*\['bias', 'fc'\]"):
        conv_l1({"bias": zero["bias"], "fc": zero["fc"]}, other)
    assert float(squared(zero["fc"], other["fc"])) == 105 * 4 and float(absolute(zero["fc"], other["fc"])) == 105 * 2


def test_the_rule_for_the_rate() -> None:
    assert learning_rate(5e-3, 10) == pytest.approx(5e-3)
    assert learning_rate(5e-3, 1) == pytest.approx(5e-4)
    assert learning_rate(5e-3, 50) == pytest.approx(2.5e-2)
    assert learning_rate(1e-4, 10, size=28 / 32) == pytest.approx(0.766e-4, rel=1e-3)
    assert learning_rate(5e-3, 10, size=64 / 32) == pytest.approx(2e-2)


@dataclass(frozen=True)
class Linear:
    """A cost whose gradient is the same wherever the set is."""

    slope: Tensor

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        return (syn.x * self.slope[syn.y].view(-1, 1, 1, 1)).sum()


@pytest.mark.parametrize("classes", [3, 5])
def test_per_class_steps_move_a_class_by_the_leaked_momentum(classes: int) -> None:
    rate, mu = 1e-3, 0.5
    job = idc(tiny_real(classes), NET, **{**SMALL, "factor": 1, "lr": rate, "momentum": mu, "group": 1})
    slope = torch.rand(classes, generator=stream(0, "slope")) + 1
    with torch.no_grad():
        job.syn.pixels.fill_(0.5)
    both = replace(job, terms={"match": Weighted(1.0, Linear(slope))})
    start = both.syn.pixels.detach().clone()
    joint = replace(copy.deepcopy(both), group=None)
    steps(both, 1)
    moved = (start - both.syn.pixels.detach()).view(classes, -1).mean(1)
    per_pixel = slope / 0.25  # decoded images are (pixel - 0.4) / 0.25
    # One visit moves a class at its own step and at those of the classes after it, with what is left of its momentum.
    after = torch.arange(classes, 0, -1)
    torch.testing.assert_close(moved, rate * per_pixel * (1 - mu**after) / (1 - mu), rtol=1e-3, atol=0)
    first = float(rate * per_pixel[0] * (1 - mu**classes) / (1 - mu))
    assert float(moved[0]) == pytest.approx(first, rel=1e-3)
    steps(joint, 1)
    plain = (start - joint.syn.pixels.detach()).view(classes, -1).mean(1)
    torch.testing.assert_close(plain, rate * per_pixel, rtol=1e-3, atol=0)


def test_the_default_is_one_joint_step_on_passes_without_replacement() -> None:
    job = idc(tiny_real(), NET, ipc=1)
    assert job.group is None and isinstance(job.sampler, Cyclic) and job.real_per_class == 64
    group = job.update.optimizer.param_groups[0]
    assert (group["lr"], group["momentum"]) == (5e-3, 0.5)
    nets = match(job).looks.nets
    assert (nets.inner, nets.lesson.most) == (100, 2000)  # type: ignore[attr-defined]
    train = nets.train  # type: ignore[attr-defined]
    assert (train.lr, train.momentum, train.weight_decay, train.batch) == (0.01, 0.9, 5e-4, 64)
    assert train.mix.probability == 0.5


def test_stored_pixels_stay_in_range_and_decode_into_the_space_of_the_data() -> None:
    job = idc(tiny_real(), NET, **{**SMALL, "lr": 5.0})
    assert job.syn.batch().x.shape == (3 * 2 * 4, 1, 8, 8)
    wanted = oracle.decoded(job.syn.pixels.detach(), 2, 0.4, 0.25)
    torch.testing.assert_close(job.syn.batch().x.detach(), wanted)
    assert float(job.syn.pixels.detach().min()) >= 0 and float(steps(job, 2).syn.pixels.detach().max()) <= 1
    rare = steps(idc(tiny_real(), NET, **{**SMALL, "lr": 5.0, "clamp_every": 3}), 2)
    assert float(rare.syn.pixels.detach().abs().max()) > 1
    assert float(steps(rare, 1).syn.pixels.detach().max()) <= 1


def test_networks_learn_from_real_images_alone() -> None:
    slow, fast = (idc(tiny_real(), NET, **{**SMALL, "lr": rate}) for rate in (1e-3, 1.0))
    fresh = trained(slow)
    steps(slow, 2), steps(fast, 2)
    assert not torch.equal(slow.syn.pixels, fast.syn.pixels)
    assert all(torch.equal(a, b) for a, b in zip(trained(slow), trained(fast), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(trained(slow), fresh, strict=True))
    steps(slow, 1), steps(fast, 1)
    assert all(torch.equal(a, b) for a, b in zip(trained(slow), trained(fast), strict=True))  # the next life


def test_early_epochs_are_keyed_and_prepare_excludes_them() -> None:
    real = tiny_real()
    plain, early, again = (trained(idc(real, NET, early=e, **SMALL)) for e in (0, 1, 1))
    assert all(torch.equal(a, b) for a, b in zip(early, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(early, plain, strict=True))
    warm = Early(real, Fit(1, 8, 0.1))
    other = copy.deepcopy(warm)
    assert other is not warm and other.real is real
    by_hand = trained(idc(real, NET, prepare=warm, **SMALL))
    assert not torch.equal(by_hand[0], early[0])
    with pytest.raises(ValueError, match="early is 2, so prepare must be left out"):
        idc(real, NET, early=2, prepare=warm, **SMALL)


def test_a_warm_up_runs_under_the_policy_of_its_job() -> None:
    real, bf16 = tiny_real(), Policy(precision="bf16")
    told, late = idc(real, NET, early=1, policy=bf16, **SMALL), idc(real, NET, early=1, **SMALL)
    late.use(bf16)
    both = (trained(told), trained(late))
    assert all(torch.equal(a, b) for a, b in zip(*both, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(both[0], trained(idc(real, NET, early=1, **SMALL)), strict=True))


def test_the_subset_is_keyed_by_step_and_class_however_the_round_is_grouped() -> None:
    job, _ = double_job(most=5)
    term, whole = match(job), job.syn.batch()
    chosen = term.chosen(whole)
    assert chosen.y.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    rows = [int((whole.x == image).flatten(1).all(1).nonzero()) for image in chosen.x]
    assert len(set(rows)) == 15
    assert {row % 8 for row in rows[:5]} != {row % 8 for row in rows[5:10]}
    alone = term.chosen(job.syn.batch([2]))
    assert torch.equal(alone.x, chosen.x[10:])
    term.looks.step = 1
    assert not torch.equal(term.chosen(whole).x, chosen.x)
    assert term.chosen(job.syn.batch([1])).x.shape == (5, 1, 8, 8)
    assert replace(term, most=8).chosen(whole) is whole
    with pytest.raises(ValueError, match="at least 1 decoded image"):
        replace(term, most=0)


@pytest.mark.parametrize("most", [128, 5])
def test_splitting_the_round_to_save_memory_changes_no_value(most: int) -> None:
    job, real = double_job(most=most)
    terms = {"match": job.terms["match"].term}
    one, three = (measure(terms, job.syn, real, None, parts)["match"] for parts in (1, 3))
    torch.testing.assert_close(one.value, three.value, rtol=1e-12, atol=0)
    torch.testing.assert_close(one.grads[0], three.grads[0], rtol=1e-9, atol=1e-12)


@dataclass(frozen=True)
class Counting:
    """How many decoded images a term sees."""

    seen: list[int]

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        self.seen.append(len(syn))
        return syn.x.square().mean()


@pytest.mark.parametrize("group", [None, 1])
def test_other_terms_see_the_whole_decoded_set_once_a_round(group: int | None) -> None:
    seen: list[int] = []
    job = idc(tiny_real(), NET, most=3, group=group, **SMALL)
    both = replace(job, terms={**job.terms, "other": Weighted(1.0, Counting(seen), whole_set)})
    steps(both, 2)
    assert seen == [24, 24]
