"""Networks that live for a number of updates: drawn afresh, or trained in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor

from infodistill.compute import Policy, View
from infodistill.nets.initialise import initialise
from infodistill.optimisers import Kept
from infodistill.seeding import stream
from infodistill.sources.lessons import Lesson, whole_set
from infodistill.training import Fit, fit
from infodistill.types import Batch, Net, NetFactory, Rows, Source

Prepare = Callable[[Net, int], None]
"""prepare(network, life): called on the fresh network of a life before it is seen; it trains it in place."""


class Rolling(Source[View]):
    """A fresh random network every `inner` updates.

    Weights are drawn in place, so one module serves the whole run. With `train`, the network takes that training on
    what `lesson` gives after every update of its life but the last, which is DC's inner loop. Momentum lives as long
    as the network does.

    Args:
        factory: makes the network; its own initial weights are never seen.
        shape: (channels, height, width) of the images.
        classes: number of classes.
        seed: key of the weights (with `owner` and the life) and of the training (with the step).
        owner: name of the draws; two sources with different owners draw independently.
        inner: updates one network lives for.
        train: what happens to it between two of them.
        lesson: which rows it is trained on; the synthetic set by default.
        prepare: what happens to every fresh network first (a warm-up).
    """

    def __init__(
        self,
        factory: NetFactory,
        shape: tuple[int, int, int],
        classes: int,
        *,
        seed: int,
        owner: str = "match.nets",
        inner: int = 1,
        train: Fit | None = None,
        lesson: Lesson = whole_set,
        prepare: Prepare | None = None,
    ) -> None:
        if inner < 1:
            raise ValueError(f"a network lives for at least 1 update, got {inner}")
        self.seed, self.owner, self.inner, self.train = seed, owner, inner, train
        self.lesson, self.prepare = lesson, prepare
        self.module = factory(shape, classes).requires_grad_(False)
        self.optimiser = None if train is None else train.optimiser(list(self.module.parameters()), train)
        self.policy = Policy()
        self._life = -1
        self._view: View | None = None

    def use(self, policy: Policy) -> None:
        self.policy = policy
        self.module.to(policy.device)
        self._view = None

    def draw(self) -> View:
        life = self.step // self.inner
        if life != self._life:
            self._begin(life)
        if self._view is None:
            self._view = View.own(self.module, policy=self.policy, age=self.step % self.inner)
        return self._view

    def advance(self, syn: Batch, real: Rows) -> None:
        if self.train is not None and self.optimiser is not None and (self.step + 1) % self.inner:
            self.draw()
            generator = stream(self.seed, f"{self.owner}.train", self.step)
            rows, how = self.lesson(syn, real, generator), replace(self.train, optimiser=Kept(self.optimiser))
            fit(self.module, rows, how, generator, policy=self.policy)
        self._view = None
        super().advance(syn, real)

    def _begin(self, life: int) -> None:
        initialise(self.module, stream(self.seed, self.owner, life))
        if self.optimiser is not None:
            self.optimiser.state.clear()
        if self.prepare is not None:
            self.prepare(self.module, life)
        self._life, self._view = life, None

    def state_dict(self) -> dict[str, Any]:
        """Trained weights cannot be drawn again, so they are saved; untrained ones follow from the step. The optimiser
        is a part with a state of its own.
        """
        plain = self.train is None and self.prepare is None
        weights: dict[str, Tensor] = {} if plain else dict(self.module.state_dict())
        return {**super().state_dict(), "life": self._life, "weights": weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._view, self._life = None, -1
        if state["weights"]:
            self.module.load_state_dict(state["weights"])
            self._life = int(state["life"])
