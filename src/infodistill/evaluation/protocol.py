"""Evaluation protocols: how a network is trained on a distilled set before it is tested. Frozen, named, JSON-able.

Accuracies under different protocols are never comparable, so every result carries the name of its protocol. The number
reported is that of the last epoch. `infodistill.evaluation.protocols` lists the protocols there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from infodistill.augment import by_name
from infodistill.augment.mixing import MIXES
from infodistill.descent import Loss, Optimiser, adam, adamw, cross_entropy_rows, sgd, squared_error_rows
from infodistill.distilled import Distilled
from infodistill.storage.labels import Centred
from infodistill.training import Fit
from infodistill.types import Batch, LabelKind, Rows

LOSSES: Mapping[str, Loss] = {"cross_entropy": cross_entropy_rows, "squared_error": squared_error_rows}
WANTS = {"cross_entropy": LabelKind.PROBABILITIES, "squared_error": LabelKind.SCORES}
"""The kind of targets every loss is for."""
OPTIMISERS: Mapping[str, Optimiser] = {"sgd": sgd, "adam": adam, "adamw": adamw}
LATER: Mapping[str, Any] = {
    "loss": "cross_entropy",
    "optimiser": "sgd",
    "updates": None,
    "milestones": (),
    "gamma": 0.1,
    "mix": "none",
}
"""Fields newer than the first artefacts. They are written where they differ, so that old files and keys stay valid."""


@dataclass(frozen=True)
class EvaluationProtocol:
    """Batches of `batch`, `epochs + extra_passes` passes over the set, by default SGD and soft-target cross-entropy.

    The learning rate is `lr`, and `drop * lr` from epoch index epochs // 2 + drop_offset on (counted from 0), where
    the momentum is also reset; `drop_offset` None leaves that out. Besides, the rate is multiplied by `gamma` at every
    fraction of the epochs in `milestones`, rounded down, momentum kept. Augmentation is drawn anew for every image.

    Attributes:
        augment: an augmentation by name, see `infodistill.augment.by_name`.
        full_epochs: epochs of the `full` column (training on all real data), with the same schedule.
        loss: `cross_entropy`, or `squared_error` on regression scores; hard labels are then centred, one-hot - 1/k.
        optimiser: `sgd`, or `adam` or `adamw`, which have no use for `momentum`.
        mix: `cutmix` mixes images and labels of a batch, see `infodistill.augment.mixing`.
        updates: where given, the least number of optimiser steps that whole passes over the set have to make up, in
            place of `epochs` (which counts for one batch).
        note: where the protocol comes from and what was left to us.
    """

    name: str
    epochs: int
    full_epochs: int
    batch: int = 256
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    drop: float = 0.1
    drop_offset: int | None = 2
    extra_passes: int = 1
    augment: str = "none"
    note: str = ""
    loss: str = "cross_entropy"
    optimiser: str = "sgd"
    updates: int | None = None
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1
    mix: str = "none"

    def __post_init__(self) -> None:
        by_name(self.augment)  # a name nobody knows is refused here, not after the first network
        for name, known in ((self.loss, LOSSES), (self.optimiser, OPTIMISERS), (self.mix, MIXES)):
            if name not in known:
                raise ValueError(f"a protocol knows {' and '.join(known)}, not '{name}'")
        if self.updates is not None and self.updates < 1:
            raise ValueError(f"a protocol needs at least 1 update, got {self.updates}")

    @property
    def kind(self) -> LabelKind:
        """The targets its loss is for."""
        return WANTS[self.loss]

    def passes(self, rows: int | None = None) -> int:
        """Epochs on a set of `rows` images, `extra_passes` not counted; None for a set of one batch."""
        if self.updates is None:
            return self.epochs
        return -(-self.updates // -(-(rows or 1) // self.batch))

    def fit(self, epochs: int | None = None, lr: float | None = None, *, rows: int | None = None) -> Fit:
        """The training of one network on `rows` images, for other epochs or base rate where a plan says so."""
        count = self.passes(rows) if epochs is None else epochs
        first_low = count // 2 + self.drop_offset if self.drop_offset is not None else None
        falls = tuple(int(count * fraction + 1e-9) for fraction in self.milestones)
        return Fit(
            epochs=count + self.extra_passes,
            batch=self.batch,
            lr=self.lr if lr is None else lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            decay=lambda epoch: (
                (self.drop if first_low is not None and epoch >= first_low else 1.0)
                * self.gamma ** sum(epoch >= fall for fall in falls)
            ),
            restarts=() if first_low is None else (first_low,),
            augment=by_name(self.augment),
            mix=None if self.mix == "none" else MIXES[self.mix],
            loss=LOSSES[self.loss],
            optimiser=OPTIMISERS[self.optimiser],
        )

    def check(self, distilled: Distilled) -> None:
        """Refuse a set whose labels the loss is not for; hard labels fit every loss.

        Raises:
            ValueError: regression scores under cross-entropy, or soft labels under squared error.
        """
        if distilled.soft_labels is not None and distilled.label_kind is not self.kind:
            raise ValueError(
                f"protocol '{self.name}' trains by {self.loss}, which wants {self.kind.value}, but the labels of this "
                f"set are {distilled.label_kind.value}: use another protocol, or the set's hard labels"
            )

    def targeted(self, rows: Rows) -> Rows:
        """The rows with targets the loss is for: those on the simplex are centred for squared error."""
        scored = isinstance(rows, Batch) and rows.kind is LabelKind.SCORES
        return rows if scored or self.kind is LabelKind.PROBABILITIES else Centred(rows)

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name not in LATER or value != LATER[name]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> EvaluationProtocol:
        """The protocol stored in an artefact; an unknown or missing key is a ValueError."""
        known = {field.name for field in fields(cls)}
        unknown, missing = set(content) - known, {"name", "epochs", "full_epochs"} - set(content)
        if unknown or missing:
            raise ValueError(f"a protocol has unknown keys {sorted(unknown)} or lacks {sorted(missing)}")
        told: dict[str, Any] = {**content, "milestones": tuple(content.get("milestones", ()))}
        return cls(**told)


def phases(plan: Sequence[Mapping[str, Any]], protocol: EvaluationProtocol, batch: Batch) -> list[tuple[Batch, Fit]]:
    """The trainings a plan asks for, in order, each with its rows of the set.

    A phase has `rows` (null: all), `rates` and `epochs` or `steps`, and may have a `batch` size of its own. rates null:
    the protocol's; one number: the protocol with this base rate; a list, which needs `steps`: that many plain SGD steps
    on all rows of the phase, step i with rates[i mod len], no momentum, decay or augmentation (as in DD).
    epochs null: the protocol's. Every phase begins with a fresh optimiser.

    Raises:
        ValueError: a phase that fits none of these, or rows outside the set.
    """
    return [_phase(phase, protocol, batch) for phase in plan]


_KEYS = {"rows", "rates", "epochs", "steps", "batch"}


def _phase(phase: Mapping[str, Any], protocol: EvaluationProtocol, batch: Batch) -> tuple[Batch, Fit]:
    if unknown := set(phase) - _KEYS:
        raise ValueError(f"a phase of the plan has unknown keys {sorted(unknown)}, known: {', '.join(sorted(_KEYS))}")
    rows = batch if phase.get("rows") is None else batch.rows(_index(phase["rows"], len(batch)))
    rates, steps = phase.get("rates"), phase.get("steps")
    if isinstance(rates, list):
        if not rates or not isinstance(steps, int):
            raise ValueError(f"a phase with a list of rates needs some rates and `steps`, got {rates} and {steps}")
        plain = _plain_steps([float(rate) for rate in rates], steps, len(rows))
        return rows, replace(plain, loss=LOSSES[protocol.loss])
    if steps is not None:
        raise ValueError("a phase with `steps` needs a list of rates; use `epochs` with the protocol's rates")
    batched = protocol if phase.get("batch") is None else replace(protocol, batch=int(phase["batch"]))
    return rows, batched.fit(phase.get("epochs"), rates, rows=len(rows))


def _plain_steps(rates: list[float], steps: int, rows: int) -> Fit:
    return Fit(epochs=steps, batch=rows, lr=1.0, decay=lambda step: rates[step % len(rates)])


def _index(rows: Sequence[int], count: int) -> Tensor:
    index = torch.as_tensor(rows, dtype=torch.int64)
    if len(index) == 0 or int(index.min()) < 0 or int(index.max()) >= count:
        raise ValueError(f"a phase of the plan needs rows in 0..{count - 1}, got {list(rows)[:8]}")
    return index
