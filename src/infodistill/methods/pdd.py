"""Progressive dataset distillation (PDD; Chen et al., ICLR 2024), arXiv:2310.06982.

The set is S_1, ..., S_P. Stage p learns S_p by the loss L of another method (IDC here) on all subsets so far,

    min_{S_p}  E_theta0  L(S_1 u ... u S_p; theta_p),    theta_1 = theta0,  theta_{p+1} = A(theta_p, S_1 u ... u S_p)

with S_1 ... S_{p-1} frozen; A(theta, S): a training of the network theta on S. Networks are then trained on the set the
same way, subset after subset: the later ones hold what only trained networks can learn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from infodistill.compute import Policy
from infodistill.distillation import Distillation
from infodistill.methods.idc import idc
from infodistill.nets.initialise import initialise
from infodistill.protocol import EvaluationProtocol
from infodistill.protocols import protocol_for
from infodistill.real import RealData
from infodistill.seeding import stream
from infodistill.sources.rolling import Rolling
from infodistill.sources.staged import Clock, SoFar, Stages
from infodistill.synthetic import Decode, Project, SyntheticSet
from infodistill.training import fit
from infodistill.types import Net, NetFactory, Source

Host = Callable[..., Distillation]
"""host(real, net, *, ipc, seed, policy, **settings) -> a job whose networks come from `Rolling`."""


@dataclass(frozen=True)
class Begun:
    """How many images of each class there are so far; those of later subsets are in no batch yet."""

    clock: Clock

    def __call__(self) -> int:
        return self.clock.stages.begun(self.clock.draw())


@dataclass(frozen=True)
class Newest:
    """The decoder of the subsets so far, through which gradients reach the newest alone, whatever term makes them."""

    clock: Clock
    decode: Decode

    def __call__(self, pixels: Tensor) -> Tensor:
        stages, stage = self.clock.stages, self.clock.draw()
        own = stages.own(stage)[: stages.begun(stage)].to(pixels.device)
        own = own.repeat(-(-len(pixels) // len(own)))[: len(pixels)]
        return self.decode(torch.where(own.view(-1, *[1] * (pixels.dim() - 1)), pixels, pixels.detach()))


@dataclass(frozen=True)
class NewestOnly:
    """A projection of the newest subset: the others keep every bit, also where `project` would move them."""

    stages: Stages
    project: Project

    def __call__(self, syn: SyntheticSet, step: int) -> None:
        before, own = syn.pixels.detach().clone(), self.stages.own(self.stages.at(step)).repeat(syn.num_classes)
        self.project(syn, step)
        with torch.no_grad():
            own = own.to(before.device).view(-1, *[1] * (before.dim() - 1))
            syn.pixels.copy_(torch.where(own, syn.pixels, before))


@dataclass(frozen=True)
class Whole:
    """The set with all its subsets, as its method decodes it: what is exported, and what networks are trained on."""

    decode: Decode

    def __call__(self, syn: SyntheticSet) -> SyntheticSet:
        return replace(syn, decode=self.decode, shown=None)


@dataclass(frozen=True)
class StagedPlan:
    """The plan of the set: a training of `epochs` on the subsets so far, for every stage that has begun."""

    clock: Clock
    epochs: int | None

    def __call__(self, syn: SyntheticSet) -> list[Mapping[str, Any]]:
        stages, copies = self.clock.stages, syn.decoded_per_class // syn.ipc
        made = stages.at(max(self.clock.step - 1, 0))
        return stages.plan(syn.num_classes, [None] * len(stages.ipcs), made, copies=copies, epochs=self.epochs)


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


def pdd(
    real: RealData,
    net: NetFactory,
    *,
    ipcs: tuple[int, ...] = (2,) * 5,
    stage_steps: int = 200_000,
    seed: int = 0,
    host: Host = idc,
    lr: float = 1e-3,
    protocol: EvaluationProtocol | None = None,
    transition: int = 200,
    stage_epochs: int | None = 500,
    pool: int = 1,
    refresh: int = 1,
    policy: Policy | None = None,
    **settings: Any,
) -> Distillation:
    """PDD on IDC with the authors' settings for CIFAR-10 at 10 images per class; a run is len(ipcs) * stage_steps.

    Added terms see the subsets so far, and their gradient too reaches the newest alone.

    Differs: all subsets start from distinct images, drawn at once; a training on the subsets so far begins with a fresh
    optimiser, where the released evaluation carries momentum from one to the next.

    Args:
        real: what to distil.
        net: the network of the host.
        ipcs: stored images per class of each subset; with `stage_epochs` and the protocol, what evaluation replays.
        stage_steps: updates of each stage, a multiple of the updates in a network's life (2000 lives of 100).
        seed: key of every draw.
        host: the method whose loss it is, any whose networks come from `Rolling`: `idc`, `dream`, `dc`, `dm`.
        lr: learning rate of the images; by IDC's rule, 5e-3 ipc / 10, with the images of one subset, not of the set.
        protocol: how networks are trained on the subsets, in transitions and in evaluation; `idc` by default.
        transition: epochs of each such training before a network's life.
        stage_epochs: epochs of each in evaluation; None takes the protocol's.
        pool: trained networks that lives draw from, see `Reused`. Ours: 1 and 1 train every network, as published.
        refresh: lives between two new ones of them.
        policy: how networks run.
        settings: what else the host takes.
    """
    policy, stages = policy or Policy(), Stages(tuple(ipcs), stage_steps)
    job = host(real, net, ipc=stages.ipc, seed=seed, lr=lr, policy=policy, **settings)
    how = protocol or protocol_for("idc", real.name)
    clock = Clock(stages)
    stage_set(job, clock, stage_epochs)
    transitions = Transitions(SoFar(job.syn, stages, None, how, transition), seed=seed)
    prepare = transitions if pool == refresh == 1 else Reused(transitions, pool=pool, refresh=refresh)
    for source in networks(job, stages):
        source.prepare = prepare
    job.use(policy)
    return job


def stage_set(job: Distillation, clock: Clock, stage_epochs: int | None) -> None:
    """Make the set of a job that has not begun a staged one: its batches, gradients, projection, export and plan.

    Raises:
        ValueError: the optimiser has a weight decay, which no gradient mask keeps from frozen images.
    """
    if any(group.get("weight_decay") for group in job.update.optimizer.param_groups):
        raise ValueError("the images of a stage are frozen later, so their optimiser must have weight decay 0")
    syn, decode = job.syn, job.syn.decode
    syn.decode, syn.shown, syn.final = Newest(clock, decode), Begun(clock), Whole(decode)
    syn.plan = StagedPlan(clock, stage_epochs)
    if syn.project is not None:
        syn.project = NewestOnly(clock.stages, syn.project)
    job.update.restarts = clock.stages.begins


def networks(job: Distillation, stages: Stages) -> list[Rolling]:
    """Where the job's networks come from.

    Raises:
        ValueError: nowhere that could train them first, or a network would live on into the next stage.
    """
    found = [source for source in job.sources() if isinstance(source, Rolling)]
    if not found or any(source.prepare is not None for source in found):
        raise ValueError("PDD prepares the networks of its host, which has to draw them from `Rolling`, unprepared")
    for source in found:
        if stages.steps % source.inner:
            raise ValueError(
                f"a stage of {stages.steps} updates would end within a network's life of {source.inner}: make it a "
                "multiple"
            )
    return found
