"""Networks that live until their accuracy stands still, and train until it moves (CAFE's dynamic bi-level loop)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from infodistill.compute import Policy, View
from infodistill.nets.initialise import initialise
from infodistill.optimisers import Kept
from infodistill.real import RealData
from infodistill.seeding import stream
from infodistill.training import Fit, accuracy, fit
from infodistill.types import Batch, NetFactory, Rows, Source


@dataclass(frozen=True)
class Watch:
    """When a network has learned enough, and when it has moved on; accuracies are in [0, 1].

    Differs: both caps are ours, the authors' loops have none and can run for ever (with many classes a converged
    network's accuracy no longer moves by 0.03). So are their values.

    Args:
        window: readings that are looked at.
        calm: images are finished with a network once its last `window` readings span less than this.
        moved: a network is trained until the last `window` readings of this training span more than this.
        probe: real images of each class one reading is taken on.
        most_updates: updates of the images one network lives for at most.
        most_epochs: readings in one training at most.

    Raises:
        ValueError: a count below 1, a window below 2, or a negative span.
    """

    window: int = 10
    calm: float = 0.04
    moved: float = 0.03
    probe: int = 128
    most_updates: int = 50
    most_epochs: int = 50

    def __post_init__(self) -> None:
        if self.window < 2 or min(self.probe, self.most_updates, self.most_epochs) < 1:
            found = f"{self.window}, {self.probe}, {self.most_updates} and {self.most_epochs}"
            raise ValueError(f"window must be >= 2, probe, most_updates and most_epochs >= 1, got {found}")
        if min(self.calm, self.moved) < 0:
            raise ValueError(f"calm and moved are spans >= 0, got {self.calm} and {self.moved}")

    def finished(self, readings: Sequence[float]) -> bool:
        """Whether a network has nothing more to give, from the reading after each of its updates."""
        return len(readings) >= self.most_updates or (self._full(readings) and self._span(readings) < self.calm)

    def enough(self, readings: Sequence[float]) -> bool:
        """Whether a training has taken long enough, from the reading after each of its epochs."""
        return len(readings) >= self.most_epochs or (self._full(readings) and self._span(readings) > self.moved)

    def _full(self, readings: Sequence[float]) -> bool:
        return len(readings) >= self.window

    def _span(self, readings: Sequence[float]) -> float:
        last = readings[-self.window :]
        return max(last) - min(last)


class Plateau(Source[View]):
    """A network that is replaced by a fresh one when its accuracy has stood still for a window of updates.

    After every update its accuracy is read on fresh real images. Where `watch.finished`, its life ends; else it takes
    `train` on the synthetic set, again and again with a reading after each, until `watch.enough`. So a training has at
    least `window` readings, and a life at least `window` updates, where the caps are not below it.

    Differs: a reading is the accuracy; the authors' accumulator is not reset, so theirs is that plus a tenth of the
    reading before.

    Args:
        factory: makes the network; its own initial weights are never seen.
        shape: (channels, height, width) of the images.
        classes: number of classes.
        seed: key of the weights (with the life), of the trainings and of the readings (with step and epoch).
        train: the training between two readings, one epoch as published; its optimiser lives as long as the network.
        watch: when a training and a life end.
        owner: name of the draws.
    """

    def __init__(
        self,
        factory: NetFactory,
        shape: tuple[int, int, int],
        classes: int,
        *,
        seed: int,
        train: Fit,
        watch: Watch | None = None,
        owner: str = "match.nets",
    ) -> None:
        self.seed, self.owner, self.train, self.watch = seed, owner, train, watch or Watch()
        self.policy, self.life, self.age = Policy(), 0, 0
        self.readings: list[float] = []
        self.module = factory(shape, classes)
        self.optimiser = train.optimiser(list(self.module.parameters()), train)
        self.module.requires_grad_(False)
        self._view: View | None = None
        self._renew(0)

    def use(self, policy: Policy) -> None:
        self.policy, self._view = policy, None
        self.module.to(policy.device)

    def draw(self) -> View:
        if self._view is None:
            known = self.readings[-1] if self.readings else None
            self._view = View.own(self.module, policy=self.policy, age=self.age, accuracy=known)
        return self._view

    def advance(self, syn: Batch, real: Rows) -> None:
        self.readings.append(self._read(real, 0))
        if self.watch.finished(self.readings):
            self._renew(self.life + 1)
        else:
            self._learn(syn, real)
        self._view = None
        super().advance(syn, real)

    def state_dict(self) -> dict[str, Any]:
        """Weights, counters and readings; the optimiser is a part with a state of its own."""
        weights = {name: value.clone() for name, value in self.module.state_dict().items()}
        mine = {"life": self.life, "age": self.age, "readings": list(self.readings), "weights": weights}
        return {**super().state_dict(), **mine}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.module.load_state_dict(state["weights"])
        self.life, self.age = int(state["life"]), int(state["age"])
        self.readings = [float(reading) for reading in state["readings"]]
        self._view = None

    def _learn(self, syn: Batch, real: Rows) -> None:
        """Train until the accuracy has moved."""
        how, readings = replace(self.train, optimiser=Kept(self.optimiser)), list[float]()
        while not self.watch.enough(readings):
            generator = stream(self.seed, f"{self.owner}.train", self.step, len(readings))
            fit(self.module, syn, how, generator, policy=self.policy)
            readings.append(self._read(real, len(readings) + 1))
            self.age += self.train.epochs

    def _read(self, real: Rows, epoch: int) -> float:
        """The accuracy on real images drawn for this reading alone; epoch 0 is the one after the update."""
        if not isinstance(real, RealData):
            raise ValueError(f"a reading draws real images of every class: wanted RealData, got {type(real).__name__}")
        rows = real.batch(self.seed, self.step, self.watch.probe, owner=f"{self.owner}.probe.{epoch}")
        return accuracy(View.own(self.module, policy=self.policy), rows)

    def _renew(self, life: int) -> None:
        """Fresh weights in place; the moments are forgotten."""
        initialise(self.module, stream(self.seed, self.owner, life))
        self.optimiser.state.clear()
        self.life, self.age, self.readings = life, 0, []


@dataclass(frozen=True)
class HalvedByLife:
    """An update's schedule: 2^-(number of `lives` reached), by the life of the network and not by the step.

    `nets` is the very source that the terms look through.
    """

    nets: Plateau
    lives: tuple[int, ...] = (1200, 1600, 1800)

    def __call__(self, step: int) -> float:
        del step
        return 0.5 ** sum(self.nets.life >= life for life in self.lives)
