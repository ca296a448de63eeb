"""Every method with every term: a gradient that is not zero, an exact resume, and no influence on its neighbours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from infodistill.distillation import Distillation
from infodistill.running.checkpoint import load_checkpoint, save_checkpoint
from infodistill.weights import Weighted
from newer import NEWER
from table import FAMILY, METHODS, REFUSED, TERMS, make, terms_of, tiny_real

QUICK = {"mtt", "datm", "ld", "frepo", "idc", "idm", "ncfm"}
"""Newer methods whose cells are in the fast suite; the others share most of their code and run with the slow tests."""


def cells(terms: set[str]) -> list[Any]:
    """The cells of the table with these terms."""
    chosen = [(method, term) for method in METHODS for term in terms_of(method) if term in terms]
    return [pytest.param(*cell, marks=_mark(cell[0])) for cell in chosen]


def _mark(method: str) -> tuple[pytest.MarkDecorator, ...]:
    return (pytest.mark.slow,) if method in {*NEWER, *FAMILY} and method not in QUICK else ()


CELLS = cells(set(TERMS))
FAINT = cells({"cmi", "mim", "mim, trained heads", "random direction"})
ROWS = [pytest.param(method, marks=_mark(method)) for method in METHODS]
EXTRA = [term for term in TERMS if term != "none"]


def images(job: Distillation) -> torch.Tensor:
    """Everything the set learns: images, labels, rates, bases."""
    return torch.cat([tensor.detach().flatten() for tensor in job.syn.trainable()])


def after(job: Distillation, steps: int) -> torch.Tensor:
    for _ in job.run(steps):
        pass
    return images(job)


@pytest.mark.parametrize(("method", "term"), CELLS)
def test_every_term_moves_the_images(method: str, term: str) -> None:
    job = make(method, term)
    start = images(job)
    (progress,) = job.run(1)
    assert progress.step == 1
    assert set(progress.norms) == set(job.terms)
    for name, norm in progress.norms.items():
        assert float(norm) > 0, f"{name} has no gradient"
        assert progress.weights[name] > 0
    assert not torch.equal(start, images(job))


@pytest.mark.parametrize(("method", "term"), CELLS)
def test_resume_equals_never_having_stopped(method: str, term: str, tmp_path: Path) -> None:
    straight = after(make(method, term), 7)
    first = make(method, term)
    after(first, 4)
    save_checkpoint(tmp_path / "checkpoint", first.state_dict())
    second = make(method, term)
    second.load_state_dict(load_checkpoint(tmp_path / "checkpoint"))
    assert second.step == 4
    assert torch.equal(after(second, 3), straight)


@pytest.mark.parametrize(("method", "term"), FAINT)
def test_a_vanishing_weight_is_the_base_method_bit_for_bit(method: str, term: str) -> None:
    base = make(method, "none")
    faint = {name: Weighted(1e-30, entry.term, entry.sees) for name, entry in TERMS[term](base).items()}
    together = base.adding(**faint)
    values = [progress.as_dict()["values"] for progress in together.run(7)]
    assert all(set(row) == set(together.terms) for row in values)  # evaluated, draws made
    assert torch.equal(images(together), after(base, 7))


@pytest.mark.parametrize("method", ROWS)
def test_copies_run_interleaved_equal_each_alone(method: str) -> None:
    added = [term for term in ("cmi", "mim") if term in terms_of(method)]
    alone = [after(make(method, term), 5) for term in ("none", *added)]
    base = make(method, "none")
    jobs = [base, *(base.adding(**TERMS[term](base)) for term in added)]
    runs = [job.run(5) for job in jobs]
    for _ in range(5):
        for run in runs:
            next(run)
    for job, wanted in zip(jobs, alone, strict=True):
        assert torch.equal(images(job), wanted)


@pytest.mark.parametrize(("method", "term"), sorted(REFUSED))
def test_what_is_structurally_zero_is_refused(method: str, term: str) -> None:
    with pytest.raises((ValueError, AttributeError)):
        make(method, term)


@pytest.mark.parametrize("term", EXTRA)
def test_an_information_term_has_one_value_however_the_round_is_grouped(term: str) -> None:
    joint, split = make("dm", term), replace(make("dm", term), group=1)
    (a,), (b,) = list(joint.run(1)), list(split.run(1))
    for name in a.values:
        torch.testing.assert_close(a.values[name], b.values[name], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(a.norms[name], b.norms[name], rtol=1e-4, atol=1e-6)
        assert b.weights[name] == pytest.approx(a.weights[name], rel=1e-4)


def test_class_by_class_updates_resume_exactly(tmp_path: Path) -> None:
    straight = after(replace(make("dm", "cmi and mim"), group=2), 7)
    first = replace(make("dm", "cmi and mim"), group=2)
    after(first, 4)
    save_checkpoint(tmp_path / "c", first.state_dict())
    second = replace(make("dm", "cmi and mim"), group=2)
    second.load_state_dict(load_checkpoint(tmp_path / "c"))
    assert torch.equal(after(second, 3), straight)


def test_shared_looks_run_the_real_images_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from infodistill.compute import View

    seen: list[int] = []
    plain = View.features

    def counted(self: View, x: torch.Tensor, *args: object, **kwargs: object) -> object:
        seen.append(len(x))
        return plain(self, x, *args, **kwargs)

    monkeypatch.setattr(View, "features", counted)
    real = tiny_real()
    job = make("dm", "mim", real)
    after(job, 2)
    assert seen.count(6 * real.num_classes) == 2
    assert seen.count(3 * real.num_classes) == 2


@pytest.mark.slow
@pytest.mark.parametrize("term", ["cmi", "mim"])
def test_a_vanishing_weight_changes_no_bit_of_compiled_code_either(term: str) -> None:
    """MIM reads stages that DM does not: what is kept must not change what is compiled."""
    from infodistill.compute import Policy

    base = make("dm", "none")
    base.use(Policy(compile=True, threads=1))
    together = base.adding(**{n: Weighted(1e-30, e.term, e.sees) for n, e in TERMS[term](base).items()})
    assert torch.equal(after(together, 3), after(base, 3))
