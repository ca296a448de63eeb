"""Evaluation protocols: how a network is trained on a distilled set before it is tested. Frozen, named, JSON-able.

Accuracies under different protocols are never comparable, so every result carries the name of its protocol. The number
reported is that of the last epoch. `dc` and `dsa` follow the published evaluation of the DC family.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from infodistill.augment import DSA_STRATEGY, by_name
from infodistill.training import Fit
from infodistill.types import Batch

NOT_FLIPPABLE = ("mnist", "svhn", "digit")
"""Parts of the names of data whose mirror images are other symbols (DSA drops `flip` for them)."""

DSA_PER_IMAGE = f"per-image:{DSA_STRATEGY}"


@dataclass(frozen=True)
class EvaluationProtocol:
    """SGD with momentum, batches of `batch`, soft-target cross-entropy, `epochs + extra_passes` passes over the set.

    The learning rate is `lr`, and `drop * lr` from epoch index epochs // 2 + drop_offset on (counted from 0), where
    the momentum is also reset; `drop_offset` None keeps it constant. Augmentation is drawn anew for every image.

    Attributes:
        augment: an augmentation by name, see `infodistill.augment.by_name`.
        full_epochs: epochs of the `full` column (training on all real data), with the same schedule.
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

    def __post_init__(self) -> None:
        by_name(self.augment)  # a name nobody knows is refused here, not after the first network

    def fit(self, epochs: int | None = None, lr: float | None = None) -> Fit:
        """The training of one network, for another number of epochs or base rate where a plan says so."""
        count = self.epochs if epochs is None else epochs
        first_low = count // 2 + self.drop_offset if self.drop_offset is not None else None
        return Fit(
            epochs=count + self.extra_passes,
            batch=self.batch,
            lr=self.lr if lr is None else lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            decay=lambda epoch: self.drop if first_low is not None and epoch >= first_low else 1.0,
            restarts=() if first_low is None else (first_low,),
            augment=by_name(self.augment),
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> EvaluationProtocol:
        """The protocol stored in an artefact; an unknown or missing key is a ValueError."""
        known = {field.name for field in fields(cls)}
        unknown, missing = set(content) - known, {"name", "epochs", "full_epochs"} - set(content)
        if unknown or missing:
            raise ValueError(f"a protocol has unknown keys {sorted(unknown)} or lacks {sorted(missing)}")
        return cls(**content)


PROTOCOLS: dict[str, EvaluationProtocol] = {
    "quick": EvaluationProtocol(
        "quick",
        epochs=300,
        full_epochs=150,
        drop_offset=0,
        extra_passes=0,
        augment="shift1",
        note="Ours, for tiny images: 300 passes, lr x0.1 and momentum reset after half of them, 1-pixel shifts.",
    ),
    "dc": EvaluationProtocol(
        "dc",
        epochs=300,
        full_epochs=100,
        note="DC (Zhao et al., ICLR 2021): 300 epochs without augmentation; MNIST: 1000 with crop_scale_rotate.",
    ),
    "dsa": EvaluationProtocol(
        "dsa",
        epochs=1000,
        full_epochs=200,
        augment=DSA_PER_IMAGE,
        note="DSA (Zhao & Bilen, ICML 2021), also DM: 1000 epochs with DSA per image; no flip for digits.",
    ),
    "mim4dd": EvaluationProtocol(
        "mim4dd",
        epochs=300,
        full_epochs=100,
        note="MIM4DD (Shang et al., NeurIPS 2023): 300 epochs, lr 0.01, five nets; what it leaves open is as in dc.",
    ),
}


def flippable(data: str) -> bool:
    """Whether a mirrored image of this data keeps its class, told by its name, folder or `hf:` name.

    Only the last part of a path counts, and anything in it that names digits is enough (`emnist`, `mnist_png`): not to
    flip is the safe mistake. Clothes may be flipped, whatever Fashion-MNIST is called.
    """
    name = _last_part(data)
    return "fashion" in name or not any(part in name for part in NOT_FLIPPABLE)


def protocol_for(name: str, data: str = "") -> EvaluationProtocol:
    """A protocol as it applies to a data set: DSA without flips on digits, DC's own augmentation on MNIST.

    Raises:
        ValueError: no protocol of that name.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol '{name}', known: {', '.join(PROTOCOLS)}")
    protocol = PROTOCOLS[name]
    if name == "dc" and _last_part(data) == "mnist":
        return replace(protocol, epochs=1000, augment="dc:crop_scale_rotate")
    if not flippable(data):
        return replace(protocol, augment=protocol.augment.replace("_flip", ""))
    return protocol


def _last_part(data: str) -> str:
    return re.split(r"[/\\:]", data.lower().rstrip("/\\"))[-1]


def phases(plan: Sequence[Mapping[str, Any]], protocol: EvaluationProtocol, batch: Batch) -> list[tuple[Batch, Fit]]:
    """The trainings a plan asks for, in order, each with its rows of the set.

    A phase has `rows` (null: all), `rates` and `epochs` or `steps`. rates null: the protocol's; one number: the
    protocol with this base rate; a list, which needs `steps`: that many plain SGD steps on all rows of the phase, step
    i with rates[i mod len], no momentum, decay or augmentation (DD and LD learn their rates this way). epochs null:
    the protocol's.

    Raises:
        ValueError: a phase that fits none of these, or rows outside the set.
    """
    return [_phase(phase, protocol, batch) for phase in plan]


def _phase(phase: Mapping[str, Any], protocol: EvaluationProtocol, batch: Batch) -> tuple[Batch, Fit]:
    if unknown := set(phase) - {"rows", "rates", "epochs", "steps"}:
        raise ValueError(f"a phase of the plan has unknown keys {sorted(unknown)}, known: rows, rates, epochs, steps")
    rows = batch if phase.get("rows") is None else batch.rows(_index(phase["rows"], len(batch)))
    rates, steps = phase.get("rates"), phase.get("steps")
    if isinstance(rates, list):
        if not rates or not isinstance(steps, int):
            raise ValueError(f"a phase with a list of rates needs some rates and `steps`, got {rates} and {steps}")
        return rows, _plain_steps([float(rate) for rate in rates], steps, len(rows))
    if steps is not None:
        raise ValueError("a phase with `steps` needs a list of rates; use `epochs` with the protocol's rates")
    return rows, protocol.fit(phase.get("epochs"), rates)


def _plain_steps(rates: list[float], steps: int, rows: int) -> Fit:
    return Fit(epochs=steps, batch=rows, lr=1.0, decay=lambda step: rates[step % len(rates)])


def _index(rows: Sequence[int], count: int) -> Tensor:
    index = torch.as_tensor(rows, dtype=torch.int64)
    if len(index) == 0 or int(index.min()) < 0 or int(index.max()) >= count:
        raise ValueError(f"a phase of the plan needs rows in 0..{count - 1}, got {list(rows)[:8]}")
    return index
