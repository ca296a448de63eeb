"""FTD: the average of the images against its definition, what is exported, resume, added terms, its experts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from infodistill.augment import identity
from infodistill.descent import GSAM
from infodistill.distillation import Distillation
from infodistill.methods.ftd import Average, flat_fit, ftd
from infodistill.methods.mtt import mtt
from infodistill.nets.initialise import initialise
from infodistill.seeding import stream
from infodistill.training import fit
from infodistill.weights import Weighted
from oracles import mtt as oracle
from table import TERMS, tiny_real
from trajectories import AUGMENT, NET, Walks, after, resumed, same

SMALL = {"ipc": 2, "seed": 5, "steps": 2, "lr": 5.0, "rate": 0.05, "real_per_class": 4, "augment": AUGMENT}


def job(term: str = "none", ema: float = 0.8) -> Distillation:
    base = ftd(tiny_real(), Walks(), ema=ema, **SMALL)
    added = TERMS[term](base)
    return base.adding(**added) if added else base


def test_the_exported_images_are_the_average_of_those_after_each_update() -> None:
    run, seen = job(), []
    before = run.syn.pixels.detach().clone()
    assert torch.equal(run.export().images, before)
    for _ in run.run(5):
        seen.append(run.syn.pixels.detach().clone())
    wanted = oracle.average(seen, 0.8)
    torch.testing.assert_close(run.export().images.double(), wanted, rtol=1e-5, atol=1e-6)
    assert not torch.equal(run.export().images, seen[-1])


def test_without_memory_the_last_images_are_exported() -> None:
    run = job(ema=0.0)
    after(run, 3)
    torch.testing.assert_close(run.export().images, run.syn.pixels.detach(), rtol=1e-6, atol=1e-6)


def test_training_is_that_of_mtt() -> None:
    assert same(after(job(), 4), after(mtt(tiny_real(), Walks(), **SMALL), 4))  # type: ignore[arg-type]


def test_the_average_is_a_part_of_the_job_and_resumes_exactly(tmp_path: Path) -> None:
    assert any(isinstance(part, Average) for part in job().parts().values())
    straight, again = resumed(lambda: job("cmi and mim"), tmp_path, 3, 5)
    assert same(after(straight, 0), after(again, 0))
    assert torch.equal(straight.export().images, again.export().images)


def test_copies_have_averages_of_their_own() -> None:
    base = job()
    copy = base.adding(**TERMS["mim"](base))
    after(copy, 2)
    assert torch.equal(base.export().images, base.syn.pixels.detach())
    after(base, 3)
    alone = job()
    after(alone, 3)
    assert torch.equal(base.export().images, alone.export().images)


@pytest.mark.parametrize("term", ["cmi", "mim", "cmi and mim"])
def test_added_terms_have_gradients_and_vanishing_ones_change_no_bit(term: str) -> None:
    (progress,) = job(term).run(1)
    assert all(float(norm) > 0 for norm in progress.norms.values())
    base = job()
    faint = base.adding(**{name: Weighted(1e-30, e.term, e.sees) for name, e in TERMS[term](base).items()})
    assert same(after(faint, 4), after(base, 4))
    assert torch.equal(faint.export().images, base.export().images)


def test_a_decay_outside_its_range_is_refused() -> None:
    for decay in (1.0, -0.1):
        with pytest.raises(ValueError, match=r"in \[0, 1\), got"):
            job(ema=decay)


def test_its_experts_are_trained_by_gsam_at_a_constant_rate() -> None:
    hyper = flat_fit(3, alpha=1.0, batch=16, augment=identity())
    assert hyper.descend == GSAM(0.01, 1.0, 1.0)
    assert [hyper.decay(epoch) for epoch in range(3)] == [1.0, 1.0, 1.0]
    real, losses = tiny_real(), list[float]()
    net = NET(real.shape, real.num_classes)
    initialise(net, stream(0, "net"))
    fit(net, real, hyper, stream(0, "fit"), on_epoch=lambda _, loss: losses.append(loss))
    assert losses[-1] < losses[0]
