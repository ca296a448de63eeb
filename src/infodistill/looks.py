"""What terms look through in one step: a network, one augmentation record, and the features both streams gave.

Terms that hold the same `Looks` share the forward passes: MIM beside DM does not run the real images twice.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from infodistill.compute import View
from infodistill.seeding import stream
from infodistill.types import Augment, Batch, Source

Stages = tuple[Tensor, ...]


@dataclass
class Look:
    """One network's sight of one synthetic and one real batch, both under the same augmentation record.

    `keep` names the stages that are stored when a stream is first read, as non-negative indices.
    """

    view: View
    augment: Augment
    record: Tensor
    batches: tuple[Batch, Batch]
    keep: tuple[int, ...]
    _read: dict[int, dict[int, Tensor]] = field(default_factory=dict[int, dict[int, Tensor]])

    @cached_property
    def syn_images(self) -> Tensor:
        """Augmented synthetic images (n, c, h, w), with a graph to what is stored."""
        return self._augmented(0)

    @cached_property
    def real_images(self) -> Tensor:
        """Augmented real images (m, c, h, w)."""
        with torch.no_grad():
            return self._augmented(1)

    def syn(self, stages: Sequence[int] = (-1,)) -> Stages:
        """Stage outputs of the synthetic batch, each (n, ...), with a graph to what is stored."""
        return self._stages(0, stages)

    def real(self, stages: Sequence[int] = (-1,)) -> Stages:
        """Stage outputs of the real batch, each (m, ...), detached."""
        with torch.no_grad():
            return self._stages(1, stages)

    def _augmented(self, which: int) -> Tensor:
        batch = self.batches[which]
        return self.augment.apply(batch.x, self.record, batch.y)

    def _stages(self, which: int, stages: Sequence[int]) -> Stages:
        read, count = self._read.setdefault(which, {}), self.keep[-1] + 1
        wanted = [i % count if i < 0 else i for i in stages]
        if not read.keys() >= set(wanted):
            keep = sorted({*self.keep, *wanted})
            x = self.real_images if which else self.syn_images
            read.update(zip(keep, self.view.features(x, self.batches[which].space, keep=keep), strict=True))
        return tuple(read[i] for i in wanted)


@dataclass
class Looks(Source[Look]):
    """Networks x augmentation, one keyed record per step with one row per class.

    Args:
        nets: where the network of a step comes from.
        augment: the siamese augmentation both streams pass through.
        seed: key of the record draws, with `owner` and the step.
        share: updates that keep one record (ours; with a network and real statistics held as long, see `dm`).
    """

    nets: Source[View]
    augment: Augment
    seed: int
    owner: str = "match.augment"
    share: int = 1
    reads: tuple[int, ...] | None = (-1,)
    _memo: dict[tuple[int, int], Look] = field(default_factory=dict[tuple[int, int], Look], repr=False)
    _count: int = 0
    _holding: bool = False
    _real: tuple[int, Batch, dict[int, Tensor]] | None = field(default=None, repr=False)

    def draw(self) -> Look:
        raise TypeError("a look needs two batches: call look(syn, real)")

    def look(self, syn: Batch, real: Batch) -> Look:
        """The look at these two batches; the same object for the same batches while a driver holds the step."""
        name = (id(syn), id(real))
        if name in self._memo:
            return self._memo[name]
        look = self._make(syn, real)
        if self._holding:
            self._memo[name] = look
        return look

    def _make(self, syn: Batch, real: Batch) -> Look:
        view, block = self.nets.draw(), self.step // self.share
        record = self.augment.draw(stream(self.seed, self.owner, block), syn.target.shape[1], tuple(syn.x.shape[1:]))
        look = Look(view, self.augment, record, (syn, real), self._keep(view, syn))
        if self.share > 1:
            self._share_real(look, block, real)
        return look

    def _share_real(self, look: Look, block: int, real: Batch) -> None:
        """Within a block of updates the network, the record and the real batch stand still: so do its features."""
        if self._real is None or self._real[0] != block or self._real[1] is not real:
            self._real = (block, real, {})
        look._read[1] = self._real[2]  # pyright: ignore[reportPrivateUsage]

    def _keep(self, view: View, syn: Batch) -> tuple[int, ...]:
        if not self._count:
            with torch.no_grad():
                self._count = len(view.stages(syn.x[:1].detach(), syn.space))
        if self.reads is None:
            return tuple(range(self._count))
        return tuple(sorted({i % self._count for i in (*self.reads, -1)}))

    @contextmanager
    def holding(self) -> Generator[None]:
        """While open, the same two batches give the same look; the driver opens it around one update."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
            self._memo.clear()

    def forget(self) -> None:
        """Drop what this step has cached (before a retry under another execution policy)."""
        self._memo.clear()
        self._real = None
