"""DATM: the window, the start, labels as logits, skipped updates; gradients, resume, added terms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from infodistill.compute import View
from infodistill.distillation import Distillation
from infodistill.methods.datm import Below, MovingWindow, Recognised, datm, mean_logits
from infodistill.methods.mtt import mtt
from infodistill.nets.initialise import initialise
from infodistill.real import RealData
from infodistill.seeding import stream
from infodistill.sources.students import Students
from infodistill.storage.initial import from_real
from infodistill.training import Fit, fit
from infodistill.weights import Weighted
from oracles import mtt as oracle
from table import TERMS, tiny_real
from toys import Affine
from trajectories import AUGMENT, NET, Walks, after, resumed, same

SMALL = {"ipc": 2, "seed": 5, "steps": 2, "lr": 5.0, "rate": 0.05, "real_per_class": 4, "augment": AUGMENT}


def finals(real: RealData, count: int = 3, epochs: int = 0) -> list[View]:
    views: list[View] = []
    for expert in range(count):
        net = NET(real.shape, real.num_classes)
        initialise(net, stream(expert, "final"))
        fit(net, real, Fit(epochs, 12, 0.1), stream(expert, "final.fit"))
        views.append(View.own(net.requires_grad_(False), space=real.space))
    return views


def says(real: RealData, label: int) -> View:
    """A network that calls everything `label`, more or less surely."""
    net = Affine(real.shape, real.num_classes)
    with torch.no_grad():
        net.fc.weight.normal_(0, 0.01, generator=stream(0, "says"))
        net.fc.bias.copy_(9.0 * F.one_hot(torch.tensor(label), real.num_classes))
    return View.own(net.requires_grad_(False), space=real.space)


def job(term: str = "none", threshold: float = 10.0, **changes: object) -> Distillation:
    real = tiny_real()
    settings = {**SMALL, "threshold": threshold, "init": from_real, **changes}
    base = datm(real, Walks(), finals(real), **settings)  # type: ignore[arg-type]
    added = TERMS[term](base)
    return base.adding(**added) if added else base


@pytest.mark.parametrize("case", [(0, 10, 20, 1000), (0, 1, 4, 10), (10, 15, 15, 7), (0, 30, 50, 3), (2, 3, 40, 11)])
def test_the_window_rises_as_counted(case: tuple[int, int, int, int]) -> None:
    window = MovingWindow(*case)
    steps = [*range(30), 99, 100, 499, 500, 999, 1000, 1001, 5000]
    assert [window(step) for step in steps] == [oracle.window(step, *case) for step in steps]
    assert window(0) == case[:2] and window(10**6) == (case[0], case[2])


@pytest.mark.parametrize("case", [(0, 0, 4, 5), (3, 2, 4, 5), (0, 5, 4, 5), (-1, 2, 4, 5), (0, 2, 4, 0)])
def test_windows_that_cannot_be_are_refused(case: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="0 <= lowest < first <= highest and at least 1 step, got"):
        MovingWindow(*case)


def test_starts_follow_the_window() -> None:
    window, walks = MovingWindow(0, 1, 4, 30), Walks(window=MovingWindow(0, 1, 4, 30))
    ages: list[int] = []
    for walks.step in range(200):
        ages.append(walks.draw().age)
        assert ages[-1] < window(walks.step)[1]
    assert set(ages[:10]) == {0} and set(ages[30:]) == {0, 1, 2, 3}


def test_images_are_chosen_among_those_an_expert_recognises() -> None:
    real = tiny_real()
    (judge,) = views = finals(real, count=1, epochs=8)
    x = Recognised(views)(real, 3, 7)
    assert torch.equal(judge.logits(x, real.space).argmax(1), torch.arange(3).repeat_interleave(3))
    everything = real.rows(torch.arange(len(real))).x
    homes = [(everything == image).flatten(1).all(1).nonzero().flatten().tolist() for image in x]
    assert all(len(home) == 1 for home in homes) and len({home[0] for home in homes}) == 9
    assert not torch.equal(x, Recognised(views)(real, 3, 8))


def test_a_class_nobody_recognises_gives_its_images_of_smallest_loss_and_says_so() -> None:
    """The authors' code does not end here."""
    real = tiny_real()
    view = says(real, 0)
    with pytest.warns(UserWarning, match=r"classifies 0 images of class 'class[12]' correctly, 3 are wanted"):
        x = Recognised([view])(real, 3, 7)
    for label in (1, 2):
        rows = real.rows(real.class_rows[label])
        loss = F.cross_entropy(view.logits(rows.x, rows.space), rows.y, reduction="none")
        mine = F.cross_entropy(view.logits(x[3 * label : 3 * label + 3], real.space), rows.y[:3], reduction="none")
        torch.testing.assert_close(mine.sort().values, loss.sort().values[:3], rtol=1e-5, atol=1e-6)


def test_the_first_logits_are_the_mean_of_those_who_are_right() -> None:
    real = tiny_real()
    views, batch = finals(real), real.rows(torch.arange(len(real)))
    found, cases = mean_logits(views, batch), set[int]()
    for i, label in enumerate(batch.y.tolist()):
        all_logits = [view.logits(batch.x[i : i + 1], real.space)[0].double() for view in views]
        right = [z for z in all_logits if int(z.argmax()) == label]
        wanted = sum(right) / len(right) if right else max(all_logits, key=lambda z: float(z.log_softmax(0)[label]))  # type: ignore[operator]
        cases.add(len(right))
        torch.testing.assert_close(found[i].double(), wanted, rtol=1e-4, atol=1e-5)
    assert cases >= {0, 1}
    assert torch.equal(job().syn.labels.detach(), mean_logits(views, job().syn.batch().detach()))


def test_labels_are_stored_as_logits_and_pass_one_softmax() -> None:
    run = job()
    wanted = run.syn.labels.detach().softmax(1)
    torch.testing.assert_close(run.syn.batch().target.detach(), wanted)
    soft = run.export().soft_labels
    assert soft is not None
    torch.testing.assert_close(soft, wanted)
    assert float((soft - soft.softmax(1)).abs().max()) > 0.01


def test_images_logits_and_rate_have_the_gradient_of_the_loss() -> None:
    run = job()
    students: Students = run.terms["match"].term.looks.students  # type: ignore[attr-defined]
    syn, segment = run.syn.batch(), students.starts.draw()
    record = students.record(len(syn), (1, 8, 8), syn.x.device)
    assert segment.end is not None
    ends = tuple({name: value.double() for name, value in end.items()} for end in (segment.start, segment.end))
    leaves = [tensor.detach().double().requires_grad_() for tensor in run.syn.trainable()]
    steps = list(zip(record.rows, record.omegas, strict=True))
    module = NET((1, 8, 8), 3).double()
    wanted = oracle.loss(module, ends, leaves[0], leaves[1].softmax(1), leaves[2], steps, AUGMENT)  # type: ignore[arg-type]
    mine = run.terms["match"].term(syn, syn)
    torch.testing.assert_close(mine.double(), wanted, rtol=1e-4, atol=0)
    found, true = torch.autograd.grad(mine, run.syn.trainable()), torch.autograd.grad(wanted, leaves)
    for a, b in zip(found, true, strict=True):
        assert float(b.norm()) > 0 and float((a - b).norm()) < 2e-3 * float(b.norm())


def test_labels_move_with_their_own_rate_and_momentum() -> None:
    run = job(lr=0.0, lr_rate=0.0, lr_labels=3.0)
    before = run.syn.trainable()[1].detach().clone()
    images, labels, rate = after(run, 2)
    still = job()
    assert torch.equal(images, still.syn.pixels) and torch.equal(rate, still.syn.scalars["lr"])
    assert not torch.equal(labels, before)
    assert [group["momentum"] for group in run.update.optimizer.param_groups] == [0.5, 0.9, 0.5]


def test_an_update_whose_base_loss_is_too_large_is_skipped_whatever_is_added() -> None:
    start = [tensor.detach().clone() for tensor in job().syn.trainable()]
    assert same(after(job(threshold=0.0), 3), start)
    assert same(after(job("cmi and mim", threshold=0.0), 3), start)
    (progress,) = job("cmi and mim").run(1)
    base = float(progress.values["match"])
    assert progress.loss > base + 0.1  # the sum would be refused
    assert not same(after(job("cmi and mim", threshold=base + 1e-3), 1), start)
    values: Mapping[str, float] = {"match": 1.0, "cmi": 50.0}
    assert Below(1.0)(values) and not Below(0.999)(values)


def test_resume_is_exact_and_the_window_goes_on(tmp_path: Path) -> None:
    def make() -> Distillation:
        return datm(
            tiny_real(), Walks(window=MovingWindow(0, 1, 4, 4)), finals(tiny_real()), **{**SMALL, "init": from_real}
        )  # type: ignore[arg-type]

    straight, again = resumed(make, tmp_path, 3, 5)
    assert same(after(straight, 0), after(again, 0))
    assert not same(after(straight, 0), after(make(), 0))


@pytest.mark.parametrize("term", ["cmi", "mim", "cmi and mim"])
def test_added_terms_have_gradients_and_vanishing_ones_change_no_bit(term: str) -> None:
    (progress,) = job(term).run(1)
    assert all(float(norm) > 0 for norm in progress.norms.values())
    base = job()
    faint = base.adding(**{name: Weighted(1e-30, e.term, e.sees) for name, e in TERMS[term](base).items()})
    assert same(after(faint, 4), after(base, 4))


def test_with_labels_at_rest_it_is_mtt_on_its_soft_labels() -> None:
    run = job(lr_labels=0.0)
    plain = mtt(tiny_real(), Walks(), **{**SMALL, "init": from_real})  # type: ignore[arg-type]
    plain.syn.labels = run.syn.batch().target.detach()
    images, _, rate = after(run, 3)
    assert same([images, rate], after(plain, 3))


def test_experts_without_an_end_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 is needed, got 0"):
        datm(tiny_real(), Walks(), [])
