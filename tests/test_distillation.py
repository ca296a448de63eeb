"""The loop: steps, groups, weights, state, guards and the out-of-memory ladder."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor

from infodistill.compute import View
from infodistill.distillation import Distillation
from infodistill.synthetic import from_kmeans, from_noise, from_real, synthesise
from infodistill.types import Batch, Source, ValueSpace
from infodistill.updates import Update
from infodistill.weights import Ratio, Weighted, whole_set
from quadratic import Pull, Tilt, quadratic, run
from table import make, tiny_real


def test_the_loop_is_gradient_descent_on_the_weighted_sum() -> None:
    job = quadratic(a=Weighted(0.5, Pull(2.0)), b=Weighted(3.0, Tilt()))
    x = job.syn.pixels.detach().clone()
    run(job, 3)
    for _ in range(3):
        x = x - 0.1 * (0.5 * 2.0 * x + 3.0)
    torch.testing.assert_close(job.syn.pixels.detach(), x)


def test_progress_reports_raw_values_norms_and_weights() -> None:
    job = quadratic(a=Weighted(0.5, Pull()))
    x = job.syn.pixels.detach().clone()
    (progress,) = run(job, 1)
    assert float(progress.values["a"]) == pytest.approx(0.5 * float(x.square().sum()), rel=1e-5)
    assert float(progress.norms["a"]) == pytest.approx(float(x.norm()), rel=1e-5)
    assert progress.weights == {"a": 0.5}
    assert progress.loss == pytest.approx(0.5 * float(progress.values["a"]))


def test_a_weight_of_zero_skips_the_term() -> None:
    def never(syn: Batch, real: Batch) -> Tensor:
        raise AssertionError("evaluated")

    run(quadratic(a=Weighted(1.0, Pull()), b=Weighted(0.0, never), c=Weighted(lambda step: 0.0, never)), 2)
    run(quadratic(a=Weighted(1.0, Pull()), b=Weighted(Ratio(0.0), never)), 2)


def test_class_by_class_displacement_leaks_through_momentum() -> None:
    """One visit moves a class by lr g (1 - mu^K) / (1 - mu), K the updates of a round (IDC, IDM and others)."""
    job = quadratic(lr=0.01, momentum=0.5, group=1, a=Weighted(1.0, Tilt()))
    start = job.syn.pixels.detach().clone()
    run(job, 1)
    moved = (start - job.syn.pixels.detach()).unflatten(0, (3, 2)).mean((1, 2, 3, 4))
    wanted = [0.01 * (1 - 0.5**updates) / 0.5 for updates in (3, 2, 1)]
    assert moved.tolist() == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("group", [None, 2])
def test_a_ratio_holds_the_gradient_at_its_share(group: int | None) -> None:
    ratio = Ratio(0.25, every=2)
    job = quadratic(group=group, a=Weighted(2.0, Pull()), b=Weighted(ratio, Tilt(), whole_set))
    reports = run(job, 3)
    for report, due in zip(reports, (True, False, True), strict=True):
        share = report.weights["b"] * float(report.norms["b"]) / (2.0 * float(report.norms["a"]))
        assert (share == pytest.approx(0.25, rel=2e-2 if group else 1e-4)) is due


def test_group_and_joint_updates_agree_for_plain_sgd() -> None:
    joint, split = make("dm", "none"), replace(make("dm", "none"), group=1)
    for job in (joint, split):
        job.update = Update(torch.optim.SGD(job.syn.trainable(), 1.0))
        run(job, 2)
    torch.testing.assert_close(joint.syn.pixels, split.syn.pixels, rtol=1e-4, atol=1e-5)


def test_non_finite_terms_stop_the_run_by_name_and_leave_the_set() -> None:
    @dataclass(frozen=True)
    class Bad:
        def __call__(self, syn: Batch, real: Batch) -> Tensor:
            return (syn.x.sum() * 0).log()

    job = quadratic(a=Weighted(1.0, Pull()), broken=Weighted(1.0, Bad()))
    before = job.syn.pixels.detach().clone()
    with pytest.raises(FloatingPointError, match="'broken' is not finite at step 1"):
        run(job, 1)
    assert torch.equal(before, job.syn.pixels)


def test_adding_is_refused_after_the_first_step_and_for_taken_names() -> None:
    job = quadratic()
    with pytest.raises(ValueError, match="already has a term called 'pull'"):
        job.adding(pull=Weighted(1.0, Tilt()))
    run(job, 1)
    with pytest.raises(ValueError, match="at step 1"):
        job.adding(more=Weighted(1.0, Tilt()))


def test_updates_clip_schedule_and_accept() -> None:
    real = tiny_real()
    syn = synthesise(real, 1, 0, from_noise)
    sgd = torch.optim.SGD(syn.trainable(), 1.0)
    seen: list[float] = []

    def accept(values) -> bool:
        seen.append(values["a"])
        return len(seen) != 2

    update = Update(sgd, schedule=lambda step: 0.5**step, clip=2.0, accept=accept)
    job = Distillation(syn, real, {"a": Weighted(1.0, Tilt())}, update, real_per_class=2)
    moves = []
    for _ in range(3):
        start = syn.pixels.detach().clone()
        run(job, 1)
        moves.append(float((start - syn.pixels.detach()).norm()))
    assert moves == pytest.approx([2.0, 0.0, 0.5], rel=1e-4)


@dataclass
class Failing:
    """A term that runs out of memory until the policy has reached a rung."""

    inner: object
    until: object
    job: list[Distillation] = field(default_factory=list)
    additive = True

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        policy = self.job[0].policy
        if not self.until(policy):  # type: ignore[operator]
            raise torch.OutOfMemoryError("injected")
        return self.inner(syn, real)  # type: ignore[operator]


@pytest.mark.parametrize(
    "until",
    [
        lambda p: p.chunk is not None and p.chunk <= 4,
        lambda p: p.chunk == 1,
        lambda p: p.recompute,
        lambda p: p.groups >= 2,
        lambda p: p.groups >= 4,
    ],
    ids=["half the chunk", "single images", "recompute", "two groups", "four groups"],
)
@pytest.mark.parametrize("method", ["dm", "dc", "dsa"])
@pytest.mark.parametrize("term", ["none", "cmi and mim"])
def test_each_rung_of_the_memory_ladder_gives_the_same_gradient(method: str, term: str, until) -> None:
    plain, job = make(method, term), make(method, term)
    wanted = run(plain, 1)[0]
    failing = Failing(job.terms["match"].term, until)
    job.terms["match"] = Weighted(1.0, failing)  # type: ignore[arg-type]
    failing.job.append(job)
    (got,) = run(job, 1)
    assert until(job.policy)
    for name in wanted.values:
        torch.testing.assert_close(got.values[name], wanted.values[name], rtol=1e-5, atol=1e-6)
    moved = plain.syn.pixels.detach()
    torch.testing.assert_close(job.syn.pixels.detach(), moved, rtol=1e-6, atol=1e-6 * float(moved.abs().max()))


def test_the_end_of_the_ladder_raises() -> None:
    job = make("dm", "none")
    failing = Failing(job.terms["match"].term, lambda policy: False)
    job.terms["match"] = Weighted(1.0, failing)  # type: ignore[arg-type]
    failing.job.append(job)
    with pytest.raises(torch.OutOfMemoryError, match="injected"):
        run(job, 1)


@pytest.mark.parametrize("init", [from_real, from_kmeans])
def test_initial_images_are_distinct_real_images_of_their_class(init) -> None:
    real = tiny_real()
    syn = synthesise(real, 4, 3, init)
    assert torch.equal(syn.y, torch.arange(3).repeat_interleave(4))
    everything = real.rows(torch.arange(len(real)))
    for image, label in zip(syn.pixels.detach(), syn.y, strict=True):
        same = (everything.x == image).flatten(1).all(1)
        assert bool(same.any())
        assert int(everything.y[same][0]) == int(label)
    assert len(syn.pixels.detach().flatten(1).unique(dim=0)) == 12
    assert torch.equal(synthesise(real, 4, 3, init).pixels, syn.pixels)
    assert not torch.equal(synthesise(real, 4, 4, from_real).pixels, syn.pixels)


@pytest.mark.parametrize(("ipc", "message"), [(0, "at least 1"), (13, "13")])
def test_impossible_ipc_is_refused(ipc: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        synthesise(tiny_real(), ipc, 0, from_real)


def test_streams_are_stable_across_versions() -> None:
    from infodistill.seeding import key

    assert key(0, "real", 3, 1) == key(0, "real", 3, 1)
    assert key(0, "real", 31) != key(0, "real3", 1)
    assert key(1, "a") != key("1", "a")


@pytest.mark.parametrize("method", ["dm", "dsa"])
@pytest.mark.parametrize("init", [from_noise, from_real])
def test_a_set_larger_than_a_class_is_refused_whatever_it_starts_from(method: str, init) -> None:
    with pytest.raises(ValueError, match=r"at most the 12 images of the smallest class 'class0', got 13"):
        synthesise(tiny_real(), 13, 0, init)


def test_an_objective_of_ratios_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="a ratio is measured against another term"):
        quadratic(a=Weighted(Ratio(0.1), Pull()))


def test_gradient_matching_speaks_the_networks_value_space() -> None:
    job = make("dc", "none")
    looks = job.terms["match"].term.looks  # type: ignore[attr-defined]
    syn, real = job.syn.batch(), job.real.batch(0, 0, 4)
    plain = job.terms["match"].term(syn, real)
    elsewhere = ValueSpace((0.1,), (0.7,))

    nets = looks.nets

    @dataclass
    class Moved(Source[View]):
        """The same network, said to be trained in `elsewhere`, or in no space in particular."""

        space: ValueSpace | None

        def draw(self) -> View:
            return replace(nets.draw(), space=self.space)

    looks.nets = Moved(elsewhere)
    converted = job.terms["match"].term(syn, real)
    assert not torch.allclose(converted, plain)
    there = [replace(b, x=elsewhere.from_pixels(b.space.to_pixels(b.x)), space=elsewhere) for b in (syn, real)]
    looks.nets = Moved(None)
    torch.testing.assert_close(job.terms["match"].term(*there), converted, rtol=1e-4, atol=1e-4)
