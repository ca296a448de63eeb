"""How the labels of a set are stored: fixed, on the simplex, as logits, or as regression scores.

A `SyntheticSet` holds `labels` and how they are read; what leaves it is a `Batch` whose kind says what its targets are:
probabilities, of whatever storage, or scores. Logits stay inside the set, so nothing can take a softmax twice.

    kind of storage     targets                  kept there by
    fixed               labels                   (hard, or soft ones of a teacher)
    `learned_simplex`   labels                   clamp to [0, 1], then division by the row sum, after every update
    `learned_logits`    softmax(labels)          itself
    `learned_scores`    labels, LabelKind.SCORES nothing: any real numbers
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from infodistill.synthetic import Project, SyntheticSet, fixed_labels
from infodistill.types import Batch, LabelKind, Rows


@dataclass(frozen=True)
class InOrder:
    """Several projections, one after the other."""

    steps: tuple[Project, ...]

    def __call__(self, syn: SyntheticSet, step: int) -> None:
        for project in self.steps:
            project(syn, step)


def also(first: Project | None, second: Project) -> Project:
    """`first`, if there is one, then `second`: how a set gets a further projection."""
    return second if first is None else InOrder((first, second))


def softmax_labels(logits: Tensor) -> Tensor:
    """(n, k) stored logits to rows on the simplex, exp(z_ik) / sum_j exp(z_ij)."""
    return logits.softmax(1)


@torch.no_grad()
def project_simplex(syn: SyntheticSet, step: int) -> None:
    """Put learned labels back on the simplex, in place: clamp to [0, 1], then divide by the row sum (LD).

    This is the authors' map, not the Euclidean projection. A row without a positive entry becomes uniform (ours).
    """
    del step
    rows = syn.labels.clamp_(0, 1)
    total = rows.sum(1, keepdim=True)
    rows.copy_(torch.where(total > 0, rows / torch.where(total > 0, total, 1), 1 / rows.shape[1]))


def learned_simplex(syn: SyntheticSet) -> SyntheticSet:
    """The set with labels that are learned as they are and projected after every update; they start where they stand.

    Used by LD and, as our reading of it, by SLDD, whose authors leave the matrix free.

    Raises:
        ValueError: the labels of the set are learned already.
    """
    return replace(_fixed(syn), labels=_leaf(syn.labels), project=also(syn.project, project_simplex))


def learned_logits(syn: SyntheticSet, logits: Tensor | None = None) -> SyntheticSet:
    """The set with learned labels stored as logits and read through one softmax (DATM).

    Args:
        syn: a set whose labels are fixed.
        logits: (rows, k) start; None for `nearly` of the labels, since a hard label has no finite logits.

    Raises:
        ValueError: the labels of the set are learned already, or the logits have another shape.
    """
    start = nearly(syn.labels).log() if logits is None else logits
    return replace(_fixed(syn), labels=_leaf(start.to(syn.labels)), read_labels=softmax_labels)


def nearly(rows: Tensor, sure: float = 0.99) -> Tensor:
    """Rows on the simplex (n, k) drawn towards the uniform row: sure * rows + (1 - sure) / k (our choice of `sure`)."""
    if not 0 <= sure < 1:
        raise ValueError(f"the rest of the rows must be in [0, 1), so that no entry stays 0, got {sure}")
    return sure * rows + (1 - sure) / rows.shape[1]


def learned_scores(syn: SyntheticSet, targets: Tensor | None = None) -> SyntheticSet:
    """The set with learned regression targets (FRePo): networks are trained on them by squared error.

    Args:
        syn: a set whose labels are fixed.
        targets: (rows, k) start; None for the paper's (label - 1/k) / sqrt(k / 10).

    Raises:
        ValueError: the labels of the set are learned already, or the targets have another shape.
    """
    k = syn.num_classes
    start = centred(syn.labels) / (k / 10) ** 0.5 if targets is None else targets
    return replace(_fixed(syn), labels=_leaf(start.to(syn.labels)), kind=LabelKind.SCORES)


def centred(target: Tensor) -> Tensor:
    """Rows on the simplex (n, k) as regression scores: target - 1/k, rows that sum to 0."""
    return target - 1 / target.shape[1]


@dataclass(frozen=True)
class Centred:
    """Rows whose targets are probabilities, shown as centred scores: what training by squared error takes of them."""

    data: Rows

    def __len__(self) -> int:
        return len(self.data)

    def rows(self, index: Tensor, /) -> Batch:
        batch = self.data.rows(index)
        return replace(batch, target=centred(batch.target), kind=LabelKind.SCORES)


def _fixed(syn: SyntheticSet) -> SyntheticSet:
    """The set itself if its labels may still become learned ones."""
    if syn.labels.requires_grad or syn.read_labels is not fixed_labels or syn.kind is not LabelKind.PROBABILITIES:
        raise ValueError("the labels of this set are learned already: start from fixed ones")
    return syn


def _leaf(values: Tensor) -> Tensor:
    return values.detach().clone().requires_grad_()
