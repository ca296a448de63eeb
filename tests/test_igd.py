"""IGD: influence and deviation against hand-written oracles, the published step inside DDPM, picking, sampling."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from analytic import around, two_blobs
from infodistill.compute import View
from infodistill.diffusion.contract import Prediction
from infodistill.diffusion.guidance import Watched
from infodistill.diffusion.igd import IGD, DeviationStep, InfluenceStep, Remembered, apart, igd, next_step, one_by_one
from infodistill.diffusion.influence import (
    Influence,
    InPieces,
    each_class,
    gradient_cosine,
    influence_of,
    pick_checkpoints,
    real_gradients,
    surrogate_store,
)
from infodistill.diffusion.memory import Memory
from infodistill.diffusion.routes import surrogate
from infodistill.diffusion.rules import Step
from infodistill.diffusion.samplers import ddpm
from infodistill.diffusion.sampling import Plan, Sampled, sample
from infodistill.nets.convnet import convnet
from infodistill.seeding import build_seeded, stream
from infodistill.training import Fit
from infodistill.types import Batch, Net, pixel_space
from oracles import igd as oracle
from shapes import check
from tiny_data import tiny_real

NET = convnet(depth=1, width=3)
PLAN = Plan(ipc=3, seed=2, steps=10)
HOW = IGD(steps=10)


def normal(*shape: int, label: str = "x") -> Tensor:
    return torch.randn(*shape, generator=stream(0, label), dtype=torch.float64)


def nets(count: int = 2) -> list[Net]:
    return [build_seeded(lambda: NET((3, 8, 8), 3), stream(i, "net")).double() for i in range(count)]


def batch(x: Tensor, y: list[int]) -> Batch:
    labels = torch.as_tensor(y)
    return Batch(x, labels, one_hot(labels, 3).to(x.dtype), pixel_space(3))


def exact_influence(real: dict[int, Tensor]) -> Influence:
    """Influence in float64, its real gradients from the oracle."""
    views = tuple(View.own(net, space=pixel_space(3)) for net in nets())
    wanted: list[dict[str, Tensor]] = []
    for view in views:
        sizes = [value.numel() for value in view.params.values()]
        rows = torch.stack([oracle.flat_gradient(view.module, view.params, x, [c] * len(x)) for c, x in real.items()])
        parts = zip(view.params.items(), rows.detach().split(sizes, 1), strict=True)
        wanted.append({name: part.unflatten(1, value.shape) for (name, value), part in parts})
    return Influence(views, tuple(wanted))


def toy_influence(per_class: int = 9) -> Influence:
    """Of two random networks, in float32, for the images of `tiny_real`."""
    real = tiny_real()
    views = tuple(View.own(net.float(), space=real.space) for net in nets())
    return Influence(views, tuple(real_gradients(view, real, per_class) for view in views))


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


def test_a_shift_of_x0_moves_the_next_ddpm_step_by_what_was_asked() -> None:
    model, move = two_blobs(), normal(4, 1, 2, 2, label="move")
    walk, y = model.sigmas(6), torch.zeros(4, dtype=torch.int64)

    def noise(step: int) -> Tensor:
        return normal(4, 1, 2, 2, label=f"noise {step}")

    def shifted(x: Tensor, sigma: Tensor, labels: Tensor) -> Prediction:
        told, step = model.denoise(x, sigma, labels), Step(x, float(sigma[0]), labels)
        if not math.isclose(step.sigma, float(walk[2])):
            return told
        return replace(told, x0=told.x0 + next_step(move, walk.tolist(), step))

    plain, pushed = ([*ddpm(denoise, walk, y, noise)][2] for denoise in (model.denoise, shifted))
    assert plain.sigma == float(walk[3])
    torch.testing.assert_close((pushed.x - plain.x) / (1 + plain.sigma**2) ** 0.5, move)


def test_the_influence_step_has_the_published_length_whatever_the_gradient() -> None:
    walk, sigma = (20.0, 4.0, 2.0, 0.0), 4.0
    x, x0, g = normal(3, 2, 3, 3), normal(3, 2, 3, 3, label="x0"), normal(3, 2, 3, 3, label="g")
    step = Step(x, sigma, torch.tensor([0, 0, 0]))
    rule = InfluenceStep(walk)
    found = rule(g * torch.tensor([1.0, 1e-8, 1e5]).view(-1, 1, 1, 1), x0, step)
    abar = 1 / (1 + sigma**2)
    for i in range(3):
        eps = (x[i] - x0[i]) / sigma
        rho = (1 - abar) ** 0.5 * 0.0015 * eps.square().mean().sqrt() / g[i].square().mean().sqrt()
        torch.testing.assert_close(found[i] * (1 - 4 / 16) / 5**0.5, rho * g[i])
    assert not rule(g * 0, x0, step).any()
    with pytest.raises(ValueError, match="set up for 3 steps"):
        rule(g, x0, Step(x, 3.0, step.y))


def test_deviation_is_the_published_gradient_in_z_and_needs_another_image() -> None:
    x, others = normal(5, 3, 2, 2).requires_grad_(), normal(5, 3, 2, 2, label="o")
    y = torch.tensor([0, 0, 0, 1, 2])
    syn, beside = (Batch(v, y, one_hot(y, 3).double(), pixel_space(3)) for v in (x, others))
    (found,) = torch.autograd.grad(apart(syn, beside), x)
    for i in range(3):
        wanted = oracle.pushed_apart(x[i].detach(), [others[j] for j in range(3) if j != i])
        torch.testing.assert_close(found[i], wanted)
    assert not found[3:].any() and not apart(syn.rows(y > 0), beside.rows(y > 0)).requires_grad

    memory = Memory(2)
    memory.extend(others, torch.tensor([2, 2, 2, 0, 1]))
    (held,) = torch.autograd.grad(Remembered(memory)(syn, syn), x)
    torch.testing.assert_close(held[4], oracle.pushed_apart(x[4].detach(), [others[1], others[2]]))
    sigma, lower = 4.0, 2.0
    z = (x / (1 + sigma**2) ** 0.5).detach()
    shift = DeviationStep((sigma, lower, 0.0))(-held, others, Step(x, sigma, y)) * (1 - 4 / 16) / 5**0.5
    torch.testing.assert_close(shift[4], -oracle.pushed_apart(z[4], [others[1], others[2]]))


def test_the_window_holds_steps_30_to_45_of_50_and_gamma_follows_size() -> None:
    model = two_blobs()
    low, high = (model.sigma_at(fraction) for fraction in IGD().window)
    guided = [49 - i for i, sigma in enumerate(model.sigmas(50)[:-1].tolist()) if low <= sigma <= high]
    assert guided == list(range(45, 29, -1))
    assert [IGD().deviation(ipc, 4096) for ipc in (1, 10, 50, 100)] == [50, 50, 120, 120]
    assert IGD(gamma=64).deviation(10, 64) == 1


def test_without_k_and_gamma_sampling_is_plain() -> None:
    model = around(tiny_real(), 5)
    assert igd(model, toy_influence(), 3, IGD(k=0, gamma=0, steps=10))(model.denoise) is model.denoise


def cost(term: Influence, samples: list[Sampled]) -> float:
    total = 0.0
    for one in samples:
        x = one.pixels.requires_grad_()
        total += float(term.values(Batch(x, one.y, one_hot(one.y, 3).float(), pixel_space(3))).sum().detach())
    return total


@pytest.mark.parametrize("passing", ["exact", "surrogate"])
def test_guided_images_have_gradients_more_like_the_real_ones(passing: str) -> None:
    model, term = around(tiny_real(), 5), toy_influence()
    route = {} if passing == "exact" else {"route": surrogate(0.3)}
    found: list[float] = []
    for k in (200.0, 0.0, -200.0):
        steer = igd(model, term, 3, replace(HOW, k=k, gamma=0.0, window=(0.0, 0.929)), **route)  # type: ignore[arg-type]
        found.append(cost(term, list(sample(model, PLAN, steer))))
    assert found[0] < found[1] - 0.3 and found[1] + 0.3 < found[2]


def test_both_forces_act_in_the_window_and_are_watched() -> None:
    model, heard = around(tiny_real(), 5), list[Watched]()
    steer = igd(model, toy_influence(), 3, HOW, watch=heard.append, most=2)
    list(sample(model, PLAN, steer))
    inside = [s for s in model.sigmas(10)[:-1].tolist() if model.sigma_at(0.602) <= s <= model.sigma_at(0.929)]
    assert [w.sigma for w in heard] == pytest.approx(inside) and len(inside) == 3
    assert all((w.pushes[name] > 0).all() for w in heard for name in ("influence", "deviation"))


def test_published_sampling_remembers_the_images_made_before() -> None:
    model, memory = around(tiny_real(), 5), Memory(64)
    how = IGD(k=0, gamma=4000.0, steps=10)
    steer = igd(model, toy_influence(), 3, how, memory=memory)
    made = list(one_by_one(model, PLAN, steer, memory))
    assert [one.classes for one in made] == [(0,), (1,), (2,)] and made[1].y.tolist() == [1] * 3
    held = memory.of(2)
    assert held is not None and torch.equal(held, made[2].x)
    plain = list(one_by_one(model, PLAN, lambda denoise: denoise, Memory()))
    assert torch.equal(plain[0].x[0], made[0].x[0]) and not torch.equal(plain[0].x[1], made[0].x[1])
    (alone,) = one_by_one(model, PLAN, steer, memory, classes=[1])
    assert torch.equal(alone.x, made[1].x)


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
