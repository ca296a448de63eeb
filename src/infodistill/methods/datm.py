"""Dataset distillation by difficulty-aligned trajectory matching (DATM; Guo et al., ICLR 2024), arXiv:2310.05773.

MTT's loss (`methods/mtt.py`) on FTD's experts (`methods/ftd.py`, 100 epochs), with four changes:

    window  t ~ U[T-, U(i)),  U(i) = min(T+, T0 + floor((T+ - T0) i / E))             at update i
    labels  y = softmax(Z), Z learned, from the mean logits of the experts that know the image
    start   real images that an expert classifies correctly
    skip    no update where the loss exceeds a threshold
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from infodistill.compute import Policy, View
from infodistill.descent import cross_entropy_rows
from infodistill.distillation import Distillation
from infodistill.methods.mtt import mtt
from infodistill.real import RealData
from infodistill.seeding import stream
from infodistill.sources.expert_store import ExpertStore
from infodistill.sources.segments import Segment
from infodistill.storage.labels import learned_logits
from infodistill.synthetic import Initialise
from infodistill.types import Batch, Source
from infodistill.updates import Update

ROWS = 1024
"""Real images that an expert looks at in one piece."""


@dataclass(frozen=True)
class MovingWindow:
    """Start epochs low .. high - 1 whose upper end rises from `first` to `highest` over `steps` updates (DATM's U).

    Without the rise (the `-` of the published table) it is `sources.experts.up_to(highest, lowest)`.

    Args:
        lowest: T-.
        first: T0, the upper end at update 0 (exclusive).
        highest: T+, the upper end from update `steps` on (exclusive).
        steps: E.

    Raises:
        ValueError: not 0 <= lowest < first <= highest, or `steps` below 1.
    """

    lowest: int
    first: int
    highest: int
    steps: int

    def __post_init__(self) -> None:
        if not 0 <= self.lowest < self.first <= self.highest or self.steps < 1:
            found = f"{self.lowest}, {self.first}, {self.highest} over {self.steps} steps"
            raise ValueError(f"a window needs 0 <= lowest < first <= highest and at least 1 step, got {found}")

    def __call__(self, step: int) -> tuple[int, int]:
        risen = (self.highest - self.first) * step // self.steps
        return self.lowest, min(self.highest, self.first + risen)


@dataclass(frozen=True)
class Below:
    """An `Update.accept`: the base loss alone decides, whatever other terms say."""

    threshold: float
    name: str = "match"

    def __call__(self, values: Mapping[str, float]) -> bool:
        return values[self.name] <= self.threshold


def finals_of(store: ExpertStore, epoch: int | None = None, policy: Policy | None = None) -> list[View]:
    """The experts of a store at one epoch, the last it keeps by default."""
    policy, epoch = policy or Policy(), store.epochs[-1] if epoch is None else epoch
    store.module.to(policy.device)
    at = [store.parameters(expert, epoch, policy.device) for expert in range(store.count)]
    return [View(store.module, theta, policy, store.space, epoch) for theta in at]


@dataclass(frozen=True)
class Recognised:
    """An `Initialise`: random real images of each class that one keyed expert of `finals` classifies correctly.

    Differs: a class with fewer than ipc of them is filled up with those of its other images that have the smallest
    cross-entropy under that expert, and a warning says so; the authors' loop then never ends.
    """

    finals: Sequence[View]

    def __call__(self, real: RealData, ipc: int, seed: int) -> Tensor:
        judge = self.finals[int(torch.randint(len(self.finals), (), generator=stream(seed, "init.judge")))]
        return real.rows(torch.cat([self._rows(judge, real, ipc, seed, label=c) for c in range(real.num_classes)])).x

    def _rows(self, judge: View, real: RealData, ipc: int, seed: int, *, label: int) -> Tensor:
        members = real.class_rows[label]
        members = members[torch.randperm(len(members), generator=stream(seed, "init.recognised", 0, label))]
        seen = [_verdict(judge, real.rows(piece)) for piece in members.split(ROWS)]
        right, loss = (torch.cat(part).cpu() for part in zip(*seen, strict=True))
        if (known := int(right.sum())) < ipc:
            warnings.warn(
                f"the expert classifies {known} images of class '{real.class_names[label]}' correctly, {ipc} are "
                "wanted: the rest are its images of smallest loss",
                stacklevel=2,
            )
            loss = loss.masked_fill(right, -torch.inf)
            return members[loss.argsort(stable=True)[:ipc]]
        return members[right][:ipc]


@torch.no_grad()
def mean_logits(finals: Sequence[View], batch: Batch) -> Tensor:
    """(n, k): for each image the mean of the logits of those experts that classify it as its class `y`.

    Differs: an image that none of them recognises gets the logits of the expert with the smallest cross-entropy (ours;
    the mean is not defined there).
    """
    total = nearest = torch.zeros_like(batch.target)
    count = torch.zeros_like(batch.target[:, :1])
    least = torch.full_like(batch.target[:, 0], torch.inf)
    for view in finals:
        batch = batch.to(next(iter(view.params.values())).device)
        logits = view.logits(batch.x, batch.space).to(total.device)
        batch = batch.to(total.device)
        right = (logits.argmax(1) == batch.y).to(logits)[:, None]
        loss = cross_entropy_rows(logits, batch.target)
        total, count = total + right * logits, count + right
        nearest = torch.where((loss < least)[:, None], logits, nearest)
        least = torch.minimum(loss, least)
    return torch.where(count > 0, total / count.clamp_min(1), nearest)


@torch.no_grad()
def _verdict(judge: View, batch: Batch) -> tuple[Tensor, Tensor]:
    """Whether each image is classified as its class, and its cross-entropy in nats; both (n,)."""
    device = next(iter(judge.params.values())).device
    logits, y, target = judge.logits(batch.x.to(device), batch.space), batch.y.to(device), batch.target.to(device)
    return logits.argmax(1) == y, cross_entropy_rows(logits, target.to(logits))


def datm(
    real: RealData,
    experts: Source[Segment],
    finals: Sequence[View],
    *,
    ipc: int = 10,
    seed: int = 0,
    lr: float = 100.0,
    lr_rate: float = 1e-5,
    lr_labels: float = 2.0,
    momentum: float = 0.5,
    momentum_labels: float = 0.9,
    threshold: float = 1.0,
    steps: int = 80,
    rate: float = 0.01,
    init: Initialise | None = None,
    **settings: Any,
) -> Distillation:
    """DATM with the released settings for CIFAR-10 at 10 images per class (10,000 updates, ZCA, N = 80).

    There: `batch_syn` 100, experts of 100 epochs by `ftd.flat_fit(100)`, span 2, `MovingWindow(0, 10, 20, 1000)`. The
    released code has no average of the images, whatever its configurations say.

    Differs: evaluation trains in batches of 256, as MTT's protocol does; the authors' in batches of 128.

    Args:
        real: what to distil, in the value space the experts were trained in.
        experts: segments of their trajectories, with a window such as `MovingWindow`.
        finals: the experts at their last epoch, see `finals_of`.
        ipc: images per class.
        seed: key of every draw.
        lr: learning rate of the images (SGD).
        lr_rate: learning rate of the student's rate (SGD).
        lr_labels: learning rate of the logits Z (SGD).
        momentum: of images and rate.
        momentum_labels: of Z.
        threshold: an update is skipped where the loss, without added terms, is above it.
        steps: N, steps of the student.
        rate: the student's rate at the start.
        init: the images; `Recognised(finals)` by default, `from_real` for CIFAR-100 at 50 images per class.
        settings: further ones of `mtt`.

    Raises:
        ValueError: there are no finals.
    """
    if not finals:
        raise ValueError("DATM takes its images and labels from the experts' last epoch: at least 1 is needed, got 0")
    start = init or Recognised(finals)
    job = mtt(real, experts, ipc=ipc, seed=seed, steps=steps, rate=rate, init=start, **settings)
    syn = learned_logits(job.syn, mean_logits(finals, job.syn.batch().detach()))
    groups = [
        {"params": [syn.pixels], "lr": lr, "momentum": momentum},
        {"params": [syn.labels], "lr": lr_labels, "momentum": momentum_labels},
        {"params": [syn.scalars["lr"]], "lr": lr_rate, "momentum": momentum},
    ]
    return replace(job, syn=syn, update=Update(torch.optim.SGD(groups, lr), accept=Below(threshold)))
