"""Remember the past (Deng & Russakovsky, NeurIPS 2022), arXiv:2206.02916.

    min_{A, B}  E_{theta_0}  CE( f(theta_N(X), x_real), y_real ),    X = up_s(A B)
    v_{i+1} = mu v_i + g_i,   theta_{i+1} = theta_i - eta v_{i+1},   g_i on a class-balanced random part of X

Images are combinations of bases that all classes share (`infodistill.storage.bases`), and the gradient runs through N
steps of SGD with momentum, exactly. The plan is the protocol `rtp`: the same inner optimiser on all decoded images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from infodistill.augment import identity
from infodistill.compute import Policy
from infodistill.distillation import Distillation
from infodistill.methods.dd import rates_only, raw_rates, real_loss, students
from infodistill.real import RealData
from infodistill.sources.students import Rates, Students, as_stored, positive
from infodistill.storage.bases import Combined, InitialFactors, noise_factors, rows_per_class
from infodistill.synthetic import Initialise, SyntheticSet, from_real, synthesise
from infodistill.types import Augment, NetFactory
from infodistill.unrolling.inner import Unroll
from infodistill.unrolling.unroll import sweep
from infodistill.updates import Update
from infodistill.weights import Weighted

BASES = "bases"
RATE = "raw_rate"


@dataclass(frozen=True)
class BalancedRows:
    """The order of the steps: of every class `per_class` rows, drawn anew for each step without replacement.

    A class with fewer rows gives all of them. The set is class-major.
    """

    classes: int
    per_class: int

    def __call__(self, generator: torch.Generator, count: int, steps: int) -> tuple[Tensor, ...]:
        own = count // self.classes
        take = min(self.per_class, own)
        first = torch.arange(self.classes)[:, None] * own
        scores = torch.rand(steps, self.classes, own, generator=generator)
        chosen = scores.argsort(dim=2)[:, :, :take].sort(dim=2).values + first
        return tuple(chosen.flatten(1).unbind())


@dataclass(frozen=True)
class AtRate:
    """The plan: the protocol's training on all images, at a fixed rate."""

    rate: float

    def __call__(self, syn: SyntheticSet) -> list[dict[str, float | None]]:
        del syn
        return [{"rows": None, "rates": self.rate, "epochs": None}]


def at_learned_rate(syn: SyntheticSet) -> list[dict[str, float | None]]:
    """The plan of the control: the protocol's training at the rate it has learned."""
    return [{"rows": None, "rates": float(positive(syn.scalars[RATE].detach())), "epochs": None}]


def rtp(
    real: RealData,
    net: NetFactory,
    *,
    ipc: int = 1,
    seed: int = 0,
    bases: int = 16,
    scale: int = 2,
    steps: int = 150,
    rate: float = 0.01,
    momentum: float = 0.9,
    rows: int = 32,
    lr: float = 0.1,
    lr_momentum: float = 0.5,
    clip: float | None = 2.0,
    nets: int = 1,
    real_per_class: int = 64,
    augment: Augment | None = None,
    init: InitialFactors = noise_factors,
    unroll: Unroll = sweep,
    policy: Policy | None = None,
) -> Distillation:
    """Bases and coefficients trained through momentum SGD, with the authors' settings for CIFAR-10.

    Differs: real images of every class in each update (theirs: of 10 sampled classes); the penalty 1e-4 |A|_2 in the
    inner loss is left out, since it does not depend on theta and so changes no step; random networks by PyTorch's
    default law instead of Xavier's. UNKNOWN and our choice: the start of A and B.

    Args:
        real: what to distil.
        net: the network whose fresh initialisations are trained.
        ipc: the budget: bases and coefficients cost at most as many numbers as `ipc` images of each class.
        seed: key of every draw.
        bases: k.
        scale: s, the factor bases are smaller by.
        steps: N, SGD steps of a student.
        rate: eta, fixed; the exported plan trains at it.
        momentum: mu.
        rows: images of each class in a student's step, 32 (theirs without bases: 10).
        lr: rate of the outer SGD on A and B.
        lr_momentum: its momentum.
        clip: largest norm of an update's gradient; None for no limit.
        nets: networks per update.
        real_per_class: real images of each class per update.
        augment: of the students' images, one record row per image; none by default, theirs is `flip_rotate`.
        init: what A and B start from.
        unroll: how the gradient runs through the steps.
        policy: how networks run.
    """
    policy = policy or Policy()
    syn = replace(combined(real, ipc, bases, scale, seed=seed, init=init, device=policy.device), plan=AtRate(rate))
    rates = Rates(torch.tensor(rate, device=policy.device), as_stored)
    teach = partial(
        Students, rates=rates, steps=steps, order=BalancedRows(real.num_classes, rows), augment=augment or identity(),
        seed=seed, momentum=momentum, unroll=unroll,
    )  # fmt: skip
    update = Update(torch.optim.SGD(syn.trainable(), lr, lr_momentum), clip=clip)
    terms = {"match": Weighted(1.0, real_loss(students(teach, net, real, seed=seed, nets=nets, hold=1)))}
    return Distillation(syn, real, terms, update, seed, real_per_class, policy=policy)


def rtp_rates_only(
    real: RealData,
    net: NetFactory,
    *,
    ipc: int = 1,
    seed: int = 0,
    steps: int = 150,
    rate: float = 0.01,
    momentum: float = 0.9,
    rows: int = 10,
    lr: float = 0.05,
    clip: float | None = 2.0,
    nets: int = 1,
    real_per_class: int = 64,
    augment: Augment | None = None,
    init: Initialise = from_real,
    unroll: Unroll = sweep,
    policy: Policy | None = None,
) -> Distillation:
    """The control of `rtp`: fixed real images of at least its bytes, and one rate tuned by the same objective.

    The rate is softplus of a scalar of the set, moved by Adam at `lr`, and the plan trains at it; the rest as in `rtp`.
    """
    policy = policy or Policy()
    raw = raw_rates(rate, 1)[0].to(policy.device).requires_grad_()
    start = synthesise(real, ipc, seed, init, policy.device)
    syn = replace(rates_only(start), scalars={RATE: raw}, plan=at_learned_rate)
    teach = partial(
        Students, rates=Rates(raw, positive), steps=steps, order=BalancedRows(real.num_classes, rows),
        augment=augment or identity(), seed=seed, momentum=momentum, unroll=unroll,
    )  # fmt: skip
    update = Update(torch.optim.Adam(syn.trainable(), lr), clip=clip)
    terms = {"match": Weighted(1.0, real_loss(students(teach, net, real, seed=seed, nets=nets, hold=1)))}
    return Distillation(syn, real, terms, update, seed, real_per_class, policy=policy)


def combined(
    real: RealData, ipc: int, bases: int, scale: int, *, seed: int, init: InitialFactors, device: str = "cpu"
) -> SyntheticSet:
    """A set whose stored rows are coefficients, r for each class, over bases kept as its scalar `bases`; hard labels.

    Raises:
        ValueError: the bases do not fit the budget or the image size, see `bases.rows_per_class`.
    """
    rows = rows_per_class(real.shape, real.num_classes, ipc=ipc, bases=bases, scale=scale)
    start = init(real, rows, bases, scale, seed)
    a, b = (factor.float().to(device).clone().requires_grad_() for factor in start)
    y = torch.arange(real.num_classes).repeat_interleave(rows).to(device)
    labels = F.one_hot(y, real.num_classes).float()
    return SyntheticSet(a, y, real.space, labels, real.class_names, {BASES: b}, Combined(b, scale))
