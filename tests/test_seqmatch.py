"""SeqMatch: what is learned when, what is frozen bit for bit, where experts start, the plan, resume, added terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from infodistill.distillation import Distillation
from infodistill.evaluation.evaluating import evaluate
from infodistill.evaluation.protocols import protocol_for
from infodistill.methods.mtt import mtt
from infodistill.methods.seqmatch import Recorded, seqmatch
from infodistill.nets.initialise import initialise
from infodistill.seeding import stream
from infodistill.sources.experts import Experts
from infodistill.sources.staged import StagedExperts, Stages, Taught
from infodistill.sources.students import Students
from infodistill.training import Fit, fit
from infodistill.weights import Ratio, Weighted, whole_set
from oracles import mtt as oracle
from table import TERMS, tiny_real
from toys import real_data
from trajectories import AUGMENT, NET, Recorder, Walks, after, resumed, same

QUICK = replace(protocol_for("seqmatch"), epochs=2, augment="none", batch=8)
SMALL = {"ipcs": (2, 1), "stage_steps": 3, "seed": 5, "steps": 2, "lr": 5.0, "rates": (0.05, 0.1), "lr_rate": 1e-3}


def job(term: str = "none", record: Recorder | None = None, **changes: object) -> Distillation:
    settings = {**SMALL, "augment": AUGMENT, "protocol": QUICK, "real_per_class": 4, **changes}
    base = seqmatch(tiny_real(), NET, record or Recorder(), **settings)  # type: ignore[arg-type]
    added = TERMS[term](base)
    return base.adding(**added) if added else base


def subsets(job: Distillation) -> tuple[Tensor, Tensor]:
    """Images of the first and the second subset, (3, 2, ...) and (3, 1, ...)."""
    images = job.syn.pixels.detach().clone().unflatten(0, (3, 3))
    return images[:, :2], images[:, 2:]


def experts(job: Distillation) -> StagedExperts:
    return job.terms["match"].term.looks.students.starts  # type: ignore[attr-defined]


def test_stages_say_what_belongs_where() -> None:
    stages = Stages((2, 1, 3), 4)
    assert [stages.at(step) for step in (0, 3, 4, 7, 8, 11, 12, 99)] == [0, 0, 1, 1, 2, 2, 2, 2]
    assert [step for step in range(30) if stages.begins(step)] == [4, 8]
    assert stages.rows(2, 0).tolist() == [0, 1, 6, 7]
    assert stages.rows(2, 1).tolist() == [0, 1, 2, 6, 7, 8]
    assert stages.rows(2, 2).tolist() == list(range(12))
    assert stages.own(1).tolist() == [False, False, True, False, False, False]
    for ipcs, steps in (((), 1), ((1, 0), 1), ((1,), 0)):
        with pytest.raises(ValueError, match="at least 1 image per class and 1 update each, got"):
            Stages(ipcs, steps)


@pytest.mark.parametrize("term", ["none", "cmi and mim", "random direction"])
def test_only_the_current_subset_and_its_rate_move_and_the_others_keep_every_bit(term: str) -> None:
    """Information terms see all images; momentum left over from the first stage would move what is frozen."""
    run = job(term)
    (one, two), rates = subsets(run), run.syn.scalars["lr"].detach().clone()
    after(run, 3)
    first, untouched = subsets(run)
    assert torch.equal(untouched, two) and bool((first != one).flatten(2).any(2).all())
    learned = run.syn.scalars["lr"].detach().clone()
    assert learned[1] == rates[1] and learned[0] != rates[0]
    after(run, 4)
    frozen, second = subsets(run)
    assert torch.equal(frozen, first) and bool((second != two).flatten(2).any(2).all())
    assert run.syn.scalars["lr"][0] == learned[0] and run.syn.scalars["lr"][1] != learned[1]


def test_without_restarts_momentum_would_move_the_frozen_images() -> None:
    """The control of the test above: it is the cleared optimiser that keeps them."""
    run = job()
    run.update.restarts = None
    after(run, 3)
    first, _ = subsets(run)
    after(run, 1)
    assert not torch.equal(subsets(run)[0], first)


@pytest.mark.parametrize("stage", [0, 1])
def test_the_gradient_is_that_of_the_subsets_so_far_with_the_earlier_ones_held_constant(stage: int) -> None:
    run = job(batch_syn=4)
    after(run, 3 * stage)
    students: Students = run.terms["match"].term.looks.students  # type: ignore[attr-defined]
    syn, segment = run.syn.batch(), students.starts.draw()
    record = students.record(len(syn), (1, 8, 8), syn.x.device)
    allowed = Stages((2, 1), 3).rows(3, stage)
    assert all(bool(torch.isin(rows, allowed).all()) for rows in record.rows)
    assert segment.end is not None
    ends = tuple({name: value.double() for name, value in end.items()} for end in (segment.start, segment.end))
    images, rates = (t.detach().double().requires_grad_() for t in (run.syn.pixels, run.syn.scalars["lr"]))
    steps = list(zip(record.rows, record.omegas, strict=True))
    net = NET((1, 8, 8), 3).double()
    wanted = oracle.loss(net, ends, images, syn.target.double(), rates[stage], steps, AUGMENT)  # type: ignore[arg-type]
    mine = run.terms["match"].term(syn, syn)
    torch.testing.assert_close(mine.double(), wanted, rtol=1e-4, atol=0)
    found, true = (torch.autograd.grad(v, over) for v, over in ((mine, run.syn.trainable()), (wanted, [images, rates])))
    own = Stages((2, 1), 3).own(stage).repeat(3)
    assert float(found[0][~own].abs().max()) == 0.0 and float(found[0][own].norm()) > 0
    assert float((found[0][own] - true[0][own]).norm()) < 2e-3 * float(true[0][own].norm())
    torch.testing.assert_close(found[1].double(), true[1], rtol=2e-3, atol=1e-6)


def test_one_stage_is_mtt() -> None:
    run = job(ipcs=(3,), rates=(0.05,))
    plain = {name: SMALL[name] for name in ("seed", "steps", "lr", "lr_rate")}
    other = mtt(tiny_real(), Walks(), ipc=3, rate=0.05, augment=AUGMENT, real_per_class=4, **plain)  # type: ignore[arg-type]
    images, rates = after(run, 4)
    assert same([images, rates[0]], after(other, 4))


def test_experts_start_from_networks_trained_stage_by_stage_on_the_frozen_images() -> None:
    record = Recorder()
    run = job(record=record, ipcs=(1, 1, 1))
    after(run, 6)
    assert [stage for stage, _ in record.asked] == [0, 1]
    after(run, 1)
    assert [stage for stage, _ in record.asked] == [0, 1, 2] and record.asked[0][1] == ""
    assert record.starts[0] is None and record.starts[2] is not None
    batch, rates = run.syn.batch().detach(), run.syn.scalars["lr"].detach().tolist()
    for expert in (0, 1):
        net = NET((1, 8, 8), 3)
        initialise(net, stream(5, "staged.start", expert))
        for phase, rows in enumerate(([0, 3, 6], [0, 1, 3, 4, 6, 7])):
            how = QUICK.fit(lr=rates[phase])
            fit(net, batch.rows(torch.tensor(rows)), how, stream(5, "staged.start.train", expert, phase))
        start: Mapping[str, Tensor] = record.starts[2](expert)  # type: ignore[misc]
        assert all(torch.equal(value, start[name]) for name, value in net.named_parameters())


def test_the_origin_names_the_frozen_images_and_nothing_else() -> None:
    def origin(**changes: object) -> str:
        record = Recorder()
        after(job(record=record, **changes), 4)
        return record.asked[1][1]

    assert origin() == origin() == origin(batch_syn=None)
    assert len({origin(), origin(lr=4.0), origin(protocol=replace(QUICK, epochs=1))}) == 3


@pytest.mark.parametrize("stop", [2, 3, 4])
def test_resume_is_exact_within_at_and_after_the_end_of_a_stage(stop: int, tmp_path: Path) -> None:
    records: list[Recorder] = []

    def make() -> Distillation:
        records.append(Recorder())
        return job("cmi and mim", records[-1])

    straight, again = resumed(make, tmp_path, stop, 6)
    assert same(after(straight, 0), after(again, 0))
    assert records[2].asked[-1] == records[0].asked[-1]
    assert [stage for stage, _ in records[2].asked] == ([0, 1] if stop < 3 else [1])  # a stage that is over is not made


def test_the_experts_of_the_saved_stage_have_to_be_the_same(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    class Strict(Walks):
        def load_state_dict(self, state: dict[str, Any]) -> None:
            seen.append(state)
            super().load_state_dict(state)

    def make() -> Distillation:
        return seqmatch(tiny_real(), NET, lambda s, start, o: Strict(start=start), protocol=QUICK, **SMALL)  # type: ignore[arg-type]

    resumed(make, tmp_path, 4, 5)
    assert [state["step"] for state in seen] == [3]  # drawn from last in the step that was counted as the fourth


@pytest.mark.parametrize("term", ["cmi", "mim", "cmi and mim"])
def test_added_terms_have_gradients_in_both_stages_and_vanishing_ones_change_no_bit(term: str) -> None:
    run = job(term)
    for progress in run.run(5):
        assert all(float(norm) > 0 for norm in progress.norms.values())
    base = job()
    faint = base.adding(**{name: Weighted(1e-30, e.term, e.sees) for name, e in TERMS[term](base).items()})
    # A pixel that is exactly 0 and in no batch of the student shows even a weight of 1e-30.
    seen, wanted = ([t.masked_fill(t.abs() < 1e-25, 0) for t in after(run, 5)] for run in (faint, base))
    assert same(seen, wanted)


def test_a_ratio_is_measured_in_the_second_stage_too() -> None:
    base = job()
    run = base.adding(mim=Weighted(Ratio(0.1, every=1), TERMS["mim"](base)["mim"].term, whole_set))
    for progress in run.run(5):
        norms, weights = progress.norms, progress.weights
        assert weights["mim"] * float(norms["mim"]) == pytest.approx(0.1 * float(norms["match"]), rel=1e-3)


def test_the_plan_replays_the_stages_that_were_made() -> None:
    run = job()
    for step, stages in ((0, 1), (3, 1), (4, 2), (6, 2)):
        after(run, step - run.step)
        made, rates = run.export(), run.syn.scalars["lr"].detach().tolist()
        rows = [[0, 1, 3, 4, 6, 7], list(range(9))][:stages]
        assert [phase["rows"] for phase in made.plan] == rows
        assert [phase["rates"] for phase in made.plan] == rates[:stages]
        assert torch.equal(made.images, run.syn.pixels.detach()) and not made.factors


def test_evaluation_trains_on_the_stages_in_turn() -> None:
    real, seen = real_data(per_class=6), list[tuple[str, int, int]]()
    run = seqmatch(real, NET, Recorder(), protocol=QUICK, **SMALL)  # type: ignore[arg-type]
    after(run, 4)
    made = run.export(protocol=QUICK.as_dict())
    evaluate(made, real, {"net": NET}, seeds=[0], random_subsets=1, progress=lambda *told: seen.append(told))
    each = QUICK.epochs + QUICK.extra_passes
    assert [done for what, done, total in seen if total == 2 * each] == list(range(1, 2 * each + 1))


def test_recorded_experts_start_where_they_are_told_and_are_found_again(tmp_path: Path) -> None:
    real, told = tiny_real(), list[int]()
    record = Recorded(
        real, NET, Fit(4, 12), Fit(3, 12), tmp_path, ((0, 4), (0, 3)), 1, 2, progress=lambda *t: told.append(t[1])
    )

    def make() -> Distillation:
        return seqmatch(real, NET, record, protocol=QUICK, augment=AUGMENT, **{**SMALL, "lr_rate": 1e-8})  # type: ignore[arg-type]

    straight, again = resumed(make, tmp_path, 4, 5)
    assert same(after(straight, 0), after(again, 0))
    assert len(list((tmp_path / "experts").iterdir())) == 2  # one of each stage, found by three jobs
    assert told == [1, 2, 3, 4, 5, 6, 1, 2, 3, 4]  # epochs: two experts of 3, then two of 2, for three jobs
    source = experts(straight)
    assert source._now is not None and isinstance(source._now.segments, Experts)
    store, before = source._now.segments.store, source.before
    assert store.epochs == (0, 1, 2)
    start = Taught(NET, before.trainings(1), 5, straight.policy)
    for expert in range(2):
        assert same(list(store.parameters(expert, 0).values()), list(start(expert).values()))
