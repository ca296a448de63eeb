"""Labels as a type: each storage stays what it says, nothing takes a softmax twice, and gradients have closed forms."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from infodistill.distillation import Distillation
from infodistill.storage.labels import (
    Centred,
    InOrder,
    centred,
    learned_logits,
    learned_scores,
    learned_simplex,
    nearly,
    project_simplex,
)
from infodistill.synthetic import SyntheticSet, from_noise, from_real, synthesise
from infodistill.types import Batch, LabelKind
from infodistill.updates import Update
from infodistill.weights import Weighted
from table import tiny_real


@dataclass(frozen=True)
class Towards:
    """0.5 |target - wanted|^2 over all rows."""

    wanted: Tensor

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        return 0.5 * (syn.target - self.wanted).square().sum()


def start(ipc: int = 2) -> SyntheticSet:
    return synthesise(tiny_real(), ipc, 0, from_real)


def job_of(syn: SyntheticSet, wanted: Tensor, lr: float = 0.5) -> Distillation:
    terms = {"labels": Weighted(1.0, Towards(wanted))}
    return Distillation(syn, tiny_real(), terms, Update(torch.optim.SGD(syn.trainable(), lr)), real_per_class=2)


def uniform(rows: int = 6) -> Tensor:
    return torch.full((rows, 3), 1 / 3)


def test_simplex_labels_move_and_stay_on_the_simplex() -> None:
    syn = learned_simplex(start())
    assert syn.labels.requires_grad and torch.equal(syn.labels.detach(), start().labels)
    wanted = torch.tensor([[-1.0, 2.0, 0.5]]).repeat(6, 1)
    for progress in (job := job_of(syn, wanted)).run(3):
        assert float(progress.norms["labels"]) > 0
        rows = syn.labels.detach()
        assert bool((rows >= 0).all()) and torch.allclose(rows.sum(1), torch.ones(6))
    made = job.export()
    assert made.soft_labels is not None and torch.equal(made.soft_labels, syn.labels.detach())
    assert made.labels_bytes == 6 * 8 + 6 * 3 * 4


def test_the_projection_clamps_and_then_divides_by_the_row_sum() -> None:
    syn = learned_simplex(start(1))
    with torch.no_grad():
        syn.labels.copy_(torch.tensor([[0.5, 1.5, -1.0], [0.2, 0.2, 0.0], [-1.0, -2.0, 0.0]]))
    project_simplex(syn, 0)
    wanted = torch.tensor([[1 / 3, 2 / 3, 0.0], [0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    torch.testing.assert_close(syn.labels.detach(), wanted)


def test_projections_compose_in_order() -> None:
    seen: list[str] = []
    syn = replace(start(), project=lambda s, step: seen.append(f"first {step}"))
    learned = learned_simplex(syn)
    assert isinstance(learned.project, InOrder)
    with torch.no_grad():
        learned.labels.mul_(5)
    learned.project(learned, 7)
    assert seen == ["first 7"] and torch.allclose(learned.labels.sum(1), torch.ones(6))


def test_logits_are_read_through_one_softmax_with_its_gradient() -> None:
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    syn = learned_logits(start(), logits)
    batch = syn.batch()
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    torch.testing.assert_close(batch.target, p)
    assert batch.kind is LabelKind.PROBABILITIES and torch.equal(batch.membership(), batch.target)
    [grad] = torch.autograd.grad(0.5 * (batch.target - uniform()).square().sum(), [syn.labels])
    upstream = p - uniform()
    torch.testing.assert_close(grad, p * (upstream - (p * upstream).sum(1, keepdim=True)))
    made = syn.export()
    assert made.soft_labels is not None
    torch.testing.assert_close(made.soft_labels, p)
    torch.testing.assert_close(made.batch().target, p)  # probabilities all the way: nobody sees the logits


def test_logits_start_near_the_labels_and_at_finite_values() -> None:
    syn = learned_logits(start())
    assert syn.labels.isfinite().all()
    torch.testing.assert_close(syn.batch().target.detach(), nearly(start().labels))
    with pytest.raises(ValueError, match="in \\[0, 1\\)"):
        nearly(start().labels, 1.0)


def test_scores_are_centred_scaled_and_free() -> None:
    syn = learned_scores(start())
    wanted = (start().labels - 1 / 3) / (3 / 10) ** 0.5
    batch = syn.batch()
    torch.testing.assert_close(batch.target.detach(), wanted)
    assert batch.kind is LabelKind.SCORES and torch.equal(batch.membership(), start().labels)
    job = job_of(syn, torch.full((6, 3), -2.0), lr=1.0)
    list(job.run(1))
    torch.testing.assert_close(syn.labels.detach(), torch.full((6, 3), -2.0))
    assert job.export().label_kind is LabelKind.SCORES


@pytest.mark.parametrize("first", [learned_simplex, learned_logits, learned_scores])
@pytest.mark.parametrize("second", [learned_simplex, learned_logits, learned_scores])
def test_labels_are_made_learned_once(first, second) -> None:
    with pytest.raises(ValueError, match="learned already"):
        second(first(start()))
    fixed = first(start())
    fixed.labels.requires_grad_(False)
    if first is not learned_simplex:  # rows on the simplex that stand still are labels like any other
        with pytest.raises(ValueError, match="learned already"):
            second(fixed)


@pytest.mark.parametrize("make", [learned_simplex, learned_logits, learned_scores])
def test_learned_labels_are_saved_copied_and_apart_from_their_start(make) -> None:
    plain = start()
    syn = make(plain)
    copied = copy.deepcopy(syn)
    state = {name: copy.deepcopy(value) for name, value in syn.state_dict().items()}
    with torch.no_grad():
        syn.labels.add_(torch.tensor([0.3, -0.1, -0.2]))
    assert torch.equal(plain.labels, start().labels) and not torch.equal(copied.labels, syn.labels)
    syn.load_state_dict(state)
    assert torch.equal(copied.labels, syn.labels) and syn.labels.requires_grad
    assert [t.shape for t in syn.trainable()] == [syn.pixels.shape, syn.labels.shape]


def test_fixed_images_with_learned_labels_move_only_labels() -> None:
    plain = start()
    syn = learned_simplex(replace(plain, pixels=plain.pixels.detach()))
    assert len(syn.trainable()) == 1 and syn.trainable()[0] is syn.labels
    before = syn.pixels.clone()
    list(job_of(syn, uniform()).run(2))
    assert torch.equal(before, syn.pixels) and float((syn.labels.detach() - start().labels).abs().max()) > 0.1


def test_labels_of_decoded_copies_are_repeated() -> None:
    syn = learned_logits(synthesise(tiny_real(), 1, 0, from_noise))
    twice = replace(syn, decode=lambda stored: stored.repeat_interleave(2, 0))
    batch = twice.batch()
    assert len(batch) == 6 and torch.equal(batch.target[0::2], batch.target[1::2])


def test_centred_rows_are_scores_that_sum_to_zero() -> None:
    real = tiny_real()
    rows = Centred(real)
    batch = rows.rows(torch.tensor([0, 4]))
    assert len(rows) == len(real) and batch.kind is LabelKind.SCORES
    torch.testing.assert_close(batch.target, torch.eye(3)[:2] - 1 / 3)
    torch.testing.assert_close(centred(torch.eye(3)).sum(1), torch.zeros(3))
