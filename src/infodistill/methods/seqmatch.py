"""Sequential subset matching (SeqMatch; Du et al., NeurIPS 2023), arXiv:2311.01570.

The set is S_1, ..., S_K. Stage k learns S_k and its rate beta_k by trajectory matching (`methods/mtt.py`),

    min_{S_k, beta_k}  | theta_N - theta*_{t+M} |^2 / | theta*_t - theta*_{t+M} |^2

with the student's batches from S_1 ... S_k, S_1 ... S_{k-1} frozen, and theta* the parameters of experts that were
first trained on S_1, then on S_1 and S_2, ... up to S_{k-1}, and from there on the real data. Networks are then trained
on the set the same way, stage by stage: the later subsets are free to hold what only trained networks can learn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from infodistill.augment import dsa_per_image
from infodistill.compute import Policy
from infodistill.distillation import Distillation
from infodistill.evaluation.protocol import EvaluationProtocol
from infodistill.evaluation.protocols import protocol_for
from infodistill.methods.mtt import TrajectoryMatching, keep_positive
from infodistill.real import RealData
from infodistill.seeding import key
from infodistill.sources.expert_recording import Start, Told
from infodistill.sources.experts import Experts, epochs_read, record_experts, up_to
from infodistill.sources.segments import Segment
from infodistill.sources.staged import Clock, Record, SoFar, StagedExperts, Stages
from infodistill.sources.students import Rates, StudentLooks, Students, shuffled_chunks
from infodistill.synthetic import Initialise, SyntheticSet, from_real, stored_as_images, synthesise
from infodistill.training import Fit
from infodistill.types import Augment, NetFactory, Source
from infodistill.unrolling.inner import Unroll
from infodistill.unrolling.unroll import sweep
from infodistill.updates import Update
from infodistill.weights import Weighted

RATES = "lr"


@dataclass(frozen=True)
class Current:
    """A decoder of stored images through which gradients reach the current subset alone, whatever term makes them."""

    clock: Clock

    def __call__(self, pixels: Tensor) -> Tensor:
        own = self.clock.stages.own(self.clock.draw()).to(pixels.device)
        own = own.repeat(-(-len(pixels) // len(own)))[: len(pixels)]
        return torch.where(own.view(-1, *[1] * (pixels.dim() - 1)), pixels, pixels.detach())


@dataclass(frozen=True)
class CurrentRate:
    """The rate of the current stage, of one per stage (K,)."""

    clock: Clock

    def __call__(self, raw: Tensor) -> Tensor:
        return raw[self.clock.draw()]


@dataclass(frozen=True)
class UpToNow:
    """The order of a student's batches: chunks of random permutations of the subsets up to the current one.

    None takes as many images as the current subset has (the authors' default). A chunk may then hold frozen images
    only: such a step trains the student like any other, and the gradient reaches the current subset through the rest.
    """

    clock: Clock
    batch: int | None

    def __call__(self, generator: torch.Generator, images: int, steps: int) -> tuple[Tensor, ...]:
        stages, stage = self.clock.stages, self.clock.draw()
        rows = stages.rows(images // stages.ipc, stage)
        batch = self.batch or stages.ipcs[stage] * (images // stages.ipc)
        chunks = shuffled_chunks(min(batch, len(rows)))(generator, len(rows), steps)
        return tuple(rows[chunk] for chunk in chunks)


@dataclass(frozen=True)
class StagedPlan:
    """The plan of the set: a training for every stage that has begun, each at its learned rate.

    Subsets whose stage has not begun are in no phase: a job that is cut short is worth what its stages are.
    """

    clock: Clock

    def __call__(self, syn: SyntheticSet) -> list[Mapping[str, Any]]:
        made = self.clock.stages.at(max(self.clock.step - 1, 0))
        rates: list[float] = syn.scalars[RATES].detach().cpu().tolist()
        return self.clock.stages.plan(syn.num_classes, rates, made)


def plainly(syn: SyntheticSet) -> SyntheticSet:
    """The set without its decoder: what is exported are the stored images."""
    return replace(syn, decode=stored_as_images)


def stage_seed(seed: int, stage: int) -> int:
    """The key of a stage's experts."""
    return key(seed, "staged.experts", stage)


@dataclass(frozen=True)
class Recorded:
    """A `Record`: experts trained on the real data, kept in the cache by what they started from.

    Start epochs are t ~ U[a, b - M) of the interval (a, b) of the stage, so that the last epoch read is b - 1.

    Published: 100 experts by plain SGD (MTT's training), 50 epochs and then 20.

    Args:
        real: what they are trained on.
        factory: their network.
        first: their training at stage 0, from fresh networks (50 epochs).
        later: their training afterwards (20 epochs).
        cache: the folder they are kept in.
        intervals: (a, b) per stage; the last one also of the stages after it.
        span: M.
        count: experts per stage.
        seed: key of their trainings, with the stage.
        policy: how they are trained.
        progress: told what is done.
    """

    real: RealData
    factory: NetFactory
    first: Fit
    later: Fit
    cache: Path
    intervals: Sequence[tuple[int, int]] = ((0, 20), (0, 20), (0, 10))
    span: int = 2
    count: int = 100
    seed: int = 0
    policy: Policy | None = None
    progress: Told | None = None

    def __call__(self, stage: int, start: Start | None, origin: str) -> Source[Segment]:
        low, end = self.intervals[min(stage, len(self.intervals) - 1)]
        store = record_experts(
            self.real, self.factory, count=self.count, fit=self.later if stage else self.first,
            keep=epochs_read((low, end - self.span), self.span), seed=stage_seed(self.seed, stage),
            policy=self.policy, cache=self.cache, progress=self.progress, start=start, begun=origin,
        )  # fmt: skip
        window = up_to(end - self.span, low)
        return Experts(store, span=self.span, window=window, seed=self.seed, owner=f"experts.{stage}")

    def __deepcopy__(self, memo: dict[int, Any]) -> Recorded:
        return self  # nothing here changes, and the data may be large


def seqmatch(
    real: RealData,
    net: NetFactory,
    record: Record,
    *,
    ipcs: Sequence[int] = (17, 17, 16),
    stage_steps: int = 5000,
    seed: int = 0,
    steps: int = 30,
    batch_syn: int | None = None,
    lr: float = 100.0,
    lr_rate: float = 1e-5,
    rates: Sequence[float] = (0.001, 0.01),
    momentum: float = 0.5,
    protocol: EvaluationProtocol | None = None,
    real_per_class: int = 26,
    augment: Augment | None = None,
    init: Initialise = from_real,
    unroll: Unroll = sweep,
    policy: Policy | None = None,
) -> Distillation:
    """SeqMatch on MTT with the authors' example for CIFAR-10 at 50 images per class; a whole run is K * stage_steps.

    Information terms see the whole set, and their gradient too reaches the current subset alone.

    Differs: a stage keeps its last images and rate, where the authors keep the best by test accuracy; every expert
    starts from a network of its own; beta is kept positive; a short remainder batch comes last.

    Args:
        real: what to distil, in the value space the experts are trained in.
        net: the network of the experts, as `record` trains it.
        record: makes the experts of a stage, see `Recorded`.
        ipcs: images per class of each subset.
        stage_steps: updates of each stage.
        seed: key of every draw.
        steps: N, steps of the student.
        batch_syn: images in a step of the student; None takes as many as the current subset has.
        lr: learning rate of the images (SGD).
        lr_rate: learning rate of the student's rates (SGD).
        rates: the student's rate at the start of each stage; the last one also of the stages after it.
        momentum: of both; it is forgotten when a stage begins.
        protocol: how networks are trained on the subsets so far, before experts start; `seqmatch` by default.
        real_per_class: real images of each class per step; only added terms look at them.
        augment: augmentation of the student's images, one operation per batch with its own parameters per image.
        init: what the set starts from.
        unroll: how theta_N is differentiated.
        policy: how networks run.
    """
    policy, stages = policy or Policy(), Stages(tuple(ipcs), stage_steps)
    clock = Clock(stages)
    syn = synthesise(real, stages.ipc, seed, init, policy.device)
    first = [rates[min(k, len(rates) - 1)] for k in range(len(ipcs))]
    syn.scalars[RATES] = torch.tensor(first, device=policy.device, requires_grad=True)
    syn.decode, syn.final, syn.project, syn.plan = Current(clock), plainly, keep_positive, StagedPlan(clock)
    before = SoFar(syn, stages, RATES, protocol or protocol_for("seqmatch", real.name))
    learner = partial(Students, rates=Rates(syn.scalars[RATES], CurrentRate(clock)), order=UpToNow(clock, batch_syn))
    students = learner(
        StagedExperts(record, before, net, seed=seed), steps=steps, augment=augment or dsa_per_image(), seed=seed,
        unroll=unroll,
    )  # fmt: skip
    groups = [{"params": [syn.pixels], "lr": lr}, {"params": [syn.scalars[RATES]], "lr": lr_rate}]
    update = Update(torch.optim.SGD(groups, lr, momentum), restarts=stages.begins)
    terms = {"match": Weighted(1.0, TrajectoryMatching(StudentLooks(students)))}
    return Distillation(syn, real, terms, update, seed, real_per_class, policy=policy)
