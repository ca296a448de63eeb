"""Dataset distillation by matching training trajectories (Cazenavette et al., CVPR 2022), arXiv:2203.11932.

    min_{X, beta}  | theta_N - theta*_{t+M} |^2 / | theta*_t - theta*_{t+M} |^2,   theta_0 = theta*_t

theta*: parameters of an expert trained on the real data, at epoch t; theta_N: the student after N SGD steps of rate
beta on the synthetic set. beta is learned with the images and used to train on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from infodistill.augment import dsa_per_image
from infodistill.compute import Policy
from infodistill.distillation import Distillation
from infodistill.real import RealData
from infodistill.sources.segments import Segment
from infodistill.sources.students import Rates, StudentLooks, Students, shuffled_chunks
from infodistill.synthetic import Initialise, SyntheticSet, from_real, synthesise
from infodistill.types import Augment, Batch, Source
from infodistill.unrolling.inner import Unroll
from infodistill.unrolling.unroll import sweep
from infodistill.updates import Update
from infodistill.weights import Weighted

LEAST_RATE = 1e-6
"""Ours: a learned rate is kept at or above this. The authors' may turn negative, which their users met."""


def trajectory_distance(theta: Mapping[str, Tensor], start: Mapping[str, Tensor], end: Mapping[str, Tensor]) -> Tensor:
    """|theta - end|^2 / |start - end|^2 over all parameters, in float32 or better, a scalar; 1 for a student at rest.

    Raises:
        ValueError: start and end are the same point (a trajectory whose snapshots are aliases of each other).
    """
    far = _squared_distance(start, end)
    if not bool(far > 0):
        raise ValueError("the expert did not move between the ends of a segment: its snapshots are the same parameters")
    return _squared_distance(theta, end) / far


def _squared_distance(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([(a[name] - b[name]).square().sum() for name in a]).sum()


@dataclass(frozen=True)
class TrajectoryMatching:
    """The normalised squared distance between the student after its steps and the expert M epochs later.

    Raises FloatingPointError when the learned rate has diverged to its floor, see `require_moving`.
    """

    looks: StudentLooks

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        del real
        require_moving(self.looks.students.rates.values(1))
        student = self.looks.students.student(syn)
        end = student.segment.end
        if end is None:
            raise ValueError("trajectory matching needs segments of experts, not fresh networks")
        return trajectory_distance(student.theta, student.segment.start, end)


def require_moving(rates: Tensor) -> None:
    """Stop a run whose student stands still: its loss is 1 and no longer says anything about the images.

    Raises:
        FloatingPointError: the learned rate has been clamped to LEAST_RATE, or is not a number.
    """
    rate = float(rates.detach().max())
    if not math.isfinite(rate) or math.isclose(rate, LEAST_RATE, rel_tol=1e-5):
        raise FloatingPointError(
            f"the student's learned rate fell to {rate:g}, its floor, where students stand still: the last checkpoint "
            "before is kept; a smaller lr of the images, lr_rate or first rate may help"
        )


def keep_positive(syn: SyntheticSet, step: int) -> None:
    """Project learned rates onto [LEAST_RATE, inf), in place."""
    del step
    with torch.no_grad():
        for value in syn.scalars.values():
            value.clamp_(min=LEAST_RATE)


def learned_rate(syn: SyntheticSet) -> tuple[Mapping[str, Any], ...]:
    """The plan of a set with one learned rate: the protocol with this rate as its base rate."""
    return ({"rows": None, "rates": float(syn.scalars["lr"].detach()), "epochs": None},)


def mtt(
    real: RealData,
    experts: Source[Segment],
    *,
    ipc: int = 10,
    seed: int = 0,
    steps: int = 30,
    batch_syn: int | None = None,
    lr: float = 100.0,
    lr_rate: float = 1e-5,
    rate: float = 0.001,
    momentum: float = 0.5,
    real_per_class: int = 26,
    augment: Augment | None = None,
    init: Initialise = from_real,
    unroll: Unroll = sweep,
    accept: Callable[[Mapping[str, float]], bool] | None = None,
    policy: Policy | None = None,
) -> Distillation:
    """Trajectory matching with the released settings for CIFAR-10 at 10 images per class.

    Args:
        real: what to distil, in the value space the experts were trained in.
        experts: segments of their trajectories; M and the range of t are theirs.
        ipc: images per class.
        seed: key of every draw.
        steps: N, steps of the student.
        batch_syn: images in a step; None takes all.
        lr: learning rate of the images (SGD).
        lr_rate: learning rate of the student's rate beta (SGD).
        rate: beta at the start.
        momentum: of both.
        real_per_class: real images of each class per step; only added terms look at them.
        augment: augmentation of the student's images, one operation per batch with its own parameters per image.
        init: what the set starts from.
        unroll: how theta_N is differentiated; `unroll.tesla` makes this TESLA.
        accept: given the value of every term, whether to make the update (DATM).
        policy: how networks run.

    Differs: beta is kept positive; a short remainder batch comes last; expert and epoch are drawn independently at
    every step, where the released code goes through shuffled buffers and meets every expert once in a pass.
    """
    policy = policy or Policy()
    syn = synthesise(real, ipc, seed, init, policy.device)
    syn.scalars["lr"] = torch.tensor(rate, device=policy.device, requires_grad=True)
    syn.project, syn.plan = keep_positive, learned_rate
    order = shuffled_chunks(min(batch_syn or len(syn.y), len(syn.y)))
    students = Students(
        experts, Rates(syn.scalars["lr"]), steps, order, augment or dsa_per_image(), seed, unroll=unroll
    )
    groups = [{"params": [syn.pixels], "lr": lr}, {"params": [syn.scalars["lr"]], "lr": lr_rate}]
    update = Update(torch.optim.SGD(groups, lr, momentum), accept=accept)
    terms = {"match": Weighted(1.0, TrajectoryMatching(StudentLooks(students)))}
    return Distillation(syn, real, terms, update, seed, real_per_class, policy=policy)
