"""C4, C6: two popular measures of diversity that bound nothing from below. To report; as guidance they are heuristics.

C4, coding rate (Yu et al., NeurIPS 2020): 1/2 log det(I + Sigma / s^2). Of all densities with a given covariance the
Gaussian has the largest entropy, so this is an UPPER bound on I(X;f + s xi|Y). Two points at +-a read
1/2 log(1 + a^2/s^2), more than log 2 for a > 1.73 s, and on without limit: it pushes off the manifold.

C6, nearest neighbours (Kozachenko & Leonenko 1987): a consistent estimate of a *differential* entropy, which bounds
neither H(X|Y) nor an information: -inf at duplicates, no upper limit, and it pulls on one neighbour only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from infodistill.information.class_sets import by_class, in_floats, pair_distances, require_positive
from infodistill.information.code_mixtures import Feature
from infodistill.types import Batch


def coding_rate(f: Float[Tensor, "*k n d"], variance: float) -> Float[Tensor, "*k"]:
    """C4: 1/2 log det(I + Sigma / variance), Sigma the covariance (1/n) of every set, nats. NOT a lower bound.

    Sign: larger is more spread. Range: 0 (all equal, or n = 1) upwards without limit.

    Args:
        f: (..., n, d) features of the images of a class; leading dimensions are classes.
        variance: s^2 > 0, in squared units of the features.

    Raises:
        ValueError: the variance is not positive.
    """
    require_positive("the variance", variance)
    f = in_floats(f)
    centred = (f - f.mean(-2, keepdim=True)) / math.sqrt(f.shape[-2] * variance)
    # det(I + A A^T) = det(I + A^T A): the smaller of the two.
    small = centred @ centred.mT if f.shape[-2] < f.shape[-1] else centred.mT @ centred
    whole = small + torch.eye(small.shape[-1], dtype=f.dtype, device=f.device)
    return torch.linalg.cholesky(whole).diagonal(dim1=-2, dim2=-1).log().sum(-1)


def kozachenko_leonenko(f: Float[Tensor, "*k n d"], k: int = 1) -> Float[Tensor, "*k"]:
    """C6: psi(n) - psi(k) + log V_d + (d/n) sum_i log r_i, nats per set. NOT a bound; in the unit of the features.

    Differentiable, n^2 memory per set; `ksg.neighbour_entropy` is the same number for one large sample.

    V_d is the volume of the unit ball, r_i the distance to the k-th neighbour. -inf where an image has k duplicates,
    which then have no gradient.

    Args:
        f: (..., n, d) features of the images of a class.
        k: 1 <= k < n.

    Raises:
        ValueError: k is out of range.
    """
    count, dimension = f.shape[-2:]
    if not 1 <= k < count:
        raise ValueError(f"the neighbour k must lie in 1..{count - 1} for {count} images, got {k}")
    radius = _neighbour(in_floats(f), k)
    tiny = torch.finfo(radius.dtype).tiny
    log_radius = torch.where(radius > 0, radius.clamp_min(tiny).log() / 2, -torch.inf)
    ends = torch.digamma(torch.tensor([count, k], dtype=torch.float64))
    ball = dimension / 2 * math.log(math.pi) - math.lgamma(dimension / 2 + 1)
    return float(ends[0] - ends[1]) + ball + dimension * log_radius.mean(-1)


@dataclass(frozen=True)
class CodingRate:
    """C4: -sum_y n R_y over the classes in view, a cost; a heuristic that rewards spread without limit.

    Args:
        feature: what the covariance is taken of.
        variance: s^2 > 0.
    """

    feature: Feature
    variance: float

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        del real
        return _sum(coding_rate(by_class(self.feature(syn.x), syn.y), self.variance), syn)


@dataclass(frozen=True)
class NeighbourEntropy:
    """C6: -sum_y n h_y over the classes in view, a cost; a heuristic. More than k images per class.

    Args:
        feature: what distances are measured in.
        k: which neighbour.
    """

    feature: Feature
    k: int = 1

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        del real
        return _sum(kozachenko_leonenko(by_class(self.feature(syn.x), syn.y), self.k), syn)


def _neighbour(f: Tensor, k: int) -> Tensor:
    """(..., n) squared distance to the k-th neighbour, itself not counted."""
    itself = torch.eye(f.shape[-2], dtype=torch.bool, device=f.device)
    return pair_distances(f).masked_fill(itself, torch.inf).kthvalue(k, -1).values


def _sum(value: Tensor, syn: Batch) -> Tensor:
    """-n sum_y value_y."""
    return -(len(syn) // len(value)) * value.sum()
