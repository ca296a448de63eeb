"""A finished distilled set, with the facts needed to use it right. `artefact.py` says how it lies on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from infodistill.types import Batch, LabelKind, ValueSpace, require_simplex

if TYPE_CHECKING:
    from infodistill.real import RealData

ALL_ROWS: Mapping[str, Any] = {"rows": None, "rates": None, "epochs": None}
"""The plan of a plain set: one phase, every row, the protocol's rates and epochs."""


_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def _empty() -> dict[str, Any]:
    return {}


@dataclass(frozen=True, repr=False)
class Distilled:
    """A finished set, with the facts without which its numbers mean nothing.

    Args:
        images: (n, c, h, w) float32 in `space`: what a network is fed.
        y: (n,) int64 classes, positions in `class_names`.
        space: value space of the images, a whitening included; test images must be brought into it.
        class_names: the classes in order.
        soft_labels: (n, k) rows of `label_kind`, or None when `y` is all there is.
        scalars: learned tensors that belong to no image (a step size).
        plan: phases {rows, rates, epochs | steps} a training on this set replays in order, see `protocol.phases`.
        meta: JSON-able provenance: data, fingerprint, method, recipe, protocol (a dict or a name), seed, steps,
            seconds, net, policy, license, notes.
        factors: what the images were made of, where they are not stored as themselves; this is what their bytes count.
        label_kind: what `soft_labels` are: probabilities, or regression scores to be trained by squared error.
    """

    images: Tensor
    y: Tensor
    space: ValueSpace
    class_names: tuple[str, ...]
    soft_labels: Tensor | None = None
    scalars: Mapping[str, Tensor] = field(default_factory=_empty)
    plan: tuple[Mapping[str, Any], ...] = (ALL_ROWS,)
    meta: Mapping[str, Any] = field(default_factory=_empty)
    factors: Mapping[str, Tensor] = field(default_factory=_empty)
    label_kind: LabelKind = LabelKind.PROBABILITIES

    def __post_init__(self) -> None:
        n, k = len(self.images), len(self.class_names)
        if self.images.dim() != 4 or self.y.shape != (n,):
            raise ValueError(f"images must be (n, c, h, w) and y (n,), got {_shape(self.images)} and {_shape(self.y)}")
        if not self.images.is_floating_point() or self.y.dtype not in _INTEGERS:
            raise ValueError(f"images must be floats and y integers, got {self.images.dtype} and {self.y.dtype}")
        if n == 0 or int(self.y.min()) < 0 or int(self.y.max()) >= k:
            raise ValueError(f"labels must lie in 0..{k - 1} (the {k} classes named) and there must be some")
        _check_targets(self.soft_labels, self.label_kind, (n, k))
        if odd := [phase for phase in cast("tuple[object, ...]", self.plan) if not isinstance(phase, Mapping)]:
            raise ValueError(f"a phase of the plan must be a mapping, got {odd[0]!r:.80}")
        if self.images.shape[1] != len(self.space.mean):
            raise ValueError(f"the value space has {len(self.space.mean)} channels, the images {self.images.shape[1]}")
        if self.space.whitening is not None and self.space.whitening.shape != self.shape:
            raise ValueError(f"the whitening is for images {self.space.whitening.shape}, the set has {self.shape}")
        if not torch.isfinite(self.images).all():
            raise ValueError("the images hold values that are not finite numbers")

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        labels = "hard labels" if self.soft_labels is None else f"soft labels ({self.label_kind.name.lower()})"
        made = " ".join(f"{name}={self.meta[name]!r}" for name in ("data", "method", "seed") if name in self.meta)
        return f"<Distilled: {len(self)} images {self.shape}, {self.num_classes} classes, {labels}; {made}>"

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, int, int]:
        c, h, w = self.images.shape[1:]
        return int(c), int(h), int(w)

    @property
    def ipc(self) -> int:
        """Images per class: the largest count of any class (all are equal for a balanced set)."""
        return int(self.y.bincount(minlength=self.num_classes).max())

    @property
    def stored_ipc(self) -> int:
        """Images per class as they are stored, the field's IPC: fewer than `ipc` where each holds several tiles."""
        rows = self.factors.get("rows")
        if rows is None or rows.shape[1:] != self.images.shape[1:]:
            return self.ipc
        return self.ipc * len(rows) // len(self)

    @property
    def images_bytes(self) -> int:
        """Bytes of the stored images, or of the factors they are made of: float32 values, no compression."""
        return _bytes(self.factors) if self.factors else _bytes({"images": self.images})

    @property
    def labels_bytes(self) -> int:
        """Bytes of the labels as stored: 8 for each hard label (int64), plus the soft labels where there are any."""
        soft = self.soft_labels
        return self.y.numel() * 8 + (0 if soft is None else _bytes({"soft": soft}))

    @property
    def scalars_bytes(self) -> int:
        """Bytes of what is learned beside images and labels."""
        return _bytes(self.scalars)

    def target(self) -> Tensor:
        """(n, k) rows of `label_kind`: the soft labels or scores, or one-hot classes."""
        if self.soft_labels is not None:
            return self.soft_labels.float()
        return F.one_hot(self.y, self.num_classes).float()

    def batch(self) -> Batch:
        """The whole set as one batch."""
        return Batch(self.images, self.y, self.target(), self.space, kind=self.label_kind)

    def hard(self) -> Distilled:
        """The same images with hard labels."""
        return replace(self, soft_labels=None, label_kind=LabelKind.PROBABILITIES)

    def dataset(self) -> Dataset[tuple[Tensor, ...]]:
        """(image, label) pairs, or (image, soft label or score row) where there are some. Images are in `space`."""
        return TensorDataset(self.images, self.y if self.soft_labels is None else self.soft_labels)

    def with_meta(self, **meta: Any) -> Distilled:
        return replace(self, meta={**self.meta, **meta})

    def check(self, real: RealData) -> None:
        """Refuse data this set cannot be evaluated on.

        Raises:
            ValueError: other classes, another class order, or another image shape.
        """
        theirs = tuple(real.class_names)
        if theirs != self.class_names:
            same = sorted(theirs) == sorted(self.class_names)
            what = "its classes in another order" if same else "other classes"
            raise ValueError(f"the data has {what}: the artefact has {_few(self.class_names)}, the data {_few(theirs)}")
        if tuple(real.shape) != self.shape:
            raise ValueError(f"the artefact holds images of shape {self.shape}, the data has {tuple(real.shape)}")

    def save(self, folder: str | Path, *, files: Mapping[str, bytes] | None = None) -> Path:
        """Write the self-describing artefact folder; see `infodistill.artefact.save`."""
        from infodistill import artefact  # the folder holds a card and pictures of this class

        return artefact.save(self, Path(folder), files or {})


def load(folder: str | Path) -> Distilled:
    """Read and verify an artefact folder; see `infodistill.artefact.load`."""
    from infodistill import artefact

    return artefact.load(Path(folder))


def _check_targets(rows: Tensor | None, kind: LabelKind, shape: tuple[int, int]) -> None:
    if rows is None:
        if kind is not LabelKind.PROBABILITIES:
            raise ValueError(f"labels of kind {kind.value} must be given, hard labels are probabilities")
        return
    if rows.shape != shape:
        raise ValueError(f"soft labels must be {shape}, got {_shape(rows)}")
    if kind is LabelKind.PROBABILITIES:
        require_simplex(rows)
    elif not (rows.is_floating_point() and bool(torch.isfinite(rows).all())):
        raise ValueError("label scores must be finite floats")


def _bytes(tensors: Mapping[str, Tensor]) -> int:
    return sum(value.numel() * value.element_size() for value in tensors.values())


def _shape(x: Tensor) -> tuple[int, ...]:
    return tuple(x.shape)


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:6])
    return f"{len(names)} classes ({shown}{', …' if len(names) > 6 else ''})"
