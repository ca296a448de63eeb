"""Label distillation: the carried model and its curriculum, and what the jobs of both forms do."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from infodistill.augment import identity
from infodistill.compute.views import View
from infodistill.data import load_data
from infodistill.descent import adam
from infodistill.distillation import Distillation
from infodistill.evaluation.protocol import phases
from infodistill.evaluation.protocols import PROTOCOLS
from infodistill.information.cmi import CMI
from infodistill.information.mim import MIM
from infodistill.looks import Looks
from infodistill.methods.ld import inner_batch, ld
from infodistill.methods.ld_ridge import ld_ridge
from infodistill.nets.convnet import convnet
from infodistill.nets.initialise import initialise
from infodistill.running.checkpoint import load_checkpoint, save_checkpoint
from infodistill.seeding import stream
from infodistill.sources.carried import Curriculum
from infodistill.sources.rolling import Rolling
from infodistill.training import Fit, accuracy, fit
from infodistill.types import Batch
from infodistill.weights import Weighted
from ldjobs import Make, after, carried, small
from table import NET, teachers
from toys import Affine


def test_the_curriculum_notes_the_minimum_and_starts_anew() -> None:
    rule = Curriculum(window=2, patience=3)
    assert rule.budget() == 1
    errors = [5.0, 4.0, 2.0, 2.0, 3.0, 3.0, 3.0]  # means 4.5, 3, 2 (at 3), 2.5, 3, 3
    assert [rule.done(error, age) for age, error in enumerate(errors)] == [False] * 6 + [True]
    assert rule.budget() == 3
    rule.restart()
    assert (rule.noted, rule.recent, rule.best, rule.best_at) == ([3], [], None, 0)
    rule.noted = [100, 10, 20, 33]
    assert rule.budget() == 21
    with pytest.raises(ValueError, match="window and patience"):
        Curriculum(0)


def test_the_carried_model_takes_one_adam_step_on_the_rows_of_the_lookahead() -> None:
    job = small(ld, Affine, lr_net=0.02, patience=50)
    model, twin = carried(job), copy.deepcopy(carried(job).module).requires_grad_(True)
    optimiser = torch.optim.Adam(twin.parameters(), 0.02)
    students = job.terms["match"].term.students  # type: ignore[attr-defined]
    for _ in range(3):
        syn = job.syn.batch().detach()
        rows = model.rows(6)
        assert len(rows.unique()) == 4
        assert torch.equal(students.record(6, (1, 8, 8), rows.device).rows[0], rows)
        next(job.run(1))
        syn = job.syn.batch().detach()  # with the new labels
        loss = -(syn.target[rows] * twin(syn.x[rows]).log_softmax(1)).sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        for mine, theirs in zip(model.module.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_a_drawn_start_is_a_copy_that_no_later_step_changes() -> None:
    job = small(ld)
    start = carried(job).draw().start
    kept = {name: value.clone() for name, value in start.items()}
    after(job, 2)
    assert all(torch.equal(start[name], kept[name]) for name in kept)
    assert any(not torch.equal(start[name], value) for name, value in carried(job).draw().start.items())


quick_ridge = partial(ld_ridge, keep=0.5)
"""With a head that forgets fast, models are replaced within a few steps."""


@pytest.mark.parametrize("make", [ld, quick_ridge])
def test_models_are_replaced_and_the_plan_follows_the_curriculum(make: Make) -> None:
    job = small(make, lr_net=0.1)
    pixels = job.syn.pixels.clone()
    after(job, 40)
    model = carried(job)
    assert model.models == len(model.curriculum.noted) + 1 > 1
    ((_, how),) = phases(job.export().plan, PROTOCOLS["ld"], job.syn.batch().detach())
    assert (how.batch, how.lr) == (4, 1e-3)
    assert 0 <= 2 * how.epochs - model.curriculum.budget() <= 1  # six rows in fours: two steps a pass
    assert torch.equal(job.syn.pixels, pixels)
    labels = job.syn.batch().target.detach()
    assert float(labels.min()) >= 0
    torch.testing.assert_close(labels.sum(1), torch.ones(6))
    assert not torch.equal(labels, small(make).syn.batch().target)


CELLS = [(ld, "none"), (ld, "cmi"), (ld, "mim"), (quick_ridge, "none"), (quick_ridge, "cmi")]


def cell(make: Make, added: str) -> Distillation:
    job = small(make, lr_net=0.1, window=2, patience=1)
    if added == "none":
        return job
    term = CMI(teachers(job.real)) if added == "cmi" else MIM(job.terms["match"].term.looks)  # type: ignore[attr-defined]
    return job.adding(extra=Weighted(0.5, term))


@pytest.mark.parametrize(("make", "added"), CELLS)
def test_resume_equals_never_having_stopped(make: Make, added: str, tmp_path: Path) -> None:
    straight = after(cell(make, added), 19)
    first, second = cell(make, added), cell(make, added)
    after(first, 11)
    save_checkpoint(tmp_path / "c", first.state_dict())
    second.load_state_dict(load_checkpoint(tmp_path / "c"))
    for mine, theirs in zip(after(second, 8), straight, strict=True):
        assert torch.equal(mine, theirs)
    assert carried(second).models > 1


@pytest.mark.parametrize(("make", "added"), CELLS)
def test_every_term_reaches_the_labels_at_one_image_per_class_too(make: Make, added: str) -> None:
    for ipc in (1, 2):
        job = small(make, ipc=ipc)
        if added != "none":
            term = CMI(teachers(job.real)) if added == "cmi" else MIM(job.terms["match"].term.looks)  # type: ignore[attr-defined]
            job = job.adding(extra=Weighted(0.5, term))
        (progress,) = job.run(1)
        assert all(float(norm) > 0 for norm in progress.norms.values())


def test_mim_refuses_fixed_images_seen_by_a_network_that_ignores_the_labels() -> None:
    job = small(ld_ridge)
    assert not hasattr(job.terms["match"].term, "looks")
    looks = Looks(Rolling(NET, (1, 8, 8), 3, seed=1), identity(), 1)
    with pytest.raises(ValueError, match="MIM has no gradient here: the images are fixed"):
        job.adding(mim=Weighted(0.8, MIM(looks)))


def test_the_published_inner_batches() -> None:
    assert [inner_batch(n) for n in (10, 20, 50, 100, 500)] == [10, 10, 25, 50, 50]


@pytest.mark.slow
def test_learned_labels_beat_one_hot_labels_of_the_same_images() -> None:
    """Digits, one image per class: 0.68 with learned labels, 0.63 with one-hot ones, when this was written."""
    real, net = load_data("digits"), convnet(depth=2, width=16)
    job = ld(real, net, ipc=1, seed=1, real_per_class=10)
    hard = replace(job.syn.batch().detach(), target=job.syn.batch().target.detach().clone())
    after(job, 300)
    (phase,), how = job.export().plan, Fit(1, 10, 1e-3, optimiser=adam)

    def score(batch: Batch, seed: int) -> float:
        module = net(real.shape, 10)
        initialise(module, stream(seed, "score"))
        fit(module, batch, replace(how, epochs=phase["epochs"]), stream(seed, "score.train"))
        return accuracy(View.own(module), real.test)  # type: ignore[arg-type]

    gains = [score(job.syn.batch().detach(), seed) - score(hard, seed) for seed in range(4)]
    assert sum(gains) / len(gains) > 0.02
