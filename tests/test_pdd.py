"""PDD: what is learned when, what is frozen bit for bit, what is in the batch, trained networks, the plan, resume."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from infodistill.augment import dsa, identity
from infodistill.distillation import Distillation
from infodistill.evaluation.evaluating import evaluate
from infodistill.methods.dc import dc
from infodistill.methods.dm import dm
from infodistill.methods.idc import idc
from infodistill.methods.idm import idm
from infodistill.methods.pdd import pdd
from infodistill.nets.initialise import initialise
from infodistill.seeding import stream
from infodistill.sources.rolling import Rolling
from infodistill.sources.transitions import Reused
from infodistill.storage.decoders import Clamped
from infodistill.training import fit
from infodistill.types import Batch
from infodistill.updates import Update
from infodistill.weights import Weighted, whole_set
from oracles import pdd as oracle
from rows_pdd import NET, SMALL
from table import TERMS, tiny_real
from toys import real_data
from trajectories import after, resumed, same

STAGED = {name: SMALL[name] for name in ("ipcs", "stage_steps", "seed", "protocol", "transition", "stage_epochs")}
HOSTED = {name: value for name, value in SMALL.items() if name not in {*STAGED}}
PLAIN: dict[str, Any] = {**STAGED, "real_per_class": 4, "augment": dsa("color_crop")}


def job(term: str = "none", **changes: object) -> Distillation:
    base = pdd(tiny_real(), NET, **{**SMALL, **changes})  # type: ignore[arg-type]
    added = TERMS[term](base)
    return base.adding(**added) if added else base


def on_dm() -> Distillation:
    return pdd(tiny_real(), NET, host=dm, lr=5.0, **PLAIN)


def on_dc() -> Distillation:
    return pdd(tiny_real(), NET, host=partial(dc, outer=2, inner_epochs=1), lr=5.0, **PLAIN)


def subsets(job: Distillation) -> list[Tensor]:
    """The stored images of every subset, (classes, its ipc, ...)."""
    return list(job.syn.pixels.detach().clone().unflatten(0, (3, 3)).split((1, 1, 1), 1))


def nets(job: Distillation) -> Rolling:
    return job.terms["match"].term.looks.nets  # type: ignore[attr-defined]


MAKES = {
    "alone": job,
    "class by class": partial(job, group=1),
    "clamped late": partial(job, clamp_every=3, lr=20.0),
    "class by class, with terms": partial(job, "cmi and mim", group=1),
    "a random direction": partial(job, "random direction"),
    "on dm": on_dm,
    "on dc": on_dc,
}


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES.keys())
def test_only_the_newest_subset_moves_and_the_others_keep_every_bit(make: Any) -> None:
    """Through momentum, clamps and the gradients of added terms; what has not begun is what it started as."""
    run, before = make(), subsets(make())
    for stage in range(3):
        after(run, 2)
        now = subsets(run)
        for k in range(3):
            moved = (now[k] != before[k]).flatten(2).any(2)
            assert bool(moved.all()) if k == stage else not bool(moved.any())
        before = now


@pytest.mark.parametrize("group", [None, 1])
def test_without_restarts_momentum_would_move_the_frozen_images(group: int | None) -> None:
    run = job(group=group)
    run.update.restarts = None
    after(run, 2)
    first = subsets(run)[0]
    after(run, 1)
    assert not torch.equal(subsets(run)[0], first)


def test_without_its_wrapper_the_clamp_would_move_the_frozen_images() -> None:
    run = job(clamp_every=3, lr=20.0)
    run.syn.project = Clamped(3)
    after(run, 2)
    first = subsets(run)[0]
    assert float(first.max()) > 1 or float(first.min()) < 0
    after(run, 1)
    assert not torch.equal(subsets(run)[0], first)


def test_momentum_is_kept_within_a_stage_also_when_classes_move_one_by_one() -> None:
    """At the first round of a stage the moments are cleared once, before the first class."""
    run, plain = job(group=1, momentum=0.9), job(group=1, momentum=0.0)
    images, _ = after(run, 2), after(plain, 2)
    with torch.no_grad():
        plain.syn.pixels.copy_(images[0])
    (a, b) = (after(one, 1) and subsets(one)[1] for one in (run, plain))
    assert not torch.equal(a[0], b[0])  # class 0 went on moving while classes 1 and 2 had their updates
    assert torch.equal(a[2], b[2])  # class 2 was the last


@dataclass
class Spy:
    """What a term is shown."""

    rows: list[tuple[int, ...]] = field(default_factory=list[tuple[int, ...]])

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        self.rows.append(tuple(syn.y.bincount(minlength=3).tolist()))
        return syn.x.sum()


@pytest.mark.parametrize("group", [None, 1])
def test_terms_see_the_subsets_so_far_and_nothing_of_the_later_ones(group: int | None) -> None:
    run = job(group=group).adding(spy=Weighted(1e-9, Spy(), whole_set))
    after(run, 6)
    assert run.terms["spy"].term.rows == [(4 * k,) * 3 for k in (1, 2, 3) for _ in range(2)]  # type: ignore[attr-defined]
    whole, other = job(group=group), job(group=group)
    with torch.no_grad():
        other.syn.pixels.unflatten(0, (3, 3))[:, 2].uniform_(0, 1)
    assert same(subsets(after(whole, 4) and whole)[:2], subsets(after(other, 4) and other)[:2])


def test_the_first_stage_is_the_host_on_the_first_subset_and_one_stage_is_the_host() -> None:
    run, host = job(), idc(tiny_real(), NET, ipc=1, seed=5, **HOSTED)  # type: ignore[arg-type]
    with torch.no_grad():
        host.syn.pixels.copy_(subsets(run)[0][:, 0])
    after(run, 2)
    assert same([subsets(run)[0][:, 0]], after(host, 2))
    one, host = job(ipcs=(2,)), idc(tiny_real(), NET, ipc=2, seed=5, **HOSTED)  # type: ignore[arg-type]
    assert same(after(one, 3), after(host, 3))


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_value_and_gradient_are_those_of_the_union_with_the_gradient_masked(stage: int) -> None:
    run = job(augment=identity())
    after(run, 2 * stage)
    module = nets(run).draw().module.double()
    run.syn.pixels, run.syn.labels = run.syn.pixels.detach().double().requires_grad_(), run.syn.labels.double()
    drawn, stored = run.real.batch(0, 0, 4), run.syn.pixels.detach().clone().requires_grad_()
    rows = stored.unflatten(0, (3, 3))[:, : stage + 1]
    images = [oracle.decoded(of_class, 0.4, 0.25) for of_class in rows]
    wanted = oracle.loss(module.requires_grad_(), images, list(drawn.x.double().split(4)))
    (true,) = torch.autograd.grad(wanted, stored)
    mask = (torch.arange(9) % 3 == stage).double().view(-1, 1, 1, 1)
    mine = run.terms["match"].term(run.syn.batch(), replace(drawn, x=drawn.x.double()))
    (found,) = torch.autograd.grad(mine, run.syn.pixels)
    torch.testing.assert_close(mine, wanted, rtol=1e-9, atol=0)
    torch.testing.assert_close(found, true * mask, rtol=1e-7, atol=1e-12)
    assert stage == 0 or float((true * (1 - mask)).norm()) > 0  # there was something to mask


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_fresh_networks_are_trained_on_the_sets_so_far_one_after_the_other(stage: int) -> None:
    run = job()
    after(run, 2 * stage)
    mine, module = nets(run).draw().module, NET((1, 8, 8), 3)
    initialise(module, stream(5, "match.nets", stage))
    for phase in range(stage):
        x = oracle.decoded(run.syn.pixels.detach().unflatten(0, (3, 3))[:, : phase + 1].flatten(0, 1), 0.4, 0.25)
        y = torch.arange(3).repeat_interleave(4 * (phase + 1))
        generator = stream(5, "pdd.transition", stage, phase)
        order = partial(torch.randperm, generator=generator)
        oracle.train(module, x, y, order, epochs=2, batch=6, lr=0.01)
    for (name, wanted), value in zip(module.named_parameters(), mine.parameters(), strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize(("stop", "group"), [(1, None), (2, 1), (3, 1), (4, None)])
def test_resume_is_exact_within_at_and_after_the_end_of_a_stage(stop: int, group: int | None, tmp_path: Path) -> None:
    straight, again = resumed(lambda: job("cmi and mim", group=group), tmp_path, stop, 5)
    assert same(after(straight, 0), after(again, 0))


def test_reused_networks_are_those_that_were_trained_through_all_stages(monkeypatch: Any, tmp_path: Path) -> None:
    counted: list[int] = []
    module = import_module("infodistill.sources.transitions")
    monkeypatch.setattr(module, "fit", lambda *a, **k: (counted.append(1), fit(*a, **k))[1])
    make = partial(job, inner=1, stage_steps=4, pool=2, refresh=2, train_images=1)
    run = make()
    after(run, 12)
    assert 0 < len(counted) <= 3 + 5  # networks 1, 2, 3 once; then 3 once more, and 4 and 5 twice; without a pool 12
    prepare = nets(run).prepare
    assert isinstance(prepare, Reused)
    net, (name, kept) = NET((1, 8, 8), 3), max(prepare._nets.items())
    assert kept[0] == 2 and name in (4, 5)
    initialise(net, stream(5, "pdd.reused.nets", name))
    prepare.transitions.train(net, name, 0)
    assert same(list(net.state_dict().values()), list(kept[1].values()))
    straight, again = resumed(make, tmp_path, 6, 9)
    assert same(after(straight, 0), after(again, 0))


def test_the_plan_replays_the_stages_that_were_made_on_decoded_images() -> None:
    run = job()
    for step, stages in ((0, 1), (2, 1), (3, 2), (5, 3)):
        after(run, step - run.step)
        made = run.export()
        assert len(made) == 36 and made.images_bytes == 9 * 64 * 4 and len(made.plan) == stages
        for k, phase in enumerate(made.plan):
            assert (phase["rates"], phase["epochs"]) == (None, 3)
            stored = run.syn.pixels.detach().unflatten(0, (3, 3))[:, : k + 1].flatten(0, 1)
            torch.testing.assert_close(made.images[phase["rows"]], oracle.decoded(stored, 0.4, 0.25))
            assert made.y[phase["rows"]].tolist() == [c for c in range(3) for _ in range(4 * (k + 1))]


def test_evaluation_trains_on_the_subsets_in_turn() -> None:
    real, seen = real_data(per_class=12), list[tuple[str, int, int]]()
    run = pdd(real, NET, **SMALL)  # type: ignore[arg-type]
    after(run, 5)
    made = run.export(protocol=STAGED["protocol"].as_dict())  # type: ignore[attr-defined]
    evaluate(made, real, {"net": NET}, seeds=[0], random_subsets=1, progress=lambda *told: seen.append(told))
    assert [done for what, done, total in seen if total == 9] == list(range(1, 10))


def test_what_cannot_be_staged_is_refused() -> None:
    def decaying(*args: Any, **settings: Any) -> Distillation:
        made = idc(*args, **settings)
        made.update = Update(torch.optim.AdamW([made.syn.pixels], 1e-3, weight_decay=0.1))
        return made

    for changes, message in (
        ({"stage_steps": 3}, "a stage of 3 updates would end within a network's life of 2"),
        ({"early": 1}, "has to draw them from `Rolling`, unprepared"),
        ({"host": decaying}, "must have weight decay 0"),
        ({"pool": 0}, "a pool needs 1 network and a refresh every life at least, got 0 and 1"),
    ):
        with pytest.raises(ValueError, match=message):
            job(**changes)
    with pytest.raises(ValueError, match="unprepared"):
        pdd(tiny_real(), NET, host=idm, **STAGED)  # type: ignore[arg-type]
