"""Networks that begin their lives trained on the subsets so far (the transitions of PDD, Chen et al., ICLR 2024)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from infodistill.compute import Policy
from infodistill.nets.initialise import initialise
from infodistill.seeding import stream
from infodistill.sources.staged import SoFar
from infodistill.training import fit
from infodistill.types import Net, Source


class Transitions(Source[int]):
    """A `Rolling.prepare`: a fresh network of stage p is trained on S_1, then on S_1 and S_2, ... up to S_{p-1}.

    Each training begins with a fresh optimiser. Its draws are keyed by (seed, name of the network, phase).

    Args:
        before: the trainings that the subsets so far prescribe.
        seed: key of the batches and augmentations.
    """

    def __init__(self, before: SoFar, *, seed: int) -> None:
        self.before, self.seed, self.policy = before, seed, Policy()

    def draw(self) -> int:
        """The stage, which is how many trainings a fresh network needs."""
        return self.before.stages.at(self.step)

    def use(self, policy: Policy) -> None:
        self.policy = policy

    def __call__(self, network: Net, life: int) -> None:
        self.train(network, life, 0)

    def train(self, network: Net, name: int, done: int) -> None:
        """Train `network` in place where `done` of its trainings are behind it."""
        for phase, (rows, hyper) in enumerate(self.before.trainings(self.draw())):
            if phase >= done:
                generator = stream(self.seed, "pdd.transition", name, phase)
                fit(network, rows, hyper, generator, policy=self.policy, space=rows.space)


class Reused:
    """A `Rolling.prepare` that takes one of the `pool` latest trained networks, a new one every `refresh` lives: ours.

    Life l begins with network n, uniform in l // refresh - pool + 1 .. l // refresh, keyed by (seed, l). A network is
    trained when it is first taken; in a later stage it goes on from where it was left, which is exact: the trainings
    behind it were on frozen images. So one life in `refresh` pays for trainings, not each of them.
    """

    def __init__(self, transitions: Transitions, *, pool: int, refresh: int) -> None:
        if pool < 1 or refresh < 1:
            raise ValueError(f"a pool needs 1 network and a refresh every life at least, got {pool} and {refresh}")
        self.transitions, self.pool, self.refresh = transitions, pool, refresh
        self._nets: dict[int, tuple[int, dict[str, Tensor]]] = {}

    def __call__(self, network: Net, life: int) -> None:
        stage, newest = self.transitions.draw(), life // self.refresh
        if stage == 0:
            return
        seed, members = self.transitions.seed, min(self.pool, newest + 1)
        name = newest - int(torch.randint(members, (), generator=stream(seed, "pdd.reused", life)))
        done, weights = self._nets.get(name, (0, None))
        if weights is None:
            initialise(network, stream(seed, "pdd.reused.nets", name))
        else:
            network.load_state_dict(weights)
        if done < stage:
            self.transitions.train(network, name, done)
            trained = {key: value.detach().clone() for key, value in network.state_dict().items()}
            self._nets = {n: kept for n, kept in self._nets.items() if n > newest - self.pool} | {
                name: (stage, trained)
            }

    def state_dict(self) -> dict[str, Any]:
        return {"nets": [{"name": n, "done": done, "weights": kept} for n, (done, kept) in self._nets.items()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        saved = cast("list[dict[str, Any]]", state["nets"])
        self._nets = {int(net["name"]): (int(net["done"]), dict(net["weights"])) for net in saved}
