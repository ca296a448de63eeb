"""Influence: value and gradient against flat autograd, real gradients, picked checkpoints, pieces, the surrogate."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from analytic import around
from influences import NET, batch, exact_influence, nets, normal, toy_influence
from infodistill.compute import View
from infodistill.diffusion.igd import igd
from infodistill.diffusion.influence import (
    InPieces,
    each_class,
    gradient_cosine,
    influence_of,
    pick_checkpoints,
    real_gradients,
    surrogate_store,
)
from infodistill.training import Fit
from oracles import igd as oracle
from shapes import check
from tiny_data import tiny_real


@pytest.mark.parametrize("by_class", [False, True])
def test_influence_and_its_gradient_are_those_of_flat_autograd(by_class: bool) -> None:
    real = {c: normal(4, 3, 8, 8, label=f"real {c}") for c in range(3)}
    term, y = exact_influence(real), [2, 2, 0, 0]
    x = normal(4, 3, 8, 8).requires_grad_()
    sets = [(x[:2], 2), (x[2:], 0)] if by_class else [(x[i : i + 1], c) for i, c in enumerate(y)]
    if by_class:
        term = replace(term, groups=each_class)
    syn = batch(x, y)
    wanted = torch.stack(oracle.influence(nets()[0], [view.params for view in term.views], sets, real))
    torch.testing.assert_close(term.values(syn), wanted, rtol=1e-10, atol=1e-12)
    cost = term(syn, syn)
    torch.testing.assert_close(cost, wanted.sum() * (2 if by_class else 1))
    slopes = [torch.autograd.grad(value, x)[0] for value in (cost, wanted.sum() * (2 if by_class else 1))]
    torch.testing.assert_close(*slopes, rtol=1e-8, atol=1e-12)


def test_the_real_images_themselves_have_no_influence_left_as_a_class() -> None:
    real = {c: normal(4, 3, 8, 8, label=f"real {c}") for c in range(3)}
    whole = replace(exact_influence(real), groups=each_class)
    values = whole.values(batch(torch.cat([real[0], real[2]]), [0] * 4 + [2] * 4))
    torch.testing.assert_close(values, torch.zeros(2).double(), rtol=0, atol=1e-12)


def test_real_gradients_are_means_over_the_class_and_small_classes_are_there_whole() -> None:
    real, net = tiny_real((7, 5, 9)), nets(1)[0].float()
    found = real_gradients(View.own(net, space=real.space), real, 200)
    for label, rows in enumerate(real.class_rows):
        x = real.rows(rows).x
        wanted = oracle.flat_gradient(net, dict(net.named_parameters()), x, [label] * len(x))
        mine = torch.cat([value[label].flatten() for value in found.values()])
        torch.testing.assert_close(mine, wanted.detach(), rtol=1e-3, atol=1e-6)


def test_pieces_change_neither_value_nor_gradient() -> None:
    term, x = exact_influence({c: normal(2, 3, 8, 8, label=f"r {c}") for c in range(3)}), normal(5, 3, 8, 8)
    found: list[tuple[Tensor, Tensor]] = []
    for each in (term, InPieces(term, 2)):
        leaf = x.clone().requires_grad_()
        syn = batch(leaf, [0, 0, 1, 2, 2])
        cost = each(syn, syn)
        found.append((cost.detach(), torch.autograd.grad(cost, leaf)[0]))
    torch.testing.assert_close(*(value for value, _ in found))
    torch.testing.assert_close(*(slope for _, slope in found))
    with pytest.raises(ValueError, match="not of a class"):
        igd(around(tiny_real(), 5), replace(toy_influence(), groups=each_class), 2, most=2)


def test_a_zero_gradient_has_cosine_zero_and_a_finite_slope() -> None:
    a = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    value = check(gradient_cosine)({"w": a}, {"w": torch.tensor([[1.0, 0.0], [2.0, 0.0]])})
    torch.testing.assert_close(value, torch.tensor([0.0, 0.6]))
    assert not torch.autograd.grad(value.sum(), a)[0][0].any()


def test_checkpoints_are_picked_where_gradients_have_turned() -> None:
    def at(degrees: float) -> dict[str, Tensor]:
        angle = math.radians(degrees)
        return {"w": torch.tensor([[math.cos(angle), math.sin(angle)]] * 2) * 5}

    walk = [(3, at(0)), (4, at(20)), (6, at(50)), (7, at(60)), (9, at(90)), (12, at(100))]
    assert pick_checkpoints(walk) == (3, 6, 12)  # cos 45.6 degrees = 0.7; 60 and 90 are near 50
    assert pick_checkpoints(walk, 0.99) == (3, 4, 6, 7, 9, 12)
    assert pick_checkpoints([]) == ()


def test_a_surrogate_is_recorded_once_and_its_checkpoints_are_picked(tmp_path: Path) -> None:
    real = tiny_real()
    fit = Fit(3, batch=8, lr=0.05)
    store = surrogate_store(real, NET, tmp_path, fit=fit)
    assert store.epochs == (0, 1, 2, 3) and store.count == 1
    every, few = influence_of(store, real, threshold=2.0), influence_of(store, real, picks=[0, 3], per_class=4)
    assert every.epochs == (0, 1, 2, 3) and few.epochs == (0, 3) and few.space == real.space
    assert influence_of(store, real, threshold=-1.0).epochs == (0,)
    assert next(iter(few.wanted[0].values())).shape[0] == 3
    with pytest.raises(ValueError, match="epoch 9 of expert 0 was not kept"):
        influence_of(store, real, picks=[9])
