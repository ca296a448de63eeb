"""The trainable set: what is stored, how it decodes to images, what labels it carries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from infodistill.distilled import ALL_ROWS, Distilled
from infodistill.real import RealData
from infodistill.storage.exporting import detached, exported
from infodistill.storage.initial import Initialise, from_kmeans, from_noise, from_real
from infodistill.types import Batch, LabelKind, ValueSpace, require_simplex

Decode = Callable[[Tensor], Tensor]
Project = Callable[["SyntheticSet", int], None]
"""project(set, step): called after each update, for clamps and projections; it works in place."""
Phases = Sequence[Mapping[str, Any]]
Plan = Callable[["SyntheticSet"], Phases]
"""plan(set) -> the phases a training on the finished set replays, see `protocol.phases`."""
Final = Callable[["SyntheticSet"], "SyntheticSet"]
"""final(set) -> the set that is exported for it: a running average of it (FTD), or itself."""


def stored_as_images(pixels: Tensor) -> Tensor:
    """The decoder of a set that stores its images as they are."""
    return pixels


def fixed_labels(labels: Tensor) -> Tensor:
    """The reading of labels that are stored as the target itself."""
    return labels


def plain_plan(syn: SyntheticSet) -> Phases:
    """One phase: all rows, at the protocol's rates and for its epochs."""
    del syn
    return (ALL_ROWS,)


def as_it_stands(syn: SyntheticSet) -> SyntheticSet:
    """The set that is exported is the one that is trained."""
    return syn


@dataclass(repr=False)
class SyntheticSet:
    """What is learned and what is fixed, class-major: rows of one class stand together, classes ascending.

    Where every class has `ipc` rows, as in all methods but SLDD's small sets, class c owns rows c * ipc and following.

    Args:
        pixels: (rows, ...) leaf tensor, what is stored of the images; fixed where it does not require grad.
        y: (rows,) class of each stored row; any number of rows, also fewer than classes.
        space: value space of the decoded images.
        labels: (rows, k) what the targets are read from; a leaf that requires grad when they are learned.
        class_names: the classes in label order.
        scalars: learned tensors that belong to no row: a step size, a rate per step, bases.
        decode: stored rows to images; a decoder that makes f images of a row returns them row-major, f per row. One
            with tensors of its own is a dataclass whose fields are the very tensors that `scalars` holds.
        read_labels: `labels` to rows of `kind` (softmax for learned logits), see `infodistill.storage.labels`.
        project: called with (set, step) after each update, for clamps and simplex projections; it works in place.
        plan: called with the set when it is exported: the phases a training on it replays, learned rates included.
        kind: what the targets are, probabilities or regression scores.
        final: called with the set when it is exported: the set that is written for it.
        shown: how many rows of every class are in batches now, its first ones (PDD's stages); None for all of them.

    Raises:
        ValueError: labels that do not fit the rows, or targets called probabilities that are not on the simplex.
    """

    pixels: Tensor
    y: Tensor
    space: ValueSpace
    labels: Tensor
    class_names: tuple[str, ...]
    scalars: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    decode: Decode = stored_as_images
    read_labels: Decode = fixed_labels
    project: Project | None = None
    plan: Plan = plain_plan
    kind: LabelKind = LabelKind.PROBABILITIES
    final: Final = as_it_stands
    shown: Callable[[], int] | None = None

    def __post_init__(self) -> None:
        if self.labels.shape != (len(self.y), len(self.class_names)):
            wanted, found = (len(self.y), len(self.class_names)), tuple(self.labels.shape)
            raise ValueError(f"the labels must be {wanted}, one row per stored image, got {found}")
        if self.kind is LabelKind.PROBABILITIES:
            with torch.no_grad():
                require_simplex(self.read_labels(self.labels))

    def __repr__(self) -> str:
        stored = f"{len(self.y)} rows {tuple(self.pixels.shape[1:])}"
        return f"<SyntheticSet: {stored}, {len(self.class_names)} classes, {self.kind.name.lower()}>"

    @property
    def num_classes(self) -> int:
        return self.labels.shape[1]

    @property
    def ipc(self) -> int:
        """Stored rows per class: the largest count of any class."""
        return int(self.y.bincount(minlength=self.num_classes).max())

    @property
    def decoded_per_class(self) -> int:
        """Images a network sees for each class; 1 makes class-conditional statistics degenerate."""
        with torch.no_grad():
            return max(self.ipc, 1) * len(self.decode(self.pixels[:1]))

    def batch(self, classes: Sequence[int] | None = None) -> Batch:
        """The decoded images of some classes (all by default), with a graph back to what is stored."""
        rows = self.rows_of(classes)
        pixels, labels, y = (self.pixels, self.labels, self.y) if rows is None else self._take(rows)
        x = self.decode(pixels)
        copies = len(x) // len(pixels)
        target = self.read_labels(labels)
        if copies > 1:
            y, target = y.repeat_interleave(copies), target.repeat_interleave(copies, 0)
        return Batch(x, y, target, self.space, kind=self.kind)

    def rows_of(self, classes: Sequence[int] | None) -> Tensor | None:
        """Stored rows of some classes, class-major; None stands for all of them.

        Raises:
            ValueError: some classes or rows are asked for, and classes do not all have equally many rows.
        """
        every = list(range(self.num_classes))
        chosen = every if classes is None else list(classes)
        if self.shown is None and chosen == every:
            return None
        if len(self.y) != self.ipc * self.num_classes:
            raise ValueError(
                f"updating class by class needs as many stored images for every class, this set has {len(self.y)} for "
                f"{self.num_classes} classes: update all classes jointly"
            )
        start = torch.as_tensor(chosen, device=self.y.device)[:, None] * self.ipc
        rows = torch.arange(self.ipc if self.shown is None else self.shown(), device=self.y.device)
        return (start + rows).flatten()

    def _take(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.pixels[rows], self.labels[rows], self.y[rows]

    def trainable(self) -> list[Tensor]:
        """The leaves an update moves: images and labels where they are learned, then scalars by name.

        Raises:
            ValueError: nothing is learned.
        """
        leaves = [*self._learned_rows(), *(self.scalars[name] for name in sorted(self.scalars))]
        if not leaves:
            raise ValueError("nothing in this set can be learned: images and labels are fixed and there are no scalars")
        return leaves

    def _learned_rows(self) -> list[Tensor]:
        return [tensor for tensor in (self.pixels, self.labels) if tensor.requires_grad]

    def restrict(self, grads: Sequence[Tensor], classes: Sequence[int]) -> list[Tensor]:
        """Gradients of `trainable()` with the rows of other classes set to zero; scalars keep theirs."""
        rows = self.rows_of(classes)
        if rows is None:
            return list(grads)
        keep = torch.zeros(len(self.y), dtype=torch.bool, device=self.y.device).index_fill(0, rows, True)
        own = len(self._learned_rows())
        return [*(g * keep.view(-1, *[1] * (g.dim() - 1)) for g in grads[:own]), *grads[own:]]

    def export(self, **meta: Any) -> Distilled:
        """The finished set on the CPU: decoded images, labels and what they are, factors, scalars, plan."""
        return exported(self.final(self), meta)

    def state_dict(self) -> dict[str, Any]:
        return {"pixels": self.pixels.detach(), "labels": self.labels.detach(), "scalars": detached(self.scalars)}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.pixels.copy_(state["pixels"])
        self.labels.copy_(state["labels"])
        for name, value in self.scalars.items():
            value.copy_(state["scalars"][name])


def synthesise(
    real: RealData,
    ipc: int,
    seed: int,
    init: Initialise,
    device: str = "cpu",
    *,
    decode: Decode = stored_as_images,
    project: Project | None = None,
) -> SyntheticSet:
    """A set of `ipc` stored images per class with fixed hard labels; `init` makes what is stored.

    Raises:
        ValueError: ipc below 1, or larger than the smallest class (no random subset could stand beside the result).
    """
    smallest = int(real.counts.argmin())
    most = int(real.counts[smallest])
    if not 1 <= ipc <= most:
        raise ValueError(
            f"ipc must be at least 1 image per class and at most the {most} images of the smallest class "
            f"'{real.class_names[smallest]}', got {ipc}"
        )
    y = torch.arange(real.num_classes).repeat_interleave(ipc).to(device)
    pixels = init(real, ipc, seed).float().to(device).clone().requires_grad_()
    labels = F.one_hot(y, real.num_classes).float()
    return SyntheticSet(pixels, y, real.space, labels, real.class_names, decode=decode, project=project)


__all__ = [
    "Initialise",
    "Phases",
    "Plan",
    "Project",
    "SyntheticSet",
    "fixed_labels",
    "from_kmeans",
    "from_noise",
    "from_real",
    "plain_plan",
    "stored_as_images",
    "synthesise",
]
