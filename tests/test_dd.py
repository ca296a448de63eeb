"""DD: the gradient through every step, the plan that replays them, and what refuses to run."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import pytest
import torch

from infodistill.data import load_data
from infodistill.distillation import Distillation
from infodistill.evaluation.evaluating import evaluate
from infodistill.evaluation.protocols import PROTOCOLS, phases, protocol_for
from infodistill.information.cmi import CMI
from infodistill.information.mim import MIM
from infodistill.methods.dd import RATES, batches_of, dd, images_and_rates, rates_only, raw_rates
from infodistill.nets.convnet import convnet
from infodistill.running.checkpoint import load_checkpoint, save_checkpoint
from infodistill.sources.students import positive
from infodistill.synthetic import from_real
from infodistill.training import fit
from infodistill.unrolling.unroll import unrolled
from infodistill.weights import Weighted, whole_set
from table import NET, teachers, tiny_real
from unrolling import assert_same, by_oracle, double_net, doubled, sources

tiny = partial(dd, ipc=4, seed=5, batches=2, passes=2, rate=0.3, real_per_class=6)


def after(job: Distillation, steps: int) -> list[torch.Tensor]:
    for _ in job.run(steps):
        pass
    return [t.detach().clone() for t in job.syn.trainable()]


@pytest.mark.parametrize("nets", [1, 2])
def test_the_gradient_is_that_of_full_unrolling(nets: int) -> None:
    job = tiny(tiny_real(), double_net, nets=nets)
    syn, real = doubled(job)
    value = job.terms["match"].term(syn, real)
    assert value.dtype == torch.float64
    assert_same(value, by_oracle(job, syn, real), [job.syn.pixels, job.syn.scalars[RATES]])


def test_the_gradient_with_two_terms_at_the_same_student() -> None:
    job = tiny(tiny_real(), double_net)
    syn, real = doubled(job)
    match = job.terms["match"].term
    mim = MIM(match.looks)  # type: ignore[attr-defined]
    (source,) = sources(job)
    with source.holding():
        assert source.student(syn) is source.student(syn)
        value = match(syn, real) + 0.5 * mim(syn, real)
    source.unroll = unrolled
    wanted = by_oracle(job, syn, real) + 0.5 * mim(syn, real)
    assert_same(value, wanted, [job.syn.pixels, job.syn.scalars[RATES]])


def test_batches_are_distinct_balanced_and_replayed_in_turn() -> None:
    job = tiny(tiny_real(), NET)
    plan = job.syn.plan(job.syn)  # type: ignore[operator]
    assert [phase["steps"] for phase in plan] == [1] * 4
    assert plan[0]["rows"] == plan[2]["rows"]
    assert sorted(plan[0]["rows"] + plan[1]["rows"]) == list(range(12))
    for phase in plan[:2]:
        assert job.syn.y[phase["rows"]].bincount().tolist() == [2, 2, 2]
    assert [phase["rates"][0] for phase in plan] == pytest.approx([0.3] * 4, rel=1e-5)
    record = sources(job)[0].record(12, job.real.shape, torch.device("cpu"))
    assert [rows.tolist() for rows in record.rows] == [phase["rows"] for phase in plan]


def test_the_plan_gives_the_student_of_the_last_step() -> None:
    """What evaluation replays is what the loss was measured on."""
    job = tiny(tiny_real(), NET)
    after(job, 2)
    with torch.no_grad():
        job.syn.scalars[RATES].add_(torch.linspace(-0.2, 0.2, 4))  # rates that differ
    student = sources(job)[0].student(job.syn.batch())
    distilled, module = job.export(), NET(job.real.shape, 3)
    module.load_state_dict(student.segment.start)
    for rows, how in phases(distilled.plan, PROTOCOLS["quick"], distilled.batch()):
        fit(module, rows, how, torch.Generator())
    for name, value in module.named_parameters():
        torch.testing.assert_close(value.detach(), student.theta[name].detach(), rtol=1e-4, atol=1e-5)


def test_rates_only_is_the_same_method_on_images_that_stay() -> None:
    job = tiny(tiny_real(), NET, init=from_real, learns=rates_only)
    images = job.syn.pixels.clone()
    (rates,) = after(job, 3)
    assert torch.equal(job.syn.pixels, images)
    assert float((positive(rates) - 0.3).abs().min()) > 1e-3
    assert job.export().images_bytes == tiny(tiny_real(), NET).export().images_bytes


def test_raw_rates_read_back_and_stay_positive() -> None:
    for rate in (1e-3, 0.02, 5.0):
        assert positive(raw_rates(rate, 3)).tolist() == pytest.approx([rate] * 3, rel=1e-4)
    assert float(positive(torch.tensor(-50.0))) > 0
    with pytest.raises(ValueError, match="positive, got 0"):
        raw_rates(0.0, 2)


def test_the_number_of_batches() -> None:
    assert [batches_of(n) for n in (1, 3, 10, 12, 11, 50)] == [1, 3, 10, 6, 1, 10]
    with pytest.raises(ValueError, match="10 images per class do not divide into 4"):
        batches_of(10, 4)
    with pytest.raises(ValueError, match="at least 1 network, got 0"):
        tiny(tiny_real(), NET, nets=0)


def test_a_known_start_stays_and_random_ones_change() -> None:
    for hold, same in ((None, True), (1, False)):
        source = sources(tiny(tiny_real(), NET, hold=hold))[0].starts
        first = {name: value.clone() for name, value in source.draw().start.items()}
        source.step = 3
        assert (
            all(torch.equal(first[name], value) for name, value in source.draw().start.items() if value.std() > 0)
            is same
        )


def test_the_step_of_images_and_rates_halves() -> None:
    job = tiny(tiny_real(), NET, halve_every=2)
    schedule = job.update.schedule
    assert schedule is not None
    assert [schedule(step) for step in range(5)] == [1, 1, 0.5, 0.5, 0.25]


@pytest.mark.parametrize("nets", [1, 2])
def test_resume_is_exact(nets: int, tmp_path: Path) -> None:
    straight = after(tiny(tiny_real(), NET, nets=nets), 5)
    first, second = (tiny(tiny_real(), NET, nets=nets) for _ in range(2))
    after(first, 3)
    save_checkpoint(tmp_path / "c", first.state_dict())
    second.load_state_dict(load_checkpoint(tmp_path / "c"))
    assert all(torch.equal(a, b) for a, b in zip(after(second, 2), straight, strict=True))


def test_information_terms_move_the_set_and_vanish_with_their_weight() -> None:
    base = tiny(tiny_real(), NET)
    looks = base.terms["match"].term.looks  # type: ignore[attr-defined]
    added = {
        "cmi": Weighted(1e-30, CMI(teachers(base.real)), whole_set),
        "mim": Weighted(1e-30, MIM(looks), whole_set),
    }
    together = base.adding(**added)
    reports = list(together.run(3))
    assert all(math.isfinite(float(r.norms[name])) and float(r.norms[name]) > 0 for r in reports for name in added)
    mine = [t.detach() for t in together.syn.trainable()]
    assert all(torch.equal(a, b) for a, b in zip(mine, after(base, 3), strict=True))


def test_cmi_needs_two_images_of_a_class() -> None:
    job = tiny(tiny_real(), NET, ipc=1, batches=1)
    with pytest.raises(ValueError, match="identically zero at one image per class"):
        job.adding(cmi=Weighted(1.0, CMI(teachers(job.real)), whole_set))


def test_a_diverging_rate_stops_with_the_set_as_it_was() -> None:
    job = tiny(tiny_real(), NET, rate=1e30)
    before = job.syn.pixels.detach().clone()
    with pytest.raises(FloatingPointError, match="'match' is not finite at step 1"):
        next(iter(job.run(1)))
    assert torch.equal(job.syn.pixels, before)


@pytest.mark.slow
def test_learned_images_beat_real_images_with_rates_tuned_for_them_too() -> None:
    """Bundled digits, 1 image per class, both replayed by their own plan on three fresh networks."""
    real, net = load_data("digits"), convnet(depth=2, width=8)
    make = partial(dd, real, net, ipc=1, passes=5, rate=0.1, lr=0.03, real_per_class=32, init=from_real)
    scores: list[float] = []
    for learns in (images_and_rates, rates_only):
        job = make(learns=learns)
        after(job, 60)
        result = evaluate(job.export(), real, {"net": net}, protocol=protocol_for("dd"), seeds=range(3))
        scores.append(result.nets["net"]["distilled"].mean)
        assert result.images_bytes == 10 * 64 * 4
    assert scores[0] > scores[1] + 0.05
