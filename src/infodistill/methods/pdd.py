"""Progressive dataset distillation (PDD; Chen et al., ICLR 2024), arXiv:2310.06982.

The set is S_1, ..., S_P. Stage p learns S_p by the loss L of another method (IDC here) on all subsets so far,

    min_{S_p}  E_theta0  L(S_1 u ... u S_p; theta_p),    theta_1 = theta0,  theta_{p+1} = A(theta_p, S_1 u ... u S_p)

with S_1 ... S_{p-1} frozen; A(theta, S): a training of the network theta on S. Networks are then trained on the set the
same way, subset after subset: the later ones hold what only trained networks can learn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from infodistill.compute import Policy
from infodistill.distillation import Distillation
from infodistill.evaluation.protocol import EvaluationProtocol
from infodistill.evaluation.protocols import protocol_for
from infodistill.methods.idc import idc
from infodistill.real import RealData
from infodistill.sources.rolling import Rolling
from infodistill.sources.staged import Clock, SoFar, Stages
from infodistill.sources.transitions import Reused, Transitions
from infodistill.synthetic import Decode, Project, SyntheticSet
from infodistill.types import NetFactory

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
