"""A queue of semi-trained networks that know how well they do (IDM, Zhao et al., CVPR 2023)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Generator, Tensor

from infodistill.compute import Policy, View
from infodistill.descent import Loss
from infodistill.nets.initialise import initialise
from infodistill.optimisers import Kept
from infodistill.seeding import stream
from infodistill.sources.lessons import Lesson
from infodistill.training import Fit, fit
from infodistill.types import Batch, Net, NetFactory, Rows, Source


@dataclass(frozen=True)
class Chosen:
    """Rows `index` (n,) of other rows, read when they are asked for; an index may come several times."""

    whole: Rows
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def rows(self, index: Tensor, /) -> Batch:
        return self.whole.rows(self.index[index])


@dataclass(frozen=True)
class RealBatches:
    """`count` batches of `size` real images: passes through the data without replacement, each in an order of its own.

    A lesson; how the images are divided into batches of this size is up to `fit`.
    """

    count: int = 10
    size: int = 256

    def __post_init__(self) -> None:
        if self.count < 1 or self.size < 1:
            raise ValueError(f"a lesson has at least 1 batch of 1 image, got {self.count} of {self.size}")

    def __call__(self, syn: Batch, real: Rows, generator: Generator) -> Rows:
        del syn
        wanted = self.count * self.size
        passes = [torch.randperm(len(real), generator=generator) for _ in range(-(-wanted // len(real)))]
        return Chosen(real, torch.cat(passes)[:wanted])


@dataclass
class Meter:
    """Running accuracy: `hits` of `seen` images, 0 before the first one. Counting never waits for an accelerator."""

    hits: Tensor
    seen: int = 0

    @property
    def accuracy(self) -> float:
        """Fraction in [0, 1]."""
        return float(self.hits) / self.seen if self.seen else 0.0

    def count(self, outputs: Tensor, target: Tensor) -> None:
        self.hits += (outputs.argmax(1) == target.argmax(1)).sum()
        self.seen += len(outputs)

    def set(self, hits: int, seen: int) -> None:
        self.hits.fill_(hits)
        self.seen = seen


@dataclass(frozen=True)
class Counted:
    """A loss (outputs (n, k), target (n, k)) -> (n,) that first counts how many rows are classified correctly."""

    loss: Loss
    meter: Meter

    def __call__(self, outputs: Tensor, target: Tensor) -> Tensor:
        self.meter.count(outputs.detach(), target)
        return self.loss(outputs, target)


@dataclass
class Place:
    """One place of the ring: `birth` numbers the network it holds (-1 before the first), `age` its training steps."""

    module: Net
    optimiser: torch.optim.Optimizer
    meter: Meter
    birth: int = -1
    age: int = 0


class Queue(Source[View]):
    """First in, first out: up to `nets` networks, of which every step looks through a random one.

    Before steps 0, `interval`, 2 `interval`, ... a fresh network joins those there are (`start` of them at first); when
    there are `nets` already, the oldest leaves. After every update `trained` random networks (distinct ones, our
    choice, drawn anew: the one just looked through may be among them) take the training `train` on the rows `lesson`
    gives. Each keeps its optimiser, and its accuracy on what it was trained on (counted before each step) is what its
    View carries. Networks are looked through in eval mode. A network that leaves is overwritten in place by the one
    that joins.

    Args:
        factory: makes the networks; their own initial weights are never seen.
        shape: (channels, height, width) of the images.
        classes: number of classes.
        seed: key of the picks, the weights (by birth) and the trainings (by step and place).
        train: what the chosen networks go through; one epoch over `lesson` is what the paper does.
        lesson: which rows they are trained on.
        nets: most networks held at a time.
        start: networks before the first one joins.
        interval: steps between two that join.
        trained: networks trained after an update; all there are where they are fewer.
        reset_every: updates after which all accuracies start from 0 again; None never.
        owner: name of the draws.

    Raises:
        ValueError: a count is too small, or there are more networks at the start than there is place for.
    """

    def __init__(
        self,
        factory: NetFactory,
        shape: tuple[int, int, int],
        classes: int,
        *,
        seed: int,
        train: Fit,
        lesson: Lesson | None = None,
        nets: int = 100,
        start: int = 3,
        interval: int = 30,
        trained: int = 2,
        reset_every: int | None = None,
        owner: str = "match.queue",
    ) -> None:
        if not 1 <= start <= nets or trained < 0 or min(interval, 1 if reset_every is None else reset_every) < 1:
            raise ValueError(
                "a queue needs 1 <= start <= nets, trained >= 0, and interval and reset_every at least 1, got start "
                f"{start}, nets {nets}, trained {trained}, interval {interval}, reset_every {reset_every}"
            )
        self.seed, self.owner, self.train, self.lesson = seed, owner, train, lesson or RealBatches()
        self.start, self.interval, self.trained, self.reset_every = start, interval, trained, reset_every
        self.policy = Policy()
        # All places exist from the start: a checkpoint of any step fits a job that has just been made.
        self.places = [self._place(factory(shape, classes)) for _ in range(nets)]
        self._view: View | None = None
        self._admit()

    @property
    def born(self) -> int:
        """Networks that have joined up to this step."""
        return self.start + 1 + self.step // self.interval

    @property
    def held(self) -> int:
        """Networks in the queue at this step."""
        return min(self.born, len(self.places))

    @property
    def seen_through(self) -> int:
        """The place whose network this step looks through."""
        return int(torch.randint(self.held, (), generator=stream(self.seed, f"{self.owner}.pick", self.step)))

    @property
    def to_train(self) -> list[int]:
        """The places whose networks are trained after this step's update, in order."""
        order = torch.randperm(self.held, generator=stream(self.seed, f"{self.owner}.trained", self.step))
        return [int(place) for place in order[: self.trained]]

    def use(self, policy: Policy) -> None:
        self.policy, self._view = policy, None
        for place in self.places:
            place.module.to(policy.device)
            place.meter.hits = place.meter.hits.to(policy.device)

    def draw(self) -> View:
        if self._view is None:
            place = self.places[self.seen_through]
            told = {"policy": self.policy, "age": place.age, "accuracy": place.meter.accuracy}
            self._view = View.own(place.module, **told)
        return self._view

    def advance(self, syn: Batch, real: Rows) -> None:
        for index in self.to_train:
            place, generator = self.places[index], stream(self.seed, f"{self.owner}.train", self.step, index)
            rows, rules = self.lesson(syn, real, generator), Counted(self.train.loss, place.meter)
            how = replace(self.train, optimiser=Kept(place.optimiser), loss=rules)
            fit(place.module, rows, how, generator, policy=self.policy)
            place.age += how.epochs * -(-len(rows) // how.batch)
        super().advance(syn, real)
        if self.reset_every is not None and self.step % self.reset_every == 0:
            for place in self.places:
                place.meter.set(0, 0)
        self._view = None
        self._admit()

    def state_dict(self) -> dict[str, Any]:
        """Weights, births, ages and counts of the networks held; the optimisers are parts with a state of their own."""
        places = [
            {
                "birth": place.birth,
                "age": place.age,
                "hits": int(place.meter.hits),
                "seen": place.meter.seen,
                "weights": {name: value.clone() for name, value in place.module.state_dict().items()},
            }
            for place in self.places[: self.held]
        ]
        return {**super().state_dict(), "nets": len(self.places), "places": places}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError when the saved queue had room for another number of networks."""
        if state["nets"] != len(self.places):
            raise ValueError(f"the saved queue holds up to {state['nets']} networks, this one {len(self.places)}")
        super().load_state_dict(state)
        for place, content in zip(self.places, cast("list[dict[str, Any]]", state["places"]), strict=False):
            place.module.load_state_dict(content["weights"])
            place.birth, place.age = int(content["birth"]), int(content["age"])
            place.meter.set(int(content["hits"]), int(content["seen"]))
        for place in self.places[len(state["places"]) :]:
            place.birth = -1
        self._view = None

    def _place(self, module: Net) -> Place:
        optimiser = self.train.optimiser(list(module.parameters()), self.train)
        return Place(module.requires_grad_(False).eval(), optimiser, Meter(torch.zeros((), dtype=torch.int64)))

    def _admit(self) -> None:
        """Let in who is due: network b takes place b mod nets, which is that of the oldest."""
        for birth in range(self.born - self.held, self.born):
            place = self.places[birth % len(self.places)]
            if place.birth < birth:
                initialise(place.module, stream(self.seed, self.owner, birth))
                place.optimiser.state.clear()
                place.birth, place.age = birth, 0
                place.meter.set(0, 0)
