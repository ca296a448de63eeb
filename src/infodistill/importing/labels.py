"""Labels of published sets: classes, probabilities, logits or regression scores, told apart or named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from infodistill.importing.plain import plain
from infodistill.types import LabelKind

KINDS = ("hard", "soft", "logits", "scores")
"""Class numbers; probabilities; their unnormalised logarithms (DATM); centred regression targets (FRePo)."""


@dataclass(frozen=True)
class Labelled:
    """Classes (n,) int64, rows (n, k) of `kind` or None, and what was found."""

    y: Tensor
    rows: Tensor | None
    kind: LabelKind
    words: str


def read_labels(labels: Tensor, images: int, classes: int, kind: str | None = None) -> Labelled:
    """Labels as stored to classes and rows. `kind` None: class numbers and probabilities are told by their values.

    Raises:
        ValueError: another number of labels than images, classes the data does not have, values of no known kind.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"unknown kind of labels '{kind}', known: {', '.join(KINDS)}")
    values = plain(labels, "the labels").detach()
    if len(values.shape) > 1 and values.shape[1:].numel() == 1:
        values = values.flatten()
    if values.dim() not in (1, 2) or len(values) != images:
        raise ValueError(f"{images} images need labels ({images},) or ({images}, {classes}), got {tuple(labels.shape)}")
    if values.dim() == 2 and values.shape[1] != classes:
        raise ValueError(f"the labels are for {values.shape[1]} classes, the data has {classes}")
    if not bool(torch.isfinite(values).all()):
        raise ValueError("the labels hold values that are not finite numbers")
    return _hard(values, classes, kind) if values.dim() == 1 else _rows(values.double(), kind)


def beside(rows: Labelled, y: Tensor, classes: int) -> Labelled:
    """Label rows beside the classes of their images, where the rows may put another class first."""
    others = int((rows.y != y).sum())
    kept = rows.rows
    if kept is None and others:  # one-hot rows of other classes are no hard labels
        kept = torch.nn.functional.one_hot(rows.y, classes).float()
    aside = f"; in {others} of {len(y)} rows the largest is not the class of the image" if others else ""
    return Labelled(y, kept, rows.kind, rows.words + aside)


def in_class_order(
    labels: Tensor, rows: Tensor | None, theirs: Sequence[str], ours: Sequence[str]
) -> tuple[Tensor, Tensor | None]:
    """Labels (n,) and rows (n, k) of a file that calls its classes `theirs`, in the class order of the data.

    Raises:
        ValueError: the names are not those of the data, or a label is the number of none.
    """
    if sorted(theirs) != sorted(ours):
        odd = next((name for name in theirs if name not in ours), None)
        why = f"{odd!r} is none of them" if odd is not None else f"{len(theirs)} names for {len(ours)} classes"
        few = ", ".join(ours[:6]) + (", …" if len(ours) > 6 else "")
        raise ValueError(f"the classes of the file are not those of the data, which has {few}: {why}")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(theirs):
        seen = f"{int(labels.min())}..{int(labels.max())}"
        raise ValueError(f"the labels lie in {seen}, the file names {len(theirs)} classes")
    place = torch.tensor([list(ours).index(name) for name in theirs])
    if rows is not None and rows.shape[1:] != place.shape:
        raise ValueError(f"the soft labels have shape {tuple(rows.shape)}, the file names {len(theirs)} classes")
    return place[labels], None if rows is None else rows[:, place.argsort()]


def in_order(found: Labelled, theirs: Sequence[str], ours: Sequence[str]) -> Labelled:
    """The same labels, when class i of the file is called `theirs[i]`, in the class order of the data.

    Raises:
        ValueError: the names are not those of the data.
    """
    if sorted(theirs) != sorted(ours):
        odd = next((name for name in theirs if name not in ours), None)
        why = f"{odd!r} is none of them" if odd is not None else f"{len(theirs)} names for {len(ours)} classes"
        raise ValueError(f"--class-names must name the classes of the data in the order of the file: {why}")
    place = torch.tensor([list(ours).index(name) for name in theirs])
    rows = None if found.rows is None else found.rows[:, place.argsort()]
    return Labelled(place[found.y], rows, found.kind, found.words)


def _hard(values: Tensor, classes: int, kind: str | None) -> Labelled:
    if kind not in (None, "hard"):
        raise ValueError(f"the labels are one number per image, not rows of {kind}")
    y = values.long()
    if not torch.equal(y.to(values.dtype), values):
        raise ValueError(f"one label per image must be a class number, found {float(values[y != values][0]):g}")
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= classes:
        raise ValueError(f"the labels lie in {low}..{high}, the data has {classes} classes (0..{classes - 1})")
    return Labelled(y, None, LabelKind.PROBABILITIES, "class numbers")


def _rows(rows: Tensor, kind: str | None) -> Labelled:
    off, low = float((rows.sum(1) - 1).abs().max()), float(rows.min())
    simplex = low >= -1e-3 and off <= 1e-3
    if kind is None and not simplex:
        seen = f"they go down to {low:.3g} and their sums are off 1 by {off:.3g}"
        raise ValueError(f"the label rows are no probabilities ({seen}): say --labels-are logits or scores")
    if kind == "soft" and not simplex:
        raise ValueError(f"soft labels must be rows >= 0 with sum 1, found {low:.3g} and sums off by {off:.3g}")
    y = rows.argmax(1)
    if kind == "scores":
        return Labelled(y, rows.float(), LabelKind.SCORES, "regression scores")
    if kind == "logits":
        return Labelled(y, rows.softmax(1).float(), LabelKind.PROBABILITIES, "logits, stored as probabilities")
    hard = torch.equal(rows, torch.nn.functional.one_hot(y, rows.shape[1]).to(rows))
    if hard or kind == "hard":
        return Labelled(y, None, LabelKind.PROBABILITIES, "one-hot rows" if hard else "the largest of every row")
    return Labelled(y, (rows.clamp_min(0) / rows.clamp_min(0).sum(1, keepdim=True)).float(),
                    LabelKind.PROBABILITIES, "probabilities")  # fmt: skip
