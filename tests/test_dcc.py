"""DCC: one distance between gradients summed over classes, its warm-up, and the published loops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from infodistill.augment import dsa, dsa_per_image, identity
from infodistill.compute import Policy, View
from infodistill.gradients import class_gradients
from infodistill.looks import Looks
from infodistill.methods.dc import GradientMatching, dc
from infodistill.methods.dcc import ContrastiveMatching, aggregated_gradient, dcc, loops
from infodistill.nets.convnet import convnet
from infodistill.seeding import stream
from infodistill.sources.rolling import Rolling
from infodistill.synthetic import from_real
from infodistill.types import Batch, Term, pixel_space
from oracles import dcc as oracle
from table import NET, tiny_real

CLASSES, SHAPE = 3, (2, 8, 8)
POLICIES = (Policy(), Policy(chunk=2), Policy(chunk=1, recompute=True), Policy(chunk=1, recompute=True, groups=4))


def batch(per_class: int, owner: str) -> Batch:
    """Class-major images with softened targets, in float64."""
    y = torch.arange(CLASSES).repeat_interleave(per_class)
    x = torch.randn(len(y), *SHAPE, generator=stream(1, owner), dtype=torch.float64)
    soft = torch.rand(len(y), CLASSES, generator=stream(2, owner), dtype=torch.float64)
    target = 0.8 * F.one_hot(y, CLASSES).double() + 0.2 * soft / soft.sum(1, keepdim=True)
    return Batch(x.requires_grad_(), y, target.requires_grad_(), pixel_space(2))


def classwise(policy: Policy | None = None) -> GradientMatching:
    nets = Rolling(convnet(depth=2, width=4), SHAPE, CLASSES, seed=0, inner=4)
    nets.module.double()
    nets.use(policy or Policy())
    return GradientMatching(Looks(nets, identity(), 0))


def contrastive(policy: Policy | None = None, **settings: Any) -> ContrastiveMatching:
    return ContrastiveMatching(classwise(policy), 4, **{"warm_outer": 0, **settings})


def value_of(term: Term, syn: Batch, real: Batch) -> float:
    return term(syn, real).item()


def view_of(term: ContrastiveMatching | GradientMatching) -> View:
    return term.looks.nets.draw()


@pytest.mark.parametrize("policy", POLICIES)
def test_value_and_gradient_are_the_oracle(policy: Policy) -> None:
    syn, real, term = batch(2, "syn"), batch(5, "real"), contrastive(policy)
    value = term(syn, real)
    got = torch.autograd.grad(value, (syn.x, syn.target))
    module = view_of(term).module.requires_grad_(True)
    target = oracle.real_gradient(module, real.x.detach(), real.target.detach(), CLASSES)
    wanted = oracle.row_cosine(oracle.synthetic_gradient(module, syn.x, syn.target), target)
    torch.testing.assert_close(value, wanted, rtol=1e-12, atol=1e-12)
    expected = torch.autograd.grad(wanted, (syn.x, syn.target))
    assert all(float(grad.abs().max()) > 1e-3 for grad in expected)
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("create_graph", [True, False])
def test_the_aggregated_gradient_is_the_mean_of_the_class_gradients(create_graph: bool) -> None:
    rows, view = batch(3, "rows"), view_of(classwise())
    mine = aggregated_gradient(view, rows.x, rows.target, create_graph=create_graph)
    each = class_gradients(view, rows.x, rows.target, CLASSES, create_graph=False)
    for name, value in mine.items():
        assert value.requires_grad == create_graph
        torch.testing.assert_close(value.detach(), each[name].mean(0, keepdim=True), rtol=1e-11, atol=1e-13)


def test_equal_sets_keep_the_published_epsilon_and_differ_in_nothing_else() -> None:
    rows, term = batch(2, "syn"), contrastive()
    mine = aggregated_gradient(view_of(term), rows.x, rows.target, create_graph=False)
    squares = [value[0].flatten(1).square().sum(1) for value in mine.values() if value.ndim > 2]
    epsilon = sum(float((1e-6 / (s + 1e-6)).sum()) for s in squares)
    assert value_of(term, rows, rows) == pytest.approx(epsilon, rel=1e-6, abs=1e-12)


def test_without_any_gradient_every_output_row_counts_one() -> None:
    syn, real, term = batch(2, "syn"), batch(2, "real"), contrastive()
    with torch.no_grad():
        view = view_of(term)
        guess = view.logits(syn.x).softmax(1)  # a target that the network already predicts: no gradient
    exact = Batch(syn.x, syn.y, guess, syn.space)
    assert value_of(term, exact, real) == pytest.approx(4 + 4 + CLASSES, rel=1e-6)


def test_the_warm_up_is_dcs_loss_in_the_first_updates_of_the_first_networks() -> None:
    syn, real = batch(2, "syn"), batch(3, "real")
    term, always, never = (contrastive(warm_outer=n, warm_inner=m) for n, m in ((2, 3), (0, 3), (99, 99)))
    warm: list[int] = []
    for step in range(12):
        for each in (term, always, never):
            each.looks.step = each.looks.nets.step = step
        value, joint, dcs = (value_of(t, syn, real) for t in (term, always, never))
        assert dcs == value_of(never.classwise, syn, real)
        assert dcs != joint
        assert value == (dcs if term.warm else joint)
        warm += [step] * term.warm
    assert warm == [0, 1, 2, 4, 5, 6]


def test_the_published_loops_differ_from_dcs_at_one_image() -> None:
    assert [loops(ipc) for ipc in (1, 2, 10, 20, 30, 40, 50, 100)] == [
        (10, 5), (10, 5), (10, 50), (20, 25), (30, 20), (40, 15), (50, 10), (50, 10),
    ]  # fmt: skip


def test_the_recipe_is_dcs_but_for_the_term_and_the_real_start() -> None:
    real = tiny_real()
    job, base = dcc(real, NET, ipc=1, seed=3), dc(real, NET, ipc=1, seed=3)
    term = job.terms["match"].term
    assert isinstance(term, ContrastiveMatching)
    assert (term.inner, term.warm_outer, term.warm_inner) == (10, 250, 10)
    nets = term.looks.nets
    assert isinstance(nets, Rolling) and nets.train is not None
    assert (nets.inner, nets.train.epochs, nets.train.lr, nets.train.batch) == (10, 5, 0.01, 256)
    assert torch.equal(job.syn.pixels, real.rows(real.sample(3, 1)).x)
    assert job.update.optimizer.defaults["lr"] == base.update.optimizer.defaults["lr"] == 0.1
    assert (job.real_per_class, job.seed) == (base.real_per_class, 3)
    augmented = dcc(real, NET, ipc=1, augment=dsa(), augment_train=dsa_per_image()).terms["match"].term
    assert isinstance(augmented, ContrastiveMatching) and augmented.looks.augment == dsa()


def test_a_long_warm_up_is_dc_bit_for_bit() -> None:
    settings: dict[str, Any] = {"ipc": 2, "seed": 1, "real_per_class": 4, "outer": 2, "inner_epochs": 1}
    real = tiny_real()
    ours, theirs = dcc(real, NET, **settings), dc(real, NET, init=from_real, **settings)
    assert [p.loss for p in ours.run(3)] == [p.loss for p in theirs.run(3)]
    assert torch.equal(ours.syn.pixels, theirs.syn.pixels)


def test_every_class_has_to_be_updated_at_once() -> None:
    job = dcc(tiny_real(), NET, ipc=2, real_per_class=4)
    with pytest.raises(ValueError, match=r"summed over all 3 classes, got images of 1.*group=None"):
        next(replace(job, group=1).run(1))


def test_out_of_range_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="inner must be >= 1"):
        ContrastiveMatching(classwise(), 0)
    with pytest.raises(ValueError, match="warm_inner >= 0, got 4, 0 and -1"):
        contrastive(warm_inner=-1)


def test_gradients_that_cancel_between_classes_are_not_seen() -> None:
    """Two sets with the same sum over classes are at distance zero, whatever each class does."""
    rows, term = batch(2, "syn"), contrastive()
    order = torch.arange(len(rows)).roll(2)
    moved: Tensor = rows.x.detach()[order]
    other = Batch(moved, rows.y, rows.target.detach()[order], rows.space)  # the images of the next class, targets too
    assert value_of(term, rows, other) == pytest.approx(value_of(term, rows, rows), abs=1e-9)
    assert value_of(term.classwise, rows, other) > 1
