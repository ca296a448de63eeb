"""NCFM's updates: AdamW jointly and class by class, the falling rate, the adversary, what is stored and compiled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from infodistill.compute import Policy
from infodistill.distillation import Distillation
from infodistill.methods.ncfm import HalvedWhenStill, displacement, ncfm
from infodistill.running.checkpoint import load_checkpoint, save_checkpoint
from infodistill.sources.experts import Experts, record_experts, up_to
from infodistill.sources.frequencies import FrequencySampler, Gaussian
from infodistill.training import Fit
from infodistill.weights import Weighted
from oracles import ncfm as oracle
from rows_ncfm import made as job
from table import tiny_real
from trajectories import NET, Walks, after, same


def test_psi_moves_on_the_unweighted_term_and_comes_back_exactly(tmp_path: Path) -> None:
    def made(weight: float) -> Distillation:
        base = job(tiny_real(), frequencies=FrequencySampler(seed=5, count=8, lr=0.1))
        return replace(base, terms={"match": Weighted(weight, base.terms["match"].term)})

    def psi(run: Distillation) -> list[Tensor]:
        return [tensor.detach().clone() for tensor in run.terms["match"].term.frequencies.trainable()]  # type: ignore[attr-defined]

    once, heavy = made(1.0), made(7.0)
    after(once, 1)
    after(heavy, 1)
    assert same(psi(once), psi(heavy))
    save_checkpoint(tmp_path / "c", once.state_dict())
    again = made(1.0)
    again.load_state_dict(load_checkpoint(tmp_path / "c"))
    assert same(after(once, 3), after(again, 3)) and same(psi(once), psi(again))
    assert not same(psi(once), psi(heavy))


@pytest.mark.parametrize("updates", [1, 2, 20])
def test_displacement_is_that_of_adam_run_step_by_step(updates: int) -> None:
    assert displacement(updates) == pytest.approx(oracle.adamw_visit(updates), rel=2e-3)


def test_displacement_is_as_measured() -> None:
    found = [displacement(updates) for updates in (2, 20, 200, 400)]
    assert found == pytest.approx([1.41, 4.5, 13.5, 18.2], rel=0.01)


@pytest.mark.parametrize("classes", [2, 20])
def test_class_by_class_updates_move_the_images_further(classes: int) -> None:
    """A joint update moves a pixel by lr a round, updates class by class by about sqrt(classes) lr."""
    real, lr, rounds = tiny_real(classes, 2, 8), 1e-6, 40
    moved = {}
    for group in (None, 1):
        start = ncfm(real, Walks(classes=classes), ipc=1, factor=1, lr=lr, weight_decay=0, group=group)
        # A constant gradient: the images' sum.
        run = replace(start, terms={"sum": Weighted(1.0, lambda syn, real: syn.x.sum())})
        run.syn.project = None
        after(run, rounds - 10)
        before = run.syn.pixels.detach().double().clone()
        after(run, 10)
        moved[group] = float((before - run.syn.pixels.detach().double()).mean()) / 10 / lr
    assert moved[None] == pytest.approx(1.0, rel=0.05)
    assert moved[1] == pytest.approx(displacement(classes), rel=0.1)


def test_the_plateau_is_that_of_pytorch() -> None:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=3)
    mine, draw = HalvedWhenStill(patience=3), torch.Generator().manual_seed(0)
    for step in range(60):
        value = float(torch.rand((), generator=draw)) * 0.9 ** min(step, 20)
        optimiser.step()
        theirs.step(value)
        mine.observe({"match": value / 2, "calibration": value / 2})
        assert mine.multiplier(step) == optimiser.param_groups[0]["lr"]
    assert mine.rate < 0.1


@pytest.mark.parametrize("group", [None, 1])
def test_the_loss_is_observed_once_a_round_as_a_whole(group: int | None) -> None:
    run, seen = job(tiny_real(), group=group), list[float]()
    run.update.observe = lambda values: seen.append(values["match"])
    told = [float(progress.values["match"]) for progress in run.run(3)]
    assert seen == told


def test_a_falling_rate_is_saved(tmp_path: Path) -> None:
    def made() -> Distillation:
        return job(tiny_real(), plateau=HalvedWhenStill(patience=0))

    straight, first, again = made(), made(), made()
    after(straight, 8)
    after(first, 5)
    save_checkpoint(tmp_path / "c", first.state_dict())
    again.load_state_dict(load_checkpoint(tmp_path / "c"))
    assert same(after(again, 3), after(straight, 0))
    assert straight.update.optimizer.param_groups[0]["lr"] < 0.02


def test_stored_images_are_pixels_in_tiles() -> None:
    run = job(tiny_real(), lr=0.5)
    after(run, 3)
    assert run.syn.decoded_per_class == 8
    stored = run.syn.pixels.detach()
    assert float(stored.min()) >= 0 and float(stored.max()) <= 1
    assert len(run.export()) == 24


def test_the_images_come_closer() -> None:
    values = [float(progress.values["match"]) for progress in job(tiny_real()).run(24)]
    assert sum(values[-6:]) < 0.9 * sum(values[:6])


def test_a_small_class_bounds_the_real_images() -> None:
    assert job(tiny_real(), real_per_class=1024).real_per_class == 12
    assert job(tiny_real()).real_per_class == 6


@pytest.mark.slow
def test_compiled_networks_are_compiled_once() -> None:
    """Filled in place: a step with other weights reuses the graphs of the first."""
    from torch._dynamo.utils import counters

    run = job(tiny_real(), calibration=1.0, policy=Policy(compile=True, threads=1))
    after(run, 2)
    graphs = counters["stats"]["unique_graphs"]
    after(run, 4)
    assert counters["stats"]["unique_graphs"] == graphs > 0


def test_recorded_trainings_serve_as_pairs(tmp_path: Path) -> None:
    """Experts at epoch 0 and the last: the job finds the same ones again, and refuses others."""

    def made(seed: int) -> Distillation:
        store = record_experts(tiny_real(), NET, count=2, fit=Fit(2, 12, 0.05), cache=tmp_path, keep=(0, 2), seed=seed)
        pairs = Experts(store, span=2, window=up_to(1), seed=5)
        return ncfm(tiny_real(), pairs, ipc=2, seed=5, lr=0.02, frequencies=Gaussian(16, 5), real_per_class=6)

    straight, first, again, other = made(0), made(0), made(0), made(1)
    after(straight, 4)
    after(first, 2)
    again.load_state_dict(first.state_dict())
    assert same(after(again, 2), after(straight, 0))
    with pytest.raises(ValueError, match="matched other experts"):
        other.load_state_dict(first.state_dict())
