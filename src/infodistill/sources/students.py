"""Students: networks trained on the synthetic set for a few steps, as something terms can look through.

All terms of a step see the same student: it is trained once, under one record of batches and augmentation.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from infodistill.compute import Policy, View
from infodistill.seeding import stream
from infodistill.sources.segments import Segment
from infodistill.types import Augment, Batch, Source
from infodistill.unrolling.inner import Inner, Params, Record, Unroll
from infodistill.unrolling.unroll import sweep

Order = Callable[[torch.Generator, int, int], tuple[Tensor, ...]]
"""order(generator, images n, steps N) -> the rows of each step's batch."""


def shuffled_chunks(batch: int) -> Order:
    """Random permutations of all images, cut into chunks of `batch`, one after the other (MTT).

    Differs: the released code takes the chunks from the end, so that a short remainder comes first; here it is last.

    Raises:
        ValueError: batch is below 1.
    """
    if batch < 1:
        raise ValueError(f"a student's batch has at least 1 image, got {batch}")

    def order(generator: torch.Generator, images: int, steps: int) -> tuple[Tensor, ...]:
        rows: list[Tensor] = []
        while len(rows) < steps:
            rows += torch.randperm(images, generator=generator).split(batch)
        return tuple(rows[:steps])

    return order


def fixed_batches(parts: int) -> Order:
    """`parts` disjoint batches in turn, step t on batch t mod `parts` (DD); row r belongs to batch r mod `parts`.

    Class-major sets with a multiple of `parts` images per class so give batches with equally many of every class.

    Raises:
        ValueError: fewer images than parts.
    """

    def order(generator: torch.Generator, images: int, steps: int) -> tuple[Tensor, ...]:
        del generator
        if images < parts:
            raise ValueError(f"{parts} batches need at least as many images, got {images}")
        batches = [torch.arange(first, images, parts) for first in range(parts)]
        return tuple(batches[t % parts] for t in range(steps))

    return order


def as_stored(raw: Tensor) -> Tensor:
    """A rate that is stored as it is used."""
    return raw


def positive(raw: Tensor) -> Tensor:
    """softplus(raw): a rate that cannot leave the positive numbers."""
    return F.softplus(raw)


@dataclass(frozen=True)
class Rates:
    """The learning rates of a student's steps, read from a stored tensor (a scalar of the set, or a constant)."""

    raw: Tensor
    read: Callable[[Tensor], Tensor] = as_stored

    def values(self, steps: int) -> Tensor:
        """(steps,) rates: a scalar is repeated, a vector is gone through in a cycle."""
        rates = self.read(self.raw).reshape(-1)
        return rates[torch.arange(steps, device=rates.device) % len(rates)]


@dataclass(frozen=True)
class Student:
    """A network after its steps: `theta` has a graph to the synthetic set, `segment` says where it started."""

    segment: Segment
    theta: Params
    policy: Policy

    def view(self, *, detached: bool = False) -> View:
        """The student as terms see it; detached it makes no gradients for the set."""
        theta = {name: value.detach() for name, value in self.theta.items()} if detached else self.theta
        return View(self.segment.module, theta, self.policy, self.segment.space, self.segment.age)

    def goal(self) -> View:
        """The expert at the end of the segment, or the detached student where the segment has no end."""
        if self.segment.end is None:
            return self.view(detached=True)
        return View(self.segment.module, self.segment.end, self.policy, self.segment.space, self.segment.age)


@dataclass
class Students(Source[Student]):
    """Students of the set: N steps of SGD from a drawn start, keyed by (seed, owner, step).

    Args:
        starts: where a student starts, and what it is compared with.
        rates: its learning rates.
        steps: N.
        order: the batches of its steps.
        augment: the augmentation of its images, drawn anew for every step and image.
        seed: key of batches and augmentation, with `owner` and the step.
        momentum: of its SGD.
        unroll: how theta_N is differentiated.
    """

    starts: Source[Segment]
    rates: Rates
    steps: int
    order: Order
    augment: Augment
    seed: int
    momentum: float = 0.0
    unroll: Unroll = sweep
    owner: str = "students"
    policy: Policy = field(default_factory=Policy)
    _memo: dict[int, tuple[Batch, Student]] = field(default_factory=dict[int, tuple[Batch, Student]], repr=False)
    _holding: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"a student takes at least 1 step, got {self.steps}")

    def draw(self) -> Student:
        raise TypeError("a student needs the synthetic set: call student(syn)")

    def use(self, policy: Policy) -> None:
        self.policy = policy

    def student(self, syn: Batch) -> Student:
        """The step's student of this batch; the same object for the same batch while a driver holds the step."""
        if id(syn) in self._memo:
            return self._memo[id(syn)][1]
        student = self._train(syn)
        if self._holding:
            self._memo[id(syn)] = (syn, student)
        return student

    def record(self, images: int, shape: tuple[int, ...], device: torch.device) -> Record:
        """The step's batches and augmentation."""
        generator = stream(self.seed, self.owner, self.step)
        rows = self.order(generator, images, self.steps)
        omegas = tuple(self.augment.draw(generator, len(batch), shape) for batch in rows)
        return Record(tuple(batch.to(device) for batch in rows), omegas)

    @contextmanager
    def holding(self) -> Generator[None]:
        """While open, the same batch gives the same student; the driver opens it around one update."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
            self._memo.clear()

    def _train(self, syn: Batch) -> Student:
        segment = self.starts.draw()
        inner = Inner(segment.module, self.augment, self.momentum, self.policy)
        record = self.record(len(syn), tuple(syn.x.shape[1:]), syn.x.device)
        rates = self.rates.values(self.steps).to(syn.x)
        theta = self.unroll(inner, segment.start, syn.x, syn.target.to(syn.x.dtype), rates, record)
        return Student(segment, theta, self.policy)


@dataclass(frozen=True)
class StudentLook:
    """What a student sees of the synthetic batch, and the expert it should have become of the real one."""

    student: Student
    batches: tuple[Batch, Batch]
    keep: tuple[int, ...]
    _read: dict[int, tuple[Tensor, ...]] = field(default_factory=dict[int, tuple[Tensor, ...]], repr=False)

    @property
    def view(self) -> View:
        return self.student.view()

    def syn(self, stages: tuple[int, ...] = (-1,)) -> tuple[Tensor, ...]:
        """Stages of the synthetic batch through theta_N, with a graph to the set by both ways."""
        return self._stages(0, stages)

    def real(self, stages: tuple[int, ...] = (-1,)) -> tuple[Tensor, ...]:
        """Stages of the real batch through the end of the segment, detached."""
        with torch.no_grad():
            return tuple(value.detach() for value in self._stages(1, stages))

    def _stages(self, which: int, stages: tuple[int, ...]) -> tuple[Tensor, ...]:
        if which not in self._read:
            view, batch = self.student.goal() if which else self.view, self.batches[which]
            self._read[which] = view.features(batch.x, batch.space, keep=self.keep)
        return tuple(self._read[which][i] for i in stages)


@dataclass
class StudentLooks(Source[StudentLook]):
    """Looks through students, without augmentation; what `MIM` attaches to in unrolled methods.

    Ours: MIM4DD does not say which network compares real and synthetic images under trajectory matching.
    """

    students: Students
    _count: int = 0

    def draw(self) -> StudentLook:
        raise TypeError("a look needs two batches: call look(syn, real)")

    def look(self, syn: Batch, real: Batch) -> StudentLook:
        """The look at these two batches through the step's student of `syn`."""
        student = self.students.student(syn)
        if not self._count:
            with torch.no_grad():
                self._count = len(student.segment.module.stages(syn.x[:1].detach()))
        return StudentLook(student, (syn, real), tuple(range(self._count)))
