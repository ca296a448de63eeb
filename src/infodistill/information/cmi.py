"""Class-aware conditional mutual information of a synthetic set (Zhong et al., ICLR 2025), arXiv:2412.09945.

    CMI(S) = I(S; Z | Y) = (1/n) sum_y sum_{s in S_y} KL(P_s || Q^y)
    P_s = softmax(z(s) / T),   Q^y = mean of P_s over S_y

z(s) is the penultimate feature of a network pretrained on the real data. Minimised beside a base loss, it gathers
the members of a class around their centre: L = L_DD + lambda * CMI(S).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from infodistill.compute import View
from infodistill.types import Batch, Source, ValueSpace

Feature = Callable[[View, Tensor, ValueSpace], Tensor]
"""feature(view, x, space): images (n, c, h, w) to the logits (n, k) of the distribution P."""


def conditional_mutual_information(p: Float[Tensor, "n k"], y: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """I(X; Z | Y) in nats of n inputs whose networks' distributions are the rows of `p`, given their classes.

    (1/n) sum_i KL(p_i || q_{y_i}), q_y the exact mean of the rows of class y: per class the generalised
    Jensen-Shannon divergence H(q_y) - mean H(p_i). A plug-in value: as an estimate of a population's CMI from n_c
    members per class it is biased low (0 at n_c = 1). Differentiable in `p`; differentiating with q_y held fixed
    gives the same gradient along the simplex.

    Args:
        p: (n, k) rows on the simplex.
        y: (n,) class indices, in any order.

    Range: 0 (identical rows within every class) to min(log n_c, log k), n_c the largest class.

    Raises:
        ValueError: a row of `p` is not on the simplex, or the lengths differ.
    """
    if len(p) != len(y) or not len(p):
        raise ValueError(f"p needs one row per label, got {len(p)} rows and {len(y)} labels")
    _require_simplex("p", p)
    classes, position = y.unique(return_inverse=True)
    member = position[:, None] == torch.arange(len(classes), device=y.device)
    return _class_divergence(p, member.to(p.dtype))


def soft_conditional_mutual_information(p: Float[Tensor, "n k"], membership: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
    """CMI in nats under soft class membership; the hard value when every row of `membership` is one-hot.

    Q^y = sum_i Y_iy P_i / sum_i Y_iy,   CMI = (1/n) sum_iy Y_iy KL(P_i || Q^y). Range 0 to log k. Unlike the hard
    form it is not zero at one image per class. Differentiable in both arguments. Ours, for learned labels.

    Args:
        p: (n, k) rows on the simplex.
        membership: Y, (n, c) rows on the simplex; a column may be empty.

    Raises:
        ValueError: a row of either is not on the simplex, or the lengths differ.
    """
    if len(p) != len(membership) or not len(p):
        raise ValueError(f"p needs one row of membership per row, got {len(p)} and {len(membership)}")
    _require_simplex("p", p)
    _require_simplex("membership", membership)
    return _class_divergence(p, membership)


def divergence_to_centroids(
    p: Float[Tensor, "n k"], centroids: Float[Tensor, "c k"], membership: Float[Tensor, "n c"]
) -> Float[Tensor, ""]:
    """(1/n) sum_iy Y_iy KL(P_i || Q^y) in nats, for centroids Q^y (c, k) from anywhere; at least 0, not bounded above.

    A centroid entry of 0 counts as the smallest normal number, so the value stays finite.
    """
    # Logs of probabilities rather than log_softmax: one image per class then gives log P = log Q bit for bit, and a
    # probability that underflows carries no weight in sum P log(P / Q) anyway.
    log_ratio = membership.sum(1, keepdim=True) * _log(p) - membership @ _log(centroids)  # (n, k)
    return (p * log_ratio).sum() / len(p)


def class_centroids(p: Float[Tensor, "n k"], membership: Float[Tensor, "n c"]) -> Float[Tensor, "c k"]:
    """Q^y = sum_i Y_iy P_i / sum_i Y_iy, (c, k); rows of zeros for empty classes."""
    count = membership.sum(0)
    return (membership.T @ p) / torch.where(count > 0, count, 1)[:, None]


def penultimate(view: View, x: Tensor, space: ValueSpace) -> Tensor:
    """The flat feature before the classifier, (n, d): what the authors use."""
    return view.features(x, space)[0]


def logits(view: View, x: Tensor, space: ValueSpace) -> Tensor:
    """The classifier's outputs, (n, k). A trained teacher's logits are quickly driven to CMI near 0."""
    return view.logits(x, space)


def penultimate_of_pixels(view: View, x: Tensor, space: ValueSpace) -> Tensor:
    """The same of [0, 1] pixels, taken for normalised values by a network that was trained on those.

    What the authors' IDC branch does (its sum over classes of 100 times each class's mean is a weight of 100 k here).
    """
    return view.features(space.to_pixels(x))[0]


@runtime_checkable
class Checked(Protocol):
    """What `CMI.check` asks of a synthetic set."""

    @property
    def decoded_per_class(self) -> int: ...
    def batch(self) -> Batch: ...


@dataclass(frozen=True)
class CMI:
    """CMI of the whole, un-augmented synthetic set under pretrained teachers, in nats; a cost (weight > 0 minimises).

    Reads `syn.target` as membership, so hard labels give the paper's term and soft or learned labels the soft form.
    Real images are not used. A negative weight maximises it, which spreads the classes. Shown a part of the classes,
    it is the CMI of that part: let it see the whole set.

    Differs: the authors' IDC branch evaluates one class at a time on un-normalised images; here the mean is over the
    set, and the View converts value spaces.

    Args:
        teachers: pretrained networks, one drawn per step.
        temperature: T > 0; 1 in the paper. Small logits scale the term by T**-2 and change nothing else.
        feature: which output of the teacher is the logit vector of P.
    """

    teachers: Source[View]
    temperature: float = 1.0
    feature: Feature = penultimate

    def __post_init__(self) -> None:
        _require_positive(self.temperature)

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        del real
        return _class_divergence(_distribution(self.teachers, self.feature, self.temperature, syn), _membership(syn))

    def check(self, syn: Checked) -> None:
        """Refuse sets on which the term is identically zero.

        Raises:
            ValueError: hard labels and one decoded image per class.
        """
        target = syn.batch().target
        if syn.decoded_per_class == 1 and not target.requires_grad and bool(((target == 0) | (target == 1)).all()):
            raise ValueError(
                "CMI is identically zero at one image per class with hard labels (the class centroid is the image "
                "itself): use ipc 2 or more, learned labels, or CentroidCMI"
            )


@dataclass(frozen=True)
class CentroidCMI:
    """KL of synthetic images to the *real* class centroids under a teacher, in nats: (1/n) sum_iy Y_iy KL(P_i || Q^y).

    Q^y is the mean of P over the real batch's images of class y, detached. Not bounded by log IPC, and active at one
    image per class. The authors left this variant commented out, with centroids over all real images.

    Differs: centroids of the step's real batch, not of the whole data set.

    Args:
        teachers: pretrained networks, one drawn per step.
        temperature: T > 0.
        feature: which output of the teacher is the logit vector of P.
    """

    teachers: Source[View]
    temperature: float = 1.0
    feature: Feature = penultimate

    def __post_init__(self) -> None:
        _require_positive(self.temperature)

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        member = _membership(syn)
        if bool(((real.target.sum(0) == 0) & (member.detach().sum(0) > 0)).any()):
            raise ValueError("CentroidCMI needs real images of every class the synthetic images belong to")
        with torch.no_grad():
            real_p = _distribution(self.teachers, self.feature, self.temperature, real)
            centroids = class_centroids(real_p, real.target.to(real_p))
        return divergence_to_centroids(
            _distribution(self.teachers, self.feature, self.temperature, syn), centroids, member
        )


def _distribution(teachers: Source[View], feature: Feature, temperature: float, batch: Batch) -> Tensor:
    """P, (n, k), in float32 or better."""
    z = feature(teachers.draw(), batch.x, batch.space)
    return (z.to(torch.promote_types(z.dtype, torch.float32)) / temperature).softmax(1)


def _membership(syn: Batch) -> Tensor:
    return syn.membership().to(torch.promote_types(syn.x.dtype, torch.float32))


def _class_divergence(p: Tensor, membership: Tensor) -> Tensor:
    """CMI with the set's own centroids; a class without members counts nothing, in value and derivative.

    As Y_iy grows from 0 in an empty class its centroid is P_i, whose divergence is 0: so is the one-sided derivative.
    """
    filled = membership.sum(0) > 0
    centroids = torch.where(filled[:, None], class_centroids(p, membership), 1)
    return divergence_to_centroids(p, centroids, membership * filled)


def _log(p: Tensor) -> Tensor:
    """Log p, floored at the smallest normal number, where it has no gradient."""
    return p.clamp_min(torch.finfo(p.dtype).tiny).log()


def _require_simplex(name: str, p: Tensor) -> None:
    with torch.no_grad():
        if not (bool((p >= 0).all()) and bool(((p.sum(1) - 1).abs() <= 1e-3).all())):
            raise ValueError(
                f"rows of {name} must be probabilities that sum to 1, got sums {p.sum(1).min():g} to {p.sum(1).max():g}"
            )


def _require_positive(temperature: float) -> None:
    if not temperature > 0:
        raise ValueError(f"the temperature must be positive, got {temperature}")
