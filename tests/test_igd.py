"""IGD: the published step inside DDPM, deviation against an oracle, guided sampling jointly and one by one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot, pixel_shuffle, pixel_unshuffle

from analytic import Mixture, around, model_of, two_blobs
from influences import normal, toy_influence
from infodistill.diffusion.contract import Prediction
from infodistill.diffusion.guidance import Watched
from infodistill.diffusion.igd import IGD, DeviationStep, InfluenceStep, Remembered, apart, igd, next_step, one_by_one
from infodistill.diffusion.influence import Influence
from infodistill.diffusion.memory import Memory
from infodistill.diffusion.routes import surrogate
from infodistill.diffusion.rules import Step
from infodistill.diffusion.samplers import ddpm
from infodistill.diffusion.sampling import Plan, Sampled, sample
from infodistill.types import Batch, pixel_space
from oracles import igd as oracle
from tiny_data import tiny_real

PLAN = Plan(ipc=3, seed=2, steps=10)
HOW = IGD(steps=10)


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


@dataclass(frozen=True)
class Shuffled:
    """A codec without loss: 2x2 pixels of an image are four channels of a latent."""

    def encode(self, pixels: Tensor) -> Tensor:
        return pixel_unshuffle(2 * pixels - 1, 2)

    def decode(self, latents: Tensor) -> Tensor:
        return (pixel_shuffle(latents, 2) + 1) / 2


def test_a_latent_model_is_guided_through_its_decoder() -> None:
    base, term = around(tiny_real(), 5), toy_influence()
    assert isinstance(base.denoise, Mixture)
    means = torch.stack([pixel_unshuffle(rows, 2) for rows in base.denoise.means])
    model = replace(model_of(Mixture(means, 0.02)), codec=Shuffled(), space=None)
    steers = [igd(model, term, 3, replace(HOW, k=k, gamma=0.0)) for k in (200.0, -200.0)]
    found = [cost(term, list(sample(model, PLAN, steer))) for steer in steers]
    assert found[0] < found[1]


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
