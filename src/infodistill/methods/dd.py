"""Dataset distillation (Wang, Zhu, Torralba & Efros 2018), arXiv:1811.10959.

    min_{X_1..X_K, eta}  E_{theta_0}  CE( f(theta_T, x_real), y_real )
    theta_{t+1} = theta_t - eta_t grad_theta CE( f(theta_t, X_{t mod K}), Y_{t mod K} ),    T = K E_d

K batches of m images a class, gone through E_d times; every step has a learned rate; labels are fixed one-hot. The
gradient runs through all T steps, exactly (`infodistill.unrolling.unroll`). Evaluation replays the same batches and
rates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from infodistill.augment import identity
from infodistill.compute import Policy
from infodistill.distillation import Distillation
from infodistill.gradients import cross_entropy
from infodistill.real import RealData
from infodistill.sources.segments import FreshStarts
from infodistill.sources.students import Order, Rates, StudentLooks, Students, fixed_batches, positive
from infodistill.synthetic import Initialise, SyntheticSet, from_noise, synthesise
from infodistill.types import Batch, NetFactory
from infodistill.unrolling.inner import Unroll
from infodistill.unrolling.unroll import sweep
from infodistill.updates import Update
from infodistill.weights import Weighted

RATES = "raw_rates"
"""The scalar of the set that holds one raw rate per step; the rate is its softplus."""

Learns = Callable[[SyntheticSet], SyntheticSet]
"""What of a set is learned: `images_and_rates` or `rates_only`."""


def images_and_rates(syn: SyntheticSet) -> SyntheticSet:
    """The method: everything moves."""
    return syn


def rates_only(syn: SyntheticSet) -> SyntheticSet:
    """The control: images as they start, rates tuned by the same objective. With `init=from_real` it is what real
    images of equal bytes reach under the same replayed plan.
    """
    return replace(syn, pixels=syn.pixels.detach())


@dataclass(frozen=True)
class RealLoss:
    """Cross-entropy of the trained students on the step's real batch: mean over rows and students, in nats.

    Attributes:
        students: one source per network; their rates are the set's.
        looks: what MIM looks through, the first student.
    """

    students: tuple[Students, ...]
    looks: StudentLooks

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        losses = [self._of(source, syn, real) for source in self.students]
        return torch.stack(losses).mean()

    @staticmethod
    def _of(source: Students, syn: Batch, real: Batch) -> Tensor:
        return cross_entropy(source.student(syn).view().logits(real.x, real.space), real.target)


def real_loss(students: Sequence[Students]) -> RealLoss:
    """The term over these students; MIM, where added, looks through the first."""
    return RealLoss(tuple(students), StudentLooks(students[0]))


@dataclass(frozen=True)
class Replay:
    """The plan of a set whose batches and rates are replayed: T = batches * passes phases {rows, [rate], steps 1}."""

    batches: int
    passes: int

    @property
    def steps(self) -> int:
        return self.batches * self.passes

    @property
    def order(self) -> Order:
        """Step t trains on the rows r with r mod K = t mod K."""
        return fixed_batches(self.batches)

    def __call__(self, syn: SyntheticSet) -> list[Mapping[str, Any]]:
        rows = self.order(torch.Generator(), len(syn.y), self.steps)
        rates = positive(syn.scalars[RATES].detach()).tolist()
        return [{"rows": r.tolist(), "rates": [rate], "steps": 1} for r, rate in zip(rows, rates, strict=True)]


@dataclass(frozen=True)
class Halving:
    """Multiplier 0.5 ** floor(step / every)."""

    every: int

    def __call__(self, step: int) -> float:
        return 0.5 ** (step // self.every)


def batches_of(ipc: int, batches: int | None = None, limit: int = 10) -> int:
    """K: as asked for, or the largest divisor of ipc up to `limit` (the paper has 10).

    Raises:
        ValueError: K does not divide ipc, so that batches could not hold equally many images of every class.
    """
    if batches is None:
        return max(k for k in range(1, limit + 1) if ipc % k == 0)
    if batches < 1 or ipc % batches:
        raise ValueError(f"{ipc} images per class do not divide into {batches} batches of equal size")
    return batches


def raw_rates(rate: float, steps: int) -> Tensor:
    """(steps,) values whose softplus is `rate`: log(expm1(rate))."""
    if not rate > 0:
        raise ValueError(f"the initial rate must be positive, got {rate}")
    return torch.full((steps,), rate + math.log(-math.expm1(-rate)))


def dd(
    real: RealData,
    net: NetFactory,
    *,
    ipc: int = 10,
    seed: int = 0,
    batches: int | None = None,
    passes: int = 3,
    rate: float = 0.02,
    lr: float = 0.01,
    halve_every: int = 2360,
    clip: float | None = 1.0,
    nets: int = 1,
    hold: int | None = 1,
    real_per_class: int | None = None,
    init: Initialise = from_noise,
    learns: Learns = images_and_rates,
    unroll: Unroll = sweep,
    policy: Policy | None = None,
) -> Distillation:
    """Dataset distillation with the authors' settings.

    Differs: balanced real batches; random networks by PyTorch's default law instead of Xavier's; the gradient is
    clipped, since the authors' default rate is known to diverge on random networks.

    Args:
        real: what to distil.
        net: the network whose fresh initialisations are trained.
        ipc: images per class over all batches, K m.
        seed: key of every draw.
        batches: K, a divisor of ipc; None takes the largest up to 10.
        passes: E_d, times the batches are gone through.
        rate: initial rate of every step.
        lr: Adam's rate for images and raw rates, betas (0.5, 0.999).
        halve_every: updates after which `lr` halves; the authors' 40 epochs, as many as MNIST makes of them.
        clip: largest norm of an update's gradient (ours); None for no limit.
        nets: networks per update.
        hold: updates that keep a start; None keeps the first for good, the paper's known initialisation.
        real_per_class: real images of each class per update; None makes a batch of about 1024.
        init: what the images start from.
        learns: `images_and_rates`, or the control `rates_only`.
        unroll: how the gradient runs through the steps.
        policy: how networks run.
    """
    policy = policy or Policy()
    plan = Replay(batches_of(ipc, batches), passes)
    syn = learns(synthesise(real, ipc, seed, init, policy.device))
    return taught(
        syn, plan, real, net,
        seed=seed, rate=rate, lr=lr, halve_every=halve_every, clip=clip,
        nets=nets, hold=hold, real_per_class=real_per_class, unroll=unroll, policy=policy,
    )  # fmt: skip


def taught(
    syn: SyntheticSet,
    plan: Replay,
    real: RealData,
    net: NetFactory,
    *,
    seed: int,
    rate: float,
    lr: float,
    halve_every: int,
    clip: float | None,
    nets: int,
    hold: int | None,
    real_per_class: int | None,
    unroll: Unroll,
    policy: Policy,
) -> Distillation:
    """The job of a set that is replayed by a plan at learned rates: images, labels or both (DD, SLDD)."""
    raw = raw_rates(rate, plan.steps).to(syn.y.device).requires_grad_()
    syn = replace(syn, scalars={**syn.scalars, RATES: raw}, plan=plan)
    teach = partial(
        Students, rates=Rates(raw, positive), steps=plan.steps, order=plan.order, augment=identity(), seed=seed,
        unroll=unroll,
    )  # fmt: skip
    terms = {"match": Weighted(1.0, real_loss(students(teach, net, real, seed=seed, nets=nets, hold=hold)))}
    update = Update(torch.optim.Adam(syn.trainable(), lr, (0.5, 0.999)), Halving(halve_every), clip)
    return Distillation(syn, real, terms, update, seed, real_per_class or balanced(real), policy=policy)


def students(
    teach: Callable[..., Students], net: NetFactory, real: RealData, *, seed: int, nets: int, hold: int | None
) -> list[Students]:
    """One source of students per network, each from its own fresh starts: `teach(starts, owner=...)`."""
    if nets < 1:
        raise ValueError(f"an update needs at least 1 network, got {nets}")
    fresh = partial(FreshStarts, net, real.shape, real.num_classes, seed=seed, hold=hold)
    return [teach(fresh(owner=f"starts.{n}"), owner=f"students.{n}") for n in range(nets)]


def balanced(real: RealData, total: int = 1024) -> int:
    """Images per class of a batch of about `total`, at least 1."""
    return max(1, round(total / real.num_classes))
