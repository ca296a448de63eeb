"""Samplers of diffusion models: step by step those of diffusers, and their own laws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from analytic import Mixture
from infodistill.diffusion import samplers
from infodistill.diffusion.contract import Prediction
from infodistill.diffusion.samplers import Frame, Sampler, ddim, ddpm, dpm_solver, keyed_noise
from infodistill.diffusion.schedules import cosine_alphas_bar, linear_alphas_bar, respaced, sigmas_of
from infodistill.seeding import stream
from oracles.diffusion import eps_model, impulses, in_z

diffusers = pytest.importorskip("diffusers")

SHAPE = (2, 3, 3)
Y = torch.tensor([0, 0, 1, 1, 2])
TABLES = {"linear": linear_alphas_bar, "squaredcos_cap_v2": cosine_alphas_bar}


def mixture() -> Mixture:
    return Mixture(torch.randn(3, 4, *SHAPE, generator=stream(0, "means"), dtype=torch.float64), 0.05)


def noise(step: int) -> Tensor:
    return torch.randn(len(Y), *SHAPE, generator=stream(0, "noise", step), dtype=torch.float64)


def theirs(kind: str, table: str, **settings: Any) -> Any:
    """A scheduler of diffusers that neither clips nor rounds its table to float32."""
    extra = {} if kind == "DPMSolverMultistepScheduler" else {"clip_sample": False}
    scheduler = getattr(diffusers, kind)(beta_schedule=table, beta_start=1e-4, beta_end=0.02, **extra, **settings)
    mine = TABLES[table]()
    assert torch.allclose(scheduler.alphas_cumprod.double(), mine, rtol=2e-3 if "cos" in table else 1e-4, atol=1e-9)
    scheduler.alphas_cumprod = mine
    if kind == "DDIMScheduler":
        scheduler.final_alpha_cumprod = torch.ones((), dtype=torch.float64)
    return scheduler


def levels(scheduler: Any) -> Tensor:
    """The sigmas of the levels a scheduler visits, and 0."""
    sigmas = sigmas_of(scheduler.alphas_cumprod)[scheduler.timesteps]
    return torch.cat([sigmas, sigmas.new_zeros(1)])


def same_path(frames: list[Frame], scheduler: Any, answer: Callable[[Tensor, Tensor], Tensor], **step: Any) -> None:
    z = noise(0)
    assert len(frames) == len(scheduler.timesteps)
    for k, (frame, t) in enumerate(zip(frames, scheduler.timesteps, strict=True), 1):
        options = {"variance_noise": noise(k)} if step.get("eta") else dict[str, Any]()
        if isinstance(scheduler, diffusers.DDPMScheduler):
            options = {"generator": stream(0, "noise", k)}
        told = scheduler.step(answer(z, scheduler.alphas_cumprod[t]), t, z, **step, **options)
        z = told.prev_sample
        assert (in_z(frame.x, frame.sigma) - z).abs().max() <= 1e-5, f"step {k} of {len(frames)}"


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("eta", [0.0, 1.0, 0.4])
def test_ddim_is_that_of_diffusers(table: str, eta: float) -> None:
    scheduler = theirs("DDIMScheduler", table)
    scheduler.set_timesteps(50)
    frames = list(ddim(mixture(), levels(scheduler), Y, noise, eta=eta))
    same_path(frames, scheduler, eps_model(mixture(), Y), eta=eta)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(("kind", "variance"), [("fixed_small", samplers.posterior), ("fixed_large", samplers.beta)])
def test_ddpm_is_that_of_diffusers(table: str, kind: str, variance: samplers.Variance) -> None:
    scheduler = theirs("DDPMScheduler", table, variance_type=kind)
    scheduler.set_timesteps(40)
    frames = list(ddpm(mixture(), levels(scheduler), Y, noise, variance=variance))
    same_path(frames, scheduler, eps_model(mixture(), Y))


@pytest.mark.parametrize("table", TABLES)
def test_a_learned_range_is_read_as_diffusers_reads_it(table: str) -> None:
    def spread(z: Tensor) -> Tensor:
        return 0.5 + 0.5 * (3 * z).sin()

    def told(x: Tensor, sigma: Tensor, y: Tensor) -> Prediction:
        return Prediction(mixture()(x, sigma, y).x0, spread(in_z(x, float(sigma[0]))))

    def answer(z: Tensor, abar: Tensor) -> Tensor:
        return torch.cat([eps_model(mixture(), Y)(z, abar), 2 * spread(z) - 1], 1)

    scheduler = theirs("DDPMScheduler", table, variance_type="learned_range")
    scheduler.set_timesteps(timesteps=list(range(999, -1, -37)))
    assert int(scheduler.timesteps[-1]) == 0
    frames = list(ddpm(told, levels(scheduler), Y, noise, variance=samplers.learned))
    same_path(frames, scheduler, answer)
    fixed = list(ddpm(mixture(), levels(scheduler), Y, noise, variance=samplers.learned))
    plain = list(ddpm(mixture(), levels(scheduler), Y, noise))
    assert torch.equal(fixed[-1].x, plain[-1].x)  # a model that says nothing


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("steps", [5, 14, 25])
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers with numpy 2
def test_dpm_solver_is_that_of_diffusers_at_its_defaults(table: str, steps: int) -> None:
    """First and last step of first order: so are theirs, which end at sigma 0 whatever the number of steps."""
    scheduler = theirs("DPMSolverMultistepScheduler", table, algorithm_type="dpmsolver++", solver_order=2)
    scheduler.set_timesteps(steps)
    scheduler.sigmas = levels(scheduler)
    frames = list(dpm_solver(mixture(), levels(scheduler), Y, noise))
    same_path(frames, scheduler, eps_model(mixture(), Y))


@pytest.mark.parametrize(("total", "steps"), [(1000, 50), (1000, 250), (1000, 7), (1000, 1000), (64, 10)])
def test_respacing_is_improved_ddpms(total: int, steps: int) -> None:
    """One section: entries round(i (T - 1) / (steps - 1)), the stride added up as its authors do."""
    at, wanted = 0.0, list[int]()
    for _ in range(steps):
        wanted.append(round(at))
        at += (total - 1) / (steps - 1)
    table = linear_alphas_bar(total)
    expected = sigmas_of(table)[wanted].flip(0)
    found = respaced(table, steps)
    assert torch.equal(found[:-1], expected)
    assert found.dtype == torch.float64 and float(found[-1]) == 0
    if (total, steps) == (1000, 50):
        assert wanted == [round(i * 999 / 49) for i in range(50)]


def test_respacing_visits_the_levels_of_diffusers_linspace() -> None:
    scheduler = theirs("DDIMScheduler", "linear", timestep_spacing="linspace")
    scheduler.set_timesteps(50)
    assert torch.equal(levels(scheduler), respaced(linear_alphas_bar(), 50))


SAMPLERS: dict[str, Sampler] = {
    "ddpm": ddpm,
    "ddpm-beta": lambda *a: ddpm(*a, variance=samplers.beta),
    "ddim": ddim,
    "ddim-half": lambda *a: ddim(*a, eta=0.5),
    "dpm": dpm_solver,
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_gaussian_prior_comes_out_with_its_mean_and_std(name: str) -> None:
    prior = Mixture(torch.full((1, 1, 1, 1, 1), 0.3, dtype=torch.float64), 0.25)
    fine, coarse = (impulses(prior, SAMPLERS[name], respaced(linear_alphas_bar(), steps)) for steps in (1000, 50))
    assert abs(fine[0] - 0.3) < 0.003 and abs(fine[1] - 0.5) < 0.005
    # Fifty steps spread too little (first order) or too much (second) by up to a ninth; twenty times as many heal it.
    assert abs(coarse[0] - 0.3) < 0.01 and 10 * abs(fine[1] - 0.5) < abs(coarse[1] - 0.5) < 0.06


def test_chains_drawn_have_the_law_impulses_say() -> None:
    prior = Mixture(torch.full((1, 1, 1, 1, 1), 0.3), 0.25)
    sigmas, y = respaced(linear_alphas_bar(), 20), torch.zeros(20_000, dtype=torch.int64)
    *_, last = ddpm(prior, sigmas, y, lambda step: torch.randn(20_000, 1, 1, 1, generator=stream(1, "drawn", step)))
    mean, std = impulses(Mixture(prior.means.double(), 0.25), ddpm, sigmas)
    assert abs(last.x.mean() - mean) < 0.012 and abs(last.x.std() - std) < 0.01


def test_frames_tell_the_levels_walked_down_and_what_was_predicted() -> None:
    sigmas = respaced(cosine_alphas_bar(), 6)
    for sampler in SAMPLERS.values():
        frames = list(sampler(mixture(), sigmas, Y, noise))
        assert [frame.step for frame in frames] == [1, 2, 3, 4, 5, 6]
        assert [frame.sigma for frame in frames] == sigmas[1:].tolist()
        assert torch.allclose(frames[-1].x, frames[-1].x0, atol=1e-12)  # the last step ends at the prediction


def test_a_sampler_draws_noise_by_step_and_only_where_it_adds_some() -> None:
    asked = list[int]()

    def counted(step: int) -> Tensor:
        asked.append(step)
        return noise(step)

    wanted = {"ddpm": [0, 1, 2, 3], "ddim": [0], "ddim-half": [0, 1, 2, 3], "dpm": [0]}
    for name, steps in wanted.items():
        asked.clear()
        list(SAMPLERS[name](mixture(), respaced(linear_alphas_bar(), 4), Y, counted))
        assert asked == [step for step in steps if step < 4], name


def test_noise_belongs_to_the_image() -> None:
    both = keyed_noise(3, torch.tensor([4, 4, 7]), torch.tensor([0, 1, 0]), SHAPE)
    alone = keyed_noise(3, torch.tensor([7, 4]), torch.tensor([0, 1]), SHAPE)
    for step in (0, 5):
        assert torch.equal(both(step)[[2, 1]], alone(step))
    first = both(0)
    assert len({float(value) for value in torch.cat([first, both(1)]).flatten(1)[:, 0]}) == 6
    assert not torch.equal(first, keyed_noise(4, torch.tensor([4, 4, 7]), torch.tensor([0, 1, 0]), SHAPE)(0))
