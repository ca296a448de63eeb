"""Real data: a labelled image set that stays uint8 until a batch is asked for.

Nothing here reads a file, or remembers what was drawn: every draw is a function of its arguments.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from infodistill.seeding import stream
from infodistill.types import Batch, ValueSpace

CHUNK_BYTES = 32 * 2**20
"""Temporary memory of a gather: whatever is asked for is converted in pieces of at most this many float bytes."""


class RealData:
    """Labelled uint8 images (n, c, h, w) with a class index, a value space, names and a fingerprint.

    The images may lie in memory, in a memory-mapped file or on an accelerator: draws are made on the CPU and do not
    depend on that. `subset`, `split` and `to` return other objects; a subset lists rows of the same stored images.

    Args:
        images: uint8 (n, c, h, w).
        labels: int64 (n,), in 0..k-1 with k = len(class_names).
        class_names: one name per class; its order is the label order.
        space: the value space batches are delivered in.
        name: what reports call this data.
        test: the data a result is measured on, if known.
        notes: what happened while reading (skipped files, split rule, origin of the constants); JSON-able.
        rows: stored row of each row, int64 (n,); None when they are the same. With it `labels` has n entries.
        device: where batches are delivered; that of `images` when not given.

    Raises:
        ValueError: shapes, types, label range, names or channels do not fit together.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        class_names: Sequence[str],
        space: ValueSpace,
        name: str = "unnamed",
        *,
        test: RealData | None = None,
        notes: Mapping[str, Any] | None = None,
        rows: Tensor | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.device = images.device if device is None else device
        self._stored, self._rows = images, rows
        self.labels = labels.to(self.device, torch.int64)
        self.class_names, self.space, self.name = tuple(class_names), space, name
        self.test, self.notes = test, dict(notes or {})
        _check(self, images, rows)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"<RealData: {self.name}, {len(self)} images {self.shape}, {self.num_classes} classes>"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every image."""
        _, channels, height, width = self._stored.shape
        return channels, height, width

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def nbytes(self) -> int:
        """Bytes of the uint8 images."""
        return len(self) * self._stored[0].numel()

    @property
    def images(self) -> Tensor:
        """All images, uint8 (n, c, h, w): the stored tensor itself, or a gathered copy if this is a subset."""
        return self._stored if self._rows is None else self._gathered(self._stored.device)

    @cached_property
    def counts(self) -> Tensor:
        """Images per class, int64 (k,), on the CPU."""
        return torch.bincount(self.labels.cpu(), minlength=self.num_classes)

    @cached_property
    def class_rows(self) -> tuple[Tensor, ...]:
        """The rows of every class in ascending order, int64 on the CPU."""
        return self.labels.cpu().argsort(stable=True).split(self.counts.tolist())

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) over shape, class names, labels and images; the same on every machine and device."""
        digest = hashlib.sha256(repr((len(self), self.shape, self.class_names)).encode())
        digest.update(self.labels.cpu().numpy().astype("<i8").tobytes())
        for _, piece in self._pieces(torch.arange(len(self))):
            digest.update(self.pixels(piece).cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def pixels(self, index: Tensor) -> Tensor:
        """Images `index` (n,) as uint8 (n, c, h, w), on the device they are stored on."""
        return self._stored[self._stored_rows(index).to(self._stored.device)]

    def rows(self, index: Tensor, /) -> Batch:
        """Images `index` (n,) as float32 in `space`, with one-hot targets (n, k), on `device`."""
        y = self.labels[index.to(self.device)]
        x = torch.empty((len(index), *self.shape), device=self.device)
        for start, piece in self._pieces(index):
            pixels = self.pixels(piece).to(self.device).to(x.dtype).div_(255)
            x[start : start + len(piece)] = self.space.from_pixels(pixels)
        return Batch(x, y, one_hot(y, self.num_classes).to(x.dtype), self.space)

    def draw(
        self, seed: int, step: int, per_class: int, classes: Sequence[int] | Tensor | None = None, owner: str = "real"
    ) -> Tensor:
        """Row indices of `batch`, int64 (len(classes) * per_class,), class-major, on the CPU."""
        if per_class < 1:
            raise ValueError(f"a batch needs at least 1 image per class, got {per_class}")
        wanted = range(self.num_classes) if classes is None else [int(c) for c in classes]
        return torch.cat([_cycle(self._members(c), per_class, stream(seed, owner, step, c)) for c in wanted])

    def batch(
        self, seed: int, step: int, per_class: int, classes: Sequence[int] | Tensor | None = None, owner: str = "real"
    ) -> Batch:
        """A balanced class-major batch: `per_class` rows of every class, drawn without replacement.

        The rows of a class depend on (seed, owner, step, class) and on nothing else: not on the other classes, their
        order, or earlier batches. Every class gives the same number of rows however imbalanced the set is. A class
        smaller than `per_class` is gone through completely, then again in a fresh keyed order, until it has enough:
        each of its images appears floor or ceil(per_class / size) times.
        """
        return self.rows(self.draw(seed, step, per_class, classes, owner))

    def sample(self, seed: int, ipc: int) -> Tensor:
        """Rows of a balanced random subset: `ipc` distinct rows per class, class-major, int64 (k * ipc,).

        Raises:
            ValueError: ipc is not positive or a class has fewer than ipc images.
        """
        if ipc < 1:
            raise ValueError(f"ipc (images per class) must be at least 1, got {ipc}")
        have, smallest = (int(v) for v in self.counts.min(0))
        if ipc > have:
            label = self.class_names[smallest]
            raise ValueError(f"ipc is {ipc}, but class {label!r} of {self.name} has only {have} images")
        return self.draw(seed, 0, ipc, owner="sample")

    def subset(self, index: Tensor, *, name: str | None = None, notes: Mapping[str, Any] | None = None) -> RealData:
        """The rows `index` (n,) as data of their own; shares the stored images, the space, the names and `test`."""
        rows, labels = self._stored_rows(index), self.labels[index.to(self.device)]
        return self.replace(labels=labels, rows=rows, name=name or self.name, notes={**self.notes, **(notes or {})})

    def split(self, fraction: float, seed: int) -> tuple[RealData, RealData]:
        """(rest, held_out): a stratified split, round(fraction * size) of every class held out, keyed by `seed`.

        A class of two or more images keeps at least one on either side; a class of one stays in `rest`. Rows keep
        their order. `rest.test` is `self.test`; `held_out.test` is None.

        Raises:
            ValueError: fraction is not strictly between 0 and 1.
        """
        if not 0 < fraction < 1:
            raise ValueError(f"the held-out fraction must lie strictly between 0 and 1, got {fraction}")
        held = torch.zeros(len(self), dtype=torch.bool)
        for label, members in enumerate(self.class_rows):
            take = min(max(int(fraction * len(members) + 0.5), 1), len(members) - 1)
            if take > 0:
                held[members[torch.randperm(len(members), generator=stream(seed, "split", 0, label))[:take]]] = True
        rule = {"split": f"stratified {fraction:g} held out, seed {seed}"}
        held_out = self.subset(held.nonzero().flatten(), notes=rule).replace(test=None)
        return self.subset((~held).nonzero().flatten(), notes=rule), held_out

    def to(self, device: torch.device | str, *, budget: int | None = None) -> RealData:
        """The same data delivering batches on `device`; the images move there too when they fit.

        They fit when their uint8 bytes are at most `budget` (default: half of the free memory of a CUDA device,
        unlimited elsewhere); otherwise they stay where they are and every batch is copied. Values do not change.
        """
        target = torch.empty(0, device=device).device
        if target == self.device:
            return self
        free = torch.cuda.mem_get_info(target)[0] if target.type == "cuda" else 2**62
        limit = free // 2 if budget is None else budget
        moves = self._stored.device.type != target.type if target.type == "cpu" else self.nbytes <= limit
        test = None if self.test is None else self.test.to(device, budget=budget)
        storage: dict[str, Any] = {"images": self._gathered(target), "rows": None} if moves else {}
        moved = self.replace(**storage, device=target, test=test)
        if "fingerprint" in self.__dict__:
            moved.__dict__["fingerprint"] = self.fingerprint
        return moved

    def replace(self, **changes: Any) -> RealData:
        """A copy with some constructor arguments replaced; the stored images are shared."""
        words = ("labels", "class_names", "space", "name", "test", "notes", "device")
        arguments: dict[str, Any] = {word: getattr(self, word) for word in words}
        arguments |= {"images": self._stored, "rows": self._rows} | changes
        return RealData(**arguments)

    def _stored_rows(self, index: Tensor) -> Tensor:
        return index if self._rows is None else self._rows[index.to(self._rows.device)]

    def _gathered(self, device: torch.device) -> Tensor:
        """All images as one uint8 tensor on `device`, copied piece by piece."""
        images = torch.empty((len(self), *self.shape), dtype=torch.uint8, device=device)
        for start, piece in self._pieces(torch.arange(len(self))):
            images[start : start + len(piece)] = self.pixels(piece).to(device)
        return images

    def _pieces(self, index: Tensor) -> Iterator[tuple[int, Tensor]]:
        """(offset, part of `index`) with bounded float bytes per part."""
        rows = max(1, CHUNK_BYTES // (4 * self._stored[0].numel()))
        return ((start, index[start : start + rows]) for start in range(0, len(index), rows))

    def _members(self, label: int) -> Tensor:
        if not 0 <= label < self.num_classes or not len(self.class_rows[label]):
            raise ValueError(f"{self.name} has no images of class {label}; it has {self.num_classes} classes")
        return self.class_rows[label]


def _cycle(members: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` entries of `members`: keyed permutations, one after the other."""
    rounds = -(-count // len(members))
    return members[torch.cat([torch.randperm(len(members), generator=generator) for _ in range(rounds)])[:count]]


def _check(real: RealData, images: Tensor, rows: Tensor | None) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or not len(images):
        raise ValueError(f"images must be uint8 (n, c, h, w) with n > 0, got {images.dtype} {tuple(images.shape)}")
    count = len(images if rows is None else rows)
    if real.labels.shape != (count,):
        raise ValueError(f"{count} images need as many labels, got labels of shape {tuple(real.labels.shape)}")
    if len(real.labels) and not 0 <= int(real.labels.min()) <= int(real.labels.max()) < real.num_classes:
        low, high = int(real.labels.min()), int(real.labels.max())
        raise ValueError(f"labels must lie in 0..{real.num_classes - 1}, found {low}..{high}")
    if len(set(real.class_names)) != real.num_classes:
        raise ValueError(f"class names must be distinct, got {real.class_names}")
    if len(real.space.mean) != images.shape[1]:
        raise ValueError(f"the value space has {len(real.space.mean)} channels, the images have {images.shape[1]}")
