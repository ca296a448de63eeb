"""MTT and TESLA: the loss and its gradient against autograd in float64, the learned rate, resume, added terms."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from infodistill.augment import identity
from infodistill.compute import View
from infodistill.distillation import Distillation
from infodistill.information.cmi import CMI
from infodistill.information.mim import MIM
from infodistill.methods.mtt import LEAST_RATE, TrajectoryMatching, mtt, trajectory_distance
from infodistill.methods.tesla import tesla
from infodistill.running.state import find_parts
from infodistill.sources.segments import FreshStarts
from infodistill.sources.students import Rates, StudentLooks, Students, shuffled_chunks
from infodistill.types import Batch, pixel_space
from infodistill.unrolling.unroll import sweep, unrolled
from infodistill.weights import Weighted, whole_set
from oracles import mtt as oracle
from table import teachers, tiny_real
from trajectories import AUGMENT, NET, Walks, after, resumed, same

SMALL = {"ipc": 3, "seed": 5, "steps": 3, "batch_syn": 5, "lr": 5.0, "rate": 0.05, "real_per_class": 4}


def job(method=mtt, experts: Walks | None = None, **changes: object) -> Distillation:
    return method(tiny_real(), experts or Walks(), **{"augment": AUGMENT, **SMALL, **changes})


def with_terms(base: Distillation, weight: float = 1.0) -> Distillation:
    looks = base.terms["match"].term.looks  # type: ignore[attr-defined]
    mim, cmi = Weighted(0.8 * weight, MIM(looks), whole_set), Weighted(50 * weight, CMI(teachers(base.real)), whole_set)
    return base.adding(mim=mim, cmi=cmi)


def problem() -> tuple[Students, Batch, Tensor]:
    """Students of soft-labelled images in float64, from a walk in float64."""
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(7, 1, 8, 8, generator=draw, dtype=torch.float64).requires_grad_()
    target = torch.randn(7, 3, generator=draw, dtype=torch.float64).softmax(1)
    rate = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    walks = Walks(lambda shape, classes: NET(shape, classes).double())
    students = Students(walks, Rates(rate), 4, shuffled_chunks(3), AUGMENT, seed=2)
    return students, Batch(x, target.argmax(1), target, pixel_space(1)), rate


def test_the_loss_and_its_gradient_are_those_of_plain_autograd() -> None:
    students, syn, rate = problem()
    mine = TrajectoryMatching(StudentLooks(students))(syn, syn)
    segment, record = students.starts.draw(), students.record(7, (1, 8, 8), syn.x.device)
    assert segment.end is not None
    ends, steps = (segment.start, segment.end), list(zip(record.rows, record.omegas, strict=True))
    wanted = oracle.loss(segment.module, ends, syn.x, syn.target, rate, steps, AUGMENT)
    torch.testing.assert_close(mine, wanted, rtol=1e-11, atol=0)
    pairs = (torch.autograd.grad(value, [syn.x, rate]) for value in (mine, wanted))
    for found, true in zip(*pairs, strict=True):
        assert float(true.norm()) > 0
        assert float((found - true).norm()) < 1e-10 * float(true.norm())


def test_a_student_at_rest_has_loss_one_and_one_that_arrives_has_loss_zero() -> None:
    (progress,) = job(rate=0.0).run(1)
    assert float(progress.values["match"]) == 1.0
    segment = Walks().draw()
    assert segment.end is not None
    assert float(trajectory_distance(segment.end, segment.start, segment.end)) == 0.0


def test_an_expert_that_does_not_move_is_refused() -> None:
    """What aliased snapshots look like: all epochs are the same parameters."""
    with pytest.raises(ValueError, match="did not move between the ends of a segment"):
        next(job(experts=Walks(size=0.0)).run(1))


def test_segments_without_an_end_are_refused() -> None:
    with pytest.raises(ValueError, match="needs segments of experts, not fresh networks"):
        next(job(experts=FreshStarts(NET, (1, 8, 8), 3, seed=0)).run(1))  # type: ignore[arg-type]


def test_the_rate_is_learned_stays_positive_and_is_the_plan() -> None:
    run = job(lr_rate=1e-3)
    after(run, 3)
    learned = float(run.syn.scalars["lr"].detach())
    assert learned != 0.05
    assert run.export().plan == ({"rows": None, "rates": learned, "epochs": None},)
    assert float(run.export().scalars["lr"]) == learned


def test_a_rate_that_diverges_stops_the_run_with_the_last_set_kept() -> None:
    wild = job(lr_rate=1e6)
    with pytest.raises(FloatingPointError, match="learned rate fell to 1e-06, its floor"):
        after(wild, 20)
    assert wild.step >= 1
    assert float(wild.syn.scalars["lr"].detach()) >= LEAST_RATE * 0.999
    assert bool(torch.isfinite(wild.syn.pixels).all())


def test_the_images_come_closer_to_the_experts() -> None:
    run = job(steps=6, batch_syn=None, lr=20.0, rate=0.02)
    values = [float(progress.values["match"]) for progress in run.run(12)]
    assert sum(values[-4:]) < sum(values[:4])


@pytest.mark.parametrize("method", [mtt, tesla])
def test_resume_is_exact(method, tmp_path: Path) -> None:
    straight, again = resumed(lambda: with_terms(job(method)), tmp_path, 3, 5)
    assert same(after(again, 0), after(straight, 0))
    assert straight.step == again.step == 5
    assert any(isinstance(part, Walks) for part in find_parts(straight.terms).values())


def test_added_terms_have_gradients_and_vanishing_ones_change_no_bit() -> None:
    (progress,) = with_terms(job()).run(1)
    assert all(float(norm) > 0 for norm in progress.norms.values()) and len(progress.norms) == 3
    assert same(after(with_terms(job(), 1e-30), 4), after(job(), 4))
    assert not same(after(with_terms(job()), 4), after(job(), 4))


def test_mim_compares_the_student_with_the_end_of_the_expert() -> None:
    run = job()
    term = run.terms["match"].term
    syn, real = run.syn.batch(), run.real.batch(0, 0, 4)
    students: Students = term.looks.students  # type: ignore[attr-defined]
    with students.holding():
        look = term.looks.look(syn, real)  # type: ignore[attr-defined]
        student = students.student(syn)
        segment = students.starts.draw()
        assert segment.end is not None
        end = View(segment.module, segment.end, space=segment.space)
        torch.testing.assert_close(look.real((-1,))[0], end.features(real.x, real.space)[0], rtol=0, atol=0)
        wanted = View(segment.module, student.theta).features(syn.x, syn.space)[0]
        torch.testing.assert_close(look.syn((-1,))[0], wanted, rtol=0, atol=0)


def test_one_student_is_trained_a_step_however_many_terms_look(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(*args: object) -> dict[str, Tensor]:
        calls.append(1)
        return sweep(*args)  # type: ignore[arg-type]

    after(with_terms(job(unroll=counted)), 3)
    assert len(calls) == 3


def test_tesla_has_the_value_of_mtt_and_another_gradient() -> None:
    exact, kept, short = (next(j.run(1)) for j in (job(), job(unroll=unrolled), job(tesla)))
    assert float(exact.values["match"]) == float(short.values["match"])
    torch.testing.assert_close(exact.norms["match"], kept.norms["match"], rtol=1e-4, atol=0)
    assert float(abs(exact.norms["match"] - short.norms["match"])) > 1e-3 * float(exact.norms["match"])


def test_tesla_of_one_step_is_exact() -> None:
    """With one step there is no path through earlier batches to drop."""
    exact, short = (job(method, steps=1, augment=identity()) for method in (mtt, tesla))
    for a, b in zip(after(exact, 1), after(short, 1), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
