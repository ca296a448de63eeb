"""The trainable set: what is stored, how it decodes to images, what labels it carries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import Tensor

from infodistill.distilled import ALL_ROWS, Distilled
from infodistill.real import RealData
from infodistill.seeding import key, stream
from infodistill.types import Batch, ValueSpace

Decode = Callable[[Tensor], Tensor]
Initialise = Callable[[RealData, int, int], Tensor]
"""(real, ipc, seed) -> class-major images (classes * ipc, c, h, w) in the value space of `real`."""


def stored_as_images(pixels: Tensor) -> Tensor:
    """The decoder of a set that stores its images as they are."""
    return pixels


def fixed_labels(labels: Tensor) -> Tensor:
    """The reading of labels that are stored as the target itself."""
    return labels


@dataclass
class SyntheticSet:
    """Trainable images, class-major: class c owns stored rows c * ipc ... (c + 1) * ipc - 1.

    Args:
        pixels: (classes * ipc, c, h, w) leaf tensor, what the optimiser moves.
        y: (classes * ipc,) class of each stored row.
        space: value space of the decoded images.
        labels: (rows, k) what the targets are read from; a leaf that requires grad when they are learned.
        class_names: the classes in label order.
        scalars: learned scalars saved with the set (a step size, for trajectory methods).
        decode: stored rows to images; a decoder that makes f images of a row returns them row-major, f per row.
        read_labels: `labels` to rows on the simplex (softmax for learned logits).
        project: called with (set, step) after each update, for clamps and simplex projections; it works in place.
        plan: phases a training on this set replays; empty means all rows at the protocol's rates.
    """

    pixels: Tensor
    y: Tensor
    space: ValueSpace
    labels: Tensor
    class_names: tuple[str, ...]
    scalars: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    decode: Decode = stored_as_images
    read_labels: Decode = fixed_labels
    project: Callable[[SyntheticSet, int], None] | None = None
    plan: Sequence[Mapping[str, Any]] = ()

    @property
    def num_classes(self) -> int:
        return self.labels.shape[1]

    @property
    def ipc(self) -> int:
        return len(self.y) // self.num_classes

    @property
    def decoded_per_class(self) -> int:
        """Images a network sees for each class; 1 makes class-conditional statistics degenerate."""
        with torch.no_grad():
            return self.ipc * len(self.decode(self.pixels[:1]))

    @property
    def hard_labels(self) -> bool:
        return not self.labels.requires_grad

    def batch(self, classes: Sequence[int] | None = None) -> Batch:
        """The decoded images of some classes (all by default), with a graph back to what is stored."""
        rows = self.rows_of(classes)
        pixels, labels, y = (self.pixels, self.labels, self.y) if rows is None else self._take(rows)
        x = self.decode(pixels)
        copies = len(x) // len(pixels)
        target = self.read_labels(labels)
        if copies > 1:
            y, target = y.repeat_interleave(copies), target.repeat_interleave(copies, 0)
        return Batch(x, y, target, self.space)

    def rows_of(self, classes: Sequence[int] | None) -> Tensor | None:
        """Stored rows of some classes, class-major; None stands for all of them."""
        if classes is None or list(classes) == list(range(self.num_classes)):
            return None
        start = torch.as_tensor(list(classes), device=self.y.device)[:, None] * self.ipc
        return (start + torch.arange(self.ipc, device=self.y.device)).flatten()

    def _take(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.pixels[rows], self.labels[rows], self.y[rows]

    def trainable(self) -> list[Tensor]:
        """The leaves an update moves: images, then labels if learned, then scalars by name."""
        labels = [self.labels] if self.labels.requires_grad else []
        return [self.pixels, *labels, *(self.scalars[name] for name in sorted(self.scalars))]

    def restrict(self, grads: Sequence[Tensor], classes: Sequence[int]) -> list[Tensor]:
        """Gradients of `trainable()` with the rows of other classes set to zero; scalars keep theirs."""
        rows = self.rows_of(classes)
        if rows is None:
            return list(grads)
        keep = torch.zeros(len(self.y), dtype=torch.bool, device=self.y.device).index_fill(0, rows, True)
        return [g * keep.view(-1, *[1] * (g.dim() - 1)) if g.shape[:1] == keep.shape else g for g in grads]

    def export(self, **meta: Any) -> Distilled:
        """The finished set on the CPU: decoded images, labels, soft labels where they are learned, scalars, plan."""
        batch = self.batch().detach()
        return Distilled(
            images=batch.x.float().cpu(),
            y=batch.y.cpu(),
            space=self.space,
            class_names=self.class_names,
            soft_labels=None if self.hard_labels else batch.target.float().cpu(),
            scalars={name: value.cpu() for name, value in _detached(self.scalars).items()},
            plan=tuple(self.plan) or (ALL_ROWS,),
            meta=meta,
        )

    def state_dict(self) -> dict[str, Any]:
        return {"pixels": self.pixels.detach(), "labels": self.labels.detach(), "scalars": _detached(self.scalars)}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.pixels.copy_(state["pixels"])
        self.labels.copy_(state["labels"])
        for name, value in self.scalars.items():
            value.copy_(state["scalars"][name])


def _detached(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in tensors.items()}


def synthesise(real: RealData, ipc: int, seed: int, init: Initialise, device: str = "cpu") -> SyntheticSet:
    """A set of `ipc` stored images per class with fixed hard labels.

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
    return SyntheticSet(pixels, y, real.space, F.one_hot(y, real.num_classes).float(), real.class_names)


def from_real(real: RealData, ipc: int, seed: int) -> Tensor:
    """Distinct random real images of each class (DSA, DM)."""
    return real.rows(real.sample(seed, ipc)).x


def from_noise(real: RealData, ipc: int, seed: int) -> Tensor:
    """N(0, 1) in normalised space (DC)."""
    return torch.randn(real.num_classes * ipc, *real.shape, generator=stream(seed, "init.noise"))


def from_kmeans(real: RealData, ipc: int, seed: int) -> Tensor:
    """The real image nearest each of `ipc` k-means centres of its class, in pixel space.

    At most 2,000 keyed images of a class are clustered.
    """
    rows = [_medoids(real.class_rows[c], real, ipc, seed=seed, label=c) for c in range(real.num_classes)]
    return real.rows(torch.cat(rows)).x


def _medoids(rows: Tensor, real: RealData, ipc: int, *, seed: int, label: int) -> Tensor:
    if len(rows) < ipc:
        raise ValueError(f"ipc {ipc} is more than the {len(rows)} images of class '{real.class_names[label]}'")
    rows = rows[torch.randperm(len(rows), generator=stream(seed, "init.kmeans", 0, label))[:2000]]
    x = real.rows(rows).x.flatten(1).double().cpu()
    means = KMeans(ipc, n_init=cast(Any, 1), random_state=key(seed, "init.kmeans", label) % 2**31).fit(x.numpy())
    distance = torch.cdist(torch.as_tensor(means.cluster_centers_), x)
    return rows[_distinct_nearest(distance)]


def _distinct_nearest(distance: Tensor) -> Tensor:
    """Column of the nearest point for each row, no column twice (rows choose in order)."""
    chosen: list[int] = []
    for row in distance.clone():
        row[torch.as_tensor(chosen, dtype=torch.long)] = torch.inf
        chosen.append(int(row.argmin()))
    return torch.as_tensor(chosen)
