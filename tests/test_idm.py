"""IDM: its loss against the equation written out, its published quirks, its real images of lowest loss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from infodistill.augment import dsa
from infodistill.compute import View
from infodistill.distillation import Distillation
from infodistill.methods.dm import dm
from infodistill.methods.idm import AccuracyWeighted, idm, misclassified
from infodistill.running.checkpoint import load_checkpoint, save_checkpoint
from infodistill.samplers.lowest_loss import LowestLoss, losses, lowest
from infodistill.sources.queue import Queue
from infodistill.synthetic import stored_as_images
from infodistill.training import Fit, fit
from infodistill.types import Batch
from infodoubles import Gain, PixelTeacher
from oracles import idm as oracle
from rows_idm import already_right
from table import NET, tiny_real

REAL = tiny_real()
QUEUE = {"nets": 4, "start": 2, "interval": 2, "train_steps": 2, "batch_train": 8}


def job(**changes: object) -> Distillation:
    settings: dict[str, object] = {"ipc": 2, "seed": 5, "real_per_class": 6, "augment": Gain(), **QUEUE, **changes}
    return idm(REAL, NET, **settings)  # type: ignore[arg-type]


def queue_of(made: Distillation) -> Queue:
    return next(source for source in made.sources() if isinstance(source, Queue))


def wide(made: Distillation) -> tuple[Batch, Batch]:
    """The first step's batches in float64, from float64 stored images, and the queue in float64."""
    for place in queue_of(made).places:
        place.module.double()
    made.syn.pixels = made.syn.pixels.detach().double().requires_grad_()
    made.syn.labels = made.syn.labels.double()
    real = REAL.batch(5, 0, 6)
    return made.syn.batch(), replace(real, x=real.x.double(), target=real.target.double())


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_both_parts_are_the_equation_in_value_and_gradient(scale: float) -> None:
    made = already_right(job(scale=scale))
    syn, real = wide(made)
    looks = made.terms["match"].term.looks  # type: ignore[attr-defined]
    look = looks.look(syn, real)
    assert look.view.accuracy == 0.5
    twin = made.syn.pixels.detach().clone().requires_grad_()
    sides = (list(twin.split(2)), list(real.x.split(6)))
    wanted = oracle.loss(look.view.module, *sides, look.record.double()[:, 0], 0.5)
    for name, value, factor in zip(("match", "ce"), wanted, (1.0, scale), strict=True):
        found = made.terms[name].term(syn, real)
        torch.testing.assert_close(found, factor * value, rtol=1e-10, atol=1e-12)
        (mine,) = torch.autograd.grad(found, made.syn.pixels, retain_graph=True)
        (theirs,) = torch.autograd.grad(factor * value, twin, retain_graph=True)
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-12)
        assert float(mine.abs().max()) > 0


def test_percent_is_a_hundred_times_the_fraction() -> None:
    images = []
    for settings in ({"ce": 0.5, "scale": 100.0}, {"ce": 50.0, "scale": 1.0}):
        made = already_right(job(**settings))
        list(made.run(4))
        images.append(made.syn.pixels.detach())
    torch.testing.assert_close(*images, rtol=1e-5, atol=1e-6)


def test_the_cross_entropy_follows_the_accuracy_of_the_network_looked_through() -> None:
    made, seen = job(interval=1000, nets=3), []
    for _ in range(6):
        accuracy = queue_of(made).draw().accuracy
        (progress,) = made.run(1)
        assert accuracy is not None
        assert (float(progress.values["ce"]) > 0) == (accuracy > 0)
        seen.append(accuracy)
    assert seen[0] == 0.0 and max(seen) > 0
    assert "ce" not in next(job(ce=0.0).run(1)).values  # skipped altogether


def test_without_an_accuracy_there_is_no_such_term() -> None:
    made = job()
    looks = replace(made.terms["match"].term.looks, nets=PixelTeacher())  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="this one's is not known"):
        AccuracyWeighted(looks)(made.syn.batch(), REAL.batch(5, 0, 6))


def test_misclassified_images_alone_count_where_that_is_asked_for() -> None:
    z = torch.tensor([[2.0, 1.0], [0.0, 3.0]])
    assert misclassified(z, torch.tensor([0, 0])).tolist() == [0.0, 1.0]
    every, some = already_right(job()), already_right(job(counts=misclassified))
    batches = [(made.syn.batch(), REAL.batch(5, 0, 6)) for made in (every, some)]
    values = [made.terms["ce"].term(*pair).item() for made, pair in zip((every, some), batches, strict=True)]
    assert 0 < values[1] < values[0]


def test_both_terms_and_mim_share_one_pass_over_each_side(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    plain = View.features

    def counted(self: View, x: torch.Tensor, *args: object, **kwargs: object) -> object:
        rows.append(len(x))
        return plain(self, x, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(View, "features", counted)
    list(already_right(job()).run(1))
    assert sorted(rows) == [18, 24]  # 6 real images of 3 classes, 2 stored ones of 4 tiles


def test_stored_images_are_mosaics_of_shrunk_real_ones_and_may_leave_the_pixel_range() -> None:
    made = job()
    assert made.syn.pixels.shape == (6, 1, 8, 8)
    assert made.syn.batch().y.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    halves = torch.nn.functional.avg_pool2d(REAL.rows(REAL.class_rows[0]).x, 2).flatten(1)
    tile = made.syn.pixels[0, :, :4, :4].detach().flatten()
    assert float((halves - tile).abs().max(1).values.min()) < 1e-6  # bilinear at factor 2 averages four pixels
    assert made.syn.project is None
    assert job(factor=1).syn.decode is stored_as_images


def test_whole_images_under_untrained_networks_are_matched_as_in_dm() -> None:
    """Without tiles, cross-entropy and training, a step of IDM is a step of DM through the same network."""
    bare = job(factor=1, ce=0.0, trained=0)
    plain = dm(REAL, NET, ipc=2, seed=5, real_per_class=6, augment=Gain(), lr=0.2)
    plain.terms["match"].term.looks.nets = queue_of(job(trained=0))  # type: ignore[attr-defined]
    list(bare.run(5))
    list(plain.run(5))
    assert torch.equal(bare.syn.pixels, plain.syn.pixels)


def test_class_by_class_steps_move_a_class_by_the_published_amount() -> None:
    """Fact 2 of the specification: lr g (1 - mu^K) / (1 - mu), K the optimiser steps left in the round."""
    made = job(group=1, ce=0.0)
    before = made.syn.pixels.detach().clone()
    joint = job(ce=0.0)
    value = joint.terms["match"].term(joint.syn.batch(), REAL.batch(5, 0, 6))
    (g,) = torch.autograd.grad(value, joint.syn.pixels)
    list(made.run(1))
    for c in range(3):
        rows = slice(2 * c, 2 * c + 2)
        moved = before[rows] - made.syn.pixels.detach()[rows]
        torch.testing.assert_close(moved, 0.2 * g[rows] * (1 - 0.5 ** (3 - c)) / 0.5, rtol=1e-4, atol=1e-6)


def test_lowest_is_sorting_class_by_class() -> None:
    generator = torch.Generator().manual_seed(2)
    y = torch.randint(0, 3, (50,), generator=generator)
    y[y == 1] = torch.where(torch.arange(int((y == 1).sum())) < 4, 1, 2)  # four images of class 1
    loss = torch.randint(0, 9, (50,), generator=generator).float()  # with ties
    for most in (1, 6, 50):
        wanted = oracle.lowest(loss.tolist(), y.tolist(), most, 3)
        assert lowest(loss, y, most).tolist() == [row for rows in wanted for row in rows]


def easy_net() -> PixelTeacher:
    module = NET((1, 8, 8), 3)
    fit(module, REAL, Fit(1, 12, 0.01), torch.Generator().manual_seed(0))
    return PixelTeacher(View.own(module.requires_grad_(False), space=REAL.space))


def test_the_sampler_draws_from_the_easiest_images_of_each_class() -> None:
    nets = easy_net()
    view = nets.draw()
    loss = [-float(view.logits(REAL.rows(torch.tensor([i])).x).log_softmax(1)[0, REAL.labels[i]]) for i in range(36)]
    torch.testing.assert_close(losses(view, REAL, 5), torch.tensor(loss), rtol=1e-4, atol=1e-5)
    easiest = [set(rows) for rows in oracle.lowest(loss, REAL.labels.tolist(), 5, 3)]
    sampler, drawn = LowestLoss(nets, 5), set[int]()
    for step in range(20):
        rows = sampler(REAL, 7, step, 3).tolist()
        for c in range(3):
            assert len(set(rows[3 * c : 3 * c + 3])) == 3 and set(rows[3 * c : 3 * c + 3]) <= easiest[c]
        drawn |= set(rows)
    assert drawn == set.union(*easiest)
    assert sorted(sampler(REAL, 7, 0, 5).tolist()) == sorted(drawn)
    with pytest.raises(ValueError, match="at least 1, got 0 and None"):
        LowestLoss(nets, 0)


def test_images_are_chosen_once_or_every_so_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    nets, asked = easy_net(), list[int]()
    plain = nets.draw
    monkeypatch.setattr(nets, "draw", lambda: (asked.append(1), plain())[1])
    for interval, wanted in ((None, 1), (1, 9), (4, 3)):
        asked.clear()
        sampler = LowestLoss(nets, 5, interval)
        for step in range(9):
            sampler(REAL, 7, step, 2)
        assert len(asked) == wanted


@pytest.mark.parametrize("interval", [None, 3])
def test_a_job_on_the_easiest_images_resumes_exactly(interval: int | None, tmp_path: Path) -> None:
    def made() -> Distillation:
        fresh = job(lowest=4, augment=dsa("color_crop"), real_per_class=4)
        assert isinstance(fresh.sampler, LowestLoss)
        assert fresh.sampler.nets is queue_of(fresh)
        fresh.sampler.interval = interval
        return fresh.adding()

    straight, first, second = made(), made(), made()
    list(straight.run(8))
    list(first.run(4))
    save_checkpoint(tmp_path / "c", first.state_dict())
    second.load_state_dict(load_checkpoint(tmp_path / "c"))
    list(second.run(4))
    assert torch.equal(second.syn.pixels, straight.syn.pixels)
