"""A pool of networks of mixed age: each update looks through one of them, which is trained and in time replaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Generator

from infodistill.compute import Policy, View
from infodistill.nets.initialise import initialise
from infodistill.optimisers import Kept
from infodistill.seeding import stream
from infodistill.sources.lessons import Lesson, SyntheticRows
from infodistill.training import Fit, fit
from infodistill.types import Batch, Net, NetFactory, Rows, Source

Pick = Callable[[Generator, int], int]
"""pick(generator, members) -> the member that the step looks through."""


def at_random(generator: Generator, members: int) -> int:
    """Every member with the same probability."""
    return int(torch.randint(members, (), generator=generator))


def staggered(members: int, life: int) -> tuple[int, ...]:
    """Counters life / members * i: the members are fresh, but they will not be replaced all at once."""
    return tuple(life * i // members for i in range(members))


@dataclass
class Member:
    """One network of a pool: `age` is its counter, `births` how many networks this place has held."""

    module: Net
    optimiser: torch.optim.Optimizer
    age: int
    births: int = 0


class Pool(Source[View]):
    """Networks of mixed age; a step draws one, and only that one changes after the step.

    After the update the drawn network takes the training `train` on the rows `lesson` gives, and its counter grows by
    1; once the counter is above `life` it is replaced by a fresh network with counter 0 instead. Its optimiser lives
    as long as it does. Batch norm, where the network has it, uses the statistics of the images it is shown.

    Args:
        factory: makes the networks; their own initial weights are never seen.
        shape: (channels, height, width) of the images.
        classes: number of classes.
        seed: key of the picks, the weights (with the place and its births) and the trainings.
        train: what happens between two updates; its optimiser is made once per place and kept.
        members: networks held.
        life: the counter beyond which a network is replaced.
        lesson: which rows it is trained on.
        pick: which network a step looks through, from a keyed generator.
        counters: (members, life) -> the counters at the start.
        owner: name of the draws.

    Raises:
        ValueError: members or life below 1, or not one counter per member.
    """

    def __init__(
        self,
        factory: NetFactory,
        shape: tuple[int, int, int],
        classes: int,
        *,
        seed: int,
        train: Fit,
        members: int = 10,
        life: int = 100,
        lesson: Lesson | None = None,
        pick: Pick = at_random,
        counters: Callable[[int, int], Sequence[int]] = staggered,
        owner: str = "match.pool",
    ) -> None:
        if members < 1 or life < 1:
            raise ValueError(f"a pool needs at least 1 member and a life of at least 1, got {members} and {life}")
        ages = tuple(counters(members, life))
        if len(ages) != members:
            raise ValueError(f"{members} members need as many counters, got {len(ages)}")
        self.seed, self.owner, self.life, self.train = seed, owner, life, train
        self.lesson, self.pick, self.policy = lesson or SyntheticRows(), pick, Policy()
        self.members = [self._member(factory(shape, classes), age) for age in ages]
        for place in range(members):
            self._renew(place, ages[place])
        self._view: View | None = None

    @property
    def place(self) -> int:
        """The member this step looks through."""
        return self.pick(stream(self.seed, f"{self.owner}.pick", self.step), len(self.members))

    def use(self, policy: Policy) -> None:
        self.policy, self._view = policy, None
        for member in self.members:
            member.module.to(policy.device)

    def draw(self) -> View:
        if self._view is None:
            member = self.members[self.place]
            self._view = View.own(member.module, policy=self.policy, age=member.age)
        return self._view

    def advance(self, syn: Batch, real: Rows) -> None:
        place = self.place
        member = self.members[place]
        if member.age > self.life:
            self._renew(place, 0)
        else:
            generator = stream(self.seed, f"{self.owner}.train", self.step)
            rows, how = self.lesson(syn, real, generator), replace(self.train, optimiser=Kept(member.optimiser))
            fit(member.module, rows, how, generator, policy=self.policy)
            member.age += 1
        self._view = None
        super().advance(syn, real)

    def state_dict(self) -> dict[str, Any]:
        """Weights, counters and births; the optimisers are parts with a state of their own."""
        members = [
            {"age": m.age, "births": m.births, "weights": {n: v.clone() for n, v in m.module.state_dict().items()}}
            for m in self.members
        ]
        return {**super().state_dict(), "members": members}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        saved = cast("list[dict[str, Any]]", state["members"])
        if len(saved) != len(self.members):
            raise ValueError(f"the saved pool has {len(saved)} networks, this one has {len(self.members)}")
        for member, content in zip(self.members, saved, strict=True):
            member.module.load_state_dict(content["weights"])
            member.age, member.births = int(content["age"]), int(content["births"])
        self._view = None

    def _member(self, module: Net, age: int) -> Member:
        optimiser = self.train.optimiser(list(module.parameters()), self.train)
        return Member(module.requires_grad_(False), optimiser, age)

    def _renew(self, place: int, age: int) -> None:
        """Fresh weights in place, keyed by the place and how many networks it has held; the moments are forgotten."""
        member = self.members[place]
        initialise(member.module, stream(self.seed, self.owner, member.births, place))
        member.optimiser.state.clear()
        member.age, member.births = age, member.births + 1
