"""A model carried through a whole distillation, trained beside it, and begun anew by a rule (Bohdal et al., 2020).

The rule is a curriculum: labels are first good for a few steps of training, then for more. How many they are good for
is what an evaluation needs to know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import torch
from torch import Generator, Tensor

from infodistill.compute import Policy
from infodistill.nets.initialise import initialise
from infodistill.optimisers import Kept
from infodistill.seeding import stream
from infodistill.sources.segments import Segment
from infodistill.synthetic import SyntheticSet
from infodistill.training import Fit, fit
from infodistill.types import Batch, NetFactory, Rows, Source, ValueSpace


@dataclass
class Curriculum:
    """When a carried model has stopped improving, and after how many steps that was.

    A model is done once the mean error of its last `window` target batches has not fallen under its smallest value so
    far for `patience` steps. The step of that smallest value (the end of its window) is then noted.

    Attributes:
        noted: steps to the minimum of every model that is done.
        best_at: steps to the smallest mean so far of the present model; 0 before there is one.
    """

    window: int = 50
    patience: int = 50
    noted: list[int] = field(default_factory=list[int])
    recent: list[float] = field(default_factory=list[float])
    best: float | None = None
    best_at: int = 0

    def __post_init__(self) -> None:
        if self.window < 1 or self.patience < 1:
            raise ValueError(f"window and patience must be at least 1, got {self.window} and {self.patience}")

    def done(self, error: float, age: int) -> bool:
        """Take the error of a model that has made `age` steps; whether it should give way to a new one."""
        self.recent = [*self.recent, error][-self.window :]
        if len(self.recent) < self.window:
            return False
        mean = fmean(self.recent)
        if self.best is None or mean < self.best:
            self.best, self.best_at = mean, age
        return age - self.best_at >= self.patience

    def restart(self) -> None:
        """Note the finished model and forget its errors."""
        self.noted.append(self.best_at)
        self.recent, self.best, self.best_at = [], None, 0

    def budget(self, last: int = 3) -> int:
        """Training steps the labels are good for: the mean of the last `last` notes, at least 1.

        Before any model is done it is the best step of the present one (our choice).
        """
        return max(1, round(fmean(self.noted[-last:])) if self.noted else self.best_at)

    def state_dict(self) -> dict[str, Any]:
        return {"noted": [*self.noted], "recent": [*self.recent], "best": self.best, "best_at": self.best_at}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError when the saved errors are more than the window holds."""
        if len(state["recent"]) > self.window:
            raise ValueError(f"the saved curriculum has a window of at least {len(state['recent'])}, not {self.window}")
        self.noted, self.recent = [int(n) for n in state["noted"]], [float(e) for e in state["recent"]]
        self.best = None if state["best"] is None else float(state["best"])
        self.best_at = int(state["best_at"])


class Carried(Source[Segment]):
    """One model that every step looks through as it stands, and that trains on the step's rows of the set afterwards.

    `draw` gives copies of its parameters, so what a step has read no later step changes. After the update the model
    takes one step of `train` on the rows of the step with their new labels; its optimiser is kept. A term says with
    `observe` what error it found on the step's target batch; by `curriculum` the model then goes on or is replaced by a
    fresh one, and its optimiser and its buffers start anew with it.

    Args:
        factory: makes the network; its own initial weights are never seen.
        shape: (channels, height, width) of the images.
        classes: number of classes.
        seed: key of the weights (with the model's number) and of the rows (with the step).
        train: one step of training; its batch is the number of rows of a step.
        curriculum: the rule that replaces the model.
        space: the value space of the images.
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
        curriculum: Curriculum | None = None,
        space: ValueSpace | None = None,
        owner: str = "match.carried",
    ) -> None:
        self.seed, self.owner, self.space, self.train = seed, owner, space, train
        self.curriculum = curriculum or Curriculum()
        self.module = factory(shape, classes).requires_grad_(False)
        self.optimiser = train.optimiser(list(self.module.parameters()), train)
        self.policy, self.age, self.models = Policy(), 0, 0
        self._segment: Segment | None = None
        self._seen: tuple[Tensor, Mapping[str, Tensor]] | None = None
        self._begin()

    def use(self, policy: Policy) -> None:
        self.policy, self._segment = policy, None
        self.module.to(policy.device)

    def draw(self) -> Segment:
        if self._segment is None:
            start = {name: value.detach().clone() for name, value in self.module.named_parameters()}
            self._segment = Segment(self.module, start, None, self.age, self.space)
        return self._segment

    def rows(self, count: int) -> Tensor:
        """The step's rows of a set of `count`, without repetition, (min(batch, count),)."""
        order = torch.randperm(count, generator=stream(self.seed, f"{self.owner}.rows", self.step))
        return order[: self.train.batch]

    def order(self, generator: Generator, count: int, steps: int) -> tuple[Tensor, ...]:
        """The rows of the step for each of `steps` steps of a student: those the model itself then trains on."""
        del generator
        return (self.rows(count),) * steps

    def observe(self, error: Tensor, buffers: Mapping[str, Tensor] | None = None) -> None:
        """What a term found on the step's target batch: its error, and new values of buffers of the model.

        They count when the step is complete; told twice in a step, the later values do.
        """
        self._seen = (error.detach(), {name: value.detach() for name, value in (buffers or {}).items()})

    def advance(self, syn: Batch, real: Rows) -> None:
        self._settle()
        if self._seen is not None and self.curriculum.done(float(self._seen[0]), self.age):
            self.curriculum.restart()
            self._begin()
        else:
            generator = stream(self.seed, f"{self.owner}.train", self.step)
            how = replace(self.train, optimiser=Kept(self.optimiser))
            fit(self.module, syn.rows(self.rows(len(syn)).to(syn.y.device)), how, generator, policy=self.policy)
            self.age += 1
        self._segment = self._seen = None
        super().advance(syn, real)

    def state_dict(self) -> dict[str, Any]:
        """The model, its age and number; the optimiser and the curriculum are parts with a state of their own."""
        weights = {name: value.clone() for name, value in self.module.state_dict().items()}
        return {**super().state_dict(), "age": self.age, "models": self.models, "weights": weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.module.load_state_dict(state["weights"])
        self.age, self.models = int(state["age"]), int(state["models"])
        self._segment = self._seen = None

    def _settle(self) -> None:
        """Write what the step's term computed into the model's buffers."""
        own = dict(self.module.named_buffers())
        with torch.no_grad():
            for name, value in (self._seen[1] if self._seen is not None else {}).items():
                own[name].copy_(value)

    def _begin(self) -> None:
        """A fresh model in place, keyed by its number."""
        initialise(self.module, stream(self.seed, self.owner, self.models))
        self.optimiser.state.clear()
        self.age, self.models = 0, self.models + 1


@dataclass(frozen=True)
class CurriculumPlan:
    """The plan of a set whose labels a carried model was distilled with: as many passes as make its training steps.

    A pass over n rows in batches of the carried model's size is ceil(n / batch) steps; passes are rounded up, rates are
    the protocol's.
    """

    carried: Carried

    def __call__(self, syn: SyntheticSet) -> Sequence[Mapping[str, Any]]:
        batch, steps = self.carried.train.batch, self.carried.curriculum.budget()
        passes = -(-steps // -(-len(syn.y) // batch))
        return ({"rows": None, "rates": None, "epochs": passes, "batch": batch},)
