"""SLDD: labels that are learned through every step, also for fewer images than classes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from infodistill.distillation import Distillation
from infodistill.information.cmi import CMI
from infodistill.information.mim import MIM
from infodistill.methods.dd import RATES
from infodistill.methods.sldd import sldd, spread
from infodistill.running.checkpoint import load_checkpoint, save_checkpoint
from infodistill.storage.labels import learned_logits, learned_simplex
from infodistill.synthetic import from_noise, from_real
from infodistill.unrolling.unroll import unrolled
from infodistill.weights import Weighted, whole_set
from table import NET, teachers, tiny_real
from unrolling import assert_same, by_oracle, double_net, doubled, sources

tiny = partial(sldd, ipc=2, seed=5, batches=2, passes=2, rate=0.3, real_per_class=6)


def after(job: Distillation, steps: int) -> list[torch.Tensor]:
    for _ in job.run(steps):
        pass
    return [t.detach().clone() for t in job.syn.trainable()]


@pytest.mark.parametrize("labels", [learned_simplex, learned_logits])
@pytest.mark.parametrize("images", [None, 2])
def test_the_gradient_of_images_labels_and_rates_is_that_of_full_unrolling(labels: object, images: int | None) -> None:
    job = tiny(tiny_real(), double_net, labels=labels, images=images)
    syn, real = doubled(job)
    value = job.terms["match"].term(syn, real)
    assert_same(value, by_oracle(job, syn, real), [job.syn.pixels, job.syn.labels, job.syn.scalars[RATES]])


def test_the_gradient_with_two_terms_at_the_same_student() -> None:
    job = tiny(tiny_real(), double_net)
    syn, real = doubled(job)
    mim = MIM(job.terms["match"].term.looks)  # type: ignore[attr-defined]
    value = job.terms["match"].term(syn, real) + 0.5 * mim(syn, real)
    sources(job)[0].unroll = unrolled
    wanted = by_oracle(job, syn, real) + 0.5 * mim(syn, real)
    assert_same(value, wanted, [job.syn.pixels, job.syn.labels, job.syn.scalars[RATES]])


@pytest.mark.parametrize("images", [1, 2, 3, 4, 7])
def test_any_number_of_images_starts_one_hot_in_class_order(images: int) -> None:
    real = tiny_real()
    syn = spread(real, images, 0, from_real)
    assert len(syn.y) == len(syn.pixels) == images
    assert syn.y.tolist() == sorted(i % 3 for i in range(images))
    assert torch.equal(syn.labels.argmax(1), syn.y)
    assert set(syn.labels.unique().tolist()) == {0.0, 1.0}
    mine = {tuple(row) for row in real.rows(torch.arange(len(real))).x[real.labels == 0].flatten(1).tolist()}
    assert all(
        (tuple(x.flatten().tolist()) in mine) is (c == 0) for x, c in zip(syn.pixels, syn.y.tolist(), strict=True)
    )


def test_a_multiple_of_the_classes_is_the_ordinary_set() -> None:
    real = tiny_real()
    few, plain = tiny(real, NET, images=6, batches=2), tiny(real, NET, ipc=2)
    assert torch.equal(few.syn.pixels, plain.syn.pixels)
    assert torch.equal(few.syn.y, plain.syn.y)
    assert all(torch.equal(a, b) for a, b in zip(after(few, 2), after(plain, 2), strict=True))


def test_labels_stay_on_the_simplex_and_leave_the_corners() -> None:
    job = tiny(tiny_real(), NET)
    after(job, 4)
    rows = job.syn.labels.detach()
    assert float(rows.min()) >= 0
    torch.testing.assert_close(rows.sum(1), torch.ones(6))
    assert float(rows.max(1).values.min()) < 1


def test_fewer_images_than_classes_export_with_their_labels_counted() -> None:
    job = tiny(tiny_real(), NET, images=2, batches=1)
    after(job, 2)
    distilled = job.export()
    assert distilled.soft_labels is not None
    assert distilled.soft_labels.shape == (2, 3)
    assert distilled.images_bytes == 2 * 64 * 4
    assert distilled.labels_bytes >= 2 * 3 * 4
    assert [phase["rows"] for phase in distilled.plan] == [[0, 1]] * 2


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 image, got 0"):
        tiny(tiny_real(), NET, images=0)
    with pytest.raises(ValueError, match="4 batches need at least as many images, got 2"):
        after(tiny(tiny_real(), NET, images=2, batches=4), 1)
    with pytest.raises(ValueError, match="2 images per class do not divide into 3"):
        tiny(tiny_real(), NET, batches=3)


@pytest.mark.parametrize("images", [None, 2])
def test_resume_is_exact(images: int | None, tmp_path: Path) -> None:
    make = partial(tiny, tiny_real(), NET, images=images, init=from_noise)
    straight = after(make(), 5)
    first, second = make(), make()
    after(first, 3)
    save_checkpoint(tmp_path / "c", first.state_dict())
    second.load_state_dict(load_checkpoint(tmp_path / "c"))
    assert all(torch.equal(a, b) for a, b in zip(after(second, 2), straight, strict=True))


@pytest.mark.parametrize("settings", [{"ipc": 1, "batches": 1}, {"images": 2, "batches": 1}])
def test_learned_labels_admit_cmi_and_mim_at_one_image_per_class(settings: dict[str, int]) -> None:
    base = tiny(tiny_real(), NET, **settings)
    looks = base.terms["match"].term.looks  # type: ignore[attr-defined]
    terms = {"cmi": CMI(teachers(base.real)), "mim": MIM(looks)}
    together = base.adding(**{name: Weighted(1e-30, term, whole_set) for name, term in terms.items()})
    reports = list(together.run(3))
    assert all(float(report.norms["mim"]) > 0 for report in reports)
    # One-hot labels are where every class is one image and CMI is flat: its gradient starts with the second update.
    assert all(float(report.norms["cmi"]) > 0 for report in reports[1:])
    mine = [t.detach() for t in together.syn.trainable()]
    assert all(torch.equal(a, b) for a, b in zip(mine, after(base, 3), strict=True))
