"""Mutual information of samples by nearest neighbours, in nats: continuous, conditional, and with a class.

    KSG 1   I(X; Y) = psi(k) + psi(N) - < psi(n_x + 1) + psi(n_y + 1) >           (Kraskov, Stogbauer, Grassberger 2004)
    KSG 2   I(X; Y) = psi(k) - 1/k + psi(N) - < psi(n_x) + psi(n_y) >             (the same paper)
    FP      I(X; Y | Z) = psi(k) - < psi(n_xz + 1) + psi(n_yz + 1) - psi(n_z + 1) >   (Frenzel & Pompe, PRL 2007)
    KL      h(X) = psi(N) - psi(k) + log V_d + d < log r >                           (Kozachenko & Leonenko 1987)
    Ross    I(X; C) = psi(k) + psi(N) - < psi(N_c) + psi(m + 1) >                  (Ross, PLoS ONE 2014)

n_x, n_y, ...: how many other samples lie strictly closer in those sides alone than the k-th neighbour does in all of
them. In KSG 2: no further than the furthest of the k neighbours does in that side, sides apart. m: how many samples of
any class lie strictly closer than the k-th neighbour of the own class; N_c: samples of the class.
r: distance to the k-th neighbour, V_d: the volume of the unit ball.

None is a bound: all are consistent estimates, with errors of either sign, which in few dimensions almost cancel and in
many pull towards 0. Nothing is clipped at 0.

*Homeomorphisms.* I(X;Y) does not change when X and Y are mapped by homeomorphisms; an estimate from n samples may, as
long as a map stretches differently within a neighbourhood. At correlation 0.9 and x + x^3, arctan y, estimate 1 falls
by 0.067, 0.034, 0.011, 0.005 nats at n = 1,000, 5,000, 20,000, 60,000; estimate 2, whose rectangles follow the sides,
moves by less than 0.01 at 5,000. After `normal_scores` both are the same to the bit under increasing maps of columns.

*Ties.* The formulas are for densities. A sample that occurs more than k times is refused: its k-th neighbour is at
distance 0. Labels belong in `class_mutual_information`; rounded values can be told apart by `jittered`. A bootstrap
*with* replacement makes copies: take subsamples without.

*NaN and infinities* are refused: they have no neighbours, and the counts would be of nothing.

*Cost.* See `neighbours`: trees in up to 12 columns, else n^2 d in blocks of bounded memory. To go faster, take fewer
rows or fewer columns (a projection can only lose information).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from infodistill.information.class_sets import require_finite
from infodistill.information.neighbours import (
    class_counts_within,
    cube_counts,
    most_copies,
    neighbour_distances,
    rectangle_counts,
)
from infodistill.seeding import stream


def ksg_mutual_information(x: Float[Tensor, "n ..."], y: Float[Tensor, "n ..."], k: int = 3) -> float:
    """KSG estimate 1 of I(X; Y) in nats from n joint samples.

    Sign: larger means more information; slightly negative values occur at independence and are not clipped. Bias:
    small in few dimensions, downwards as the dimension or the information grows (it cannot resolve much more than
    log n); invalid for discrete samples. Variance falls with k, bias rises. Range: up to psi(k) + psi(n) - 2 psi(1).

    Args:
        x: (n, p) samples, or (n,) for one dimension; scale each column sensibly, distances are compared across sides.
        y: (n, q) or (n,) samples of the same draws.
        k: neighbours, 1 <= k < n.

    Raises:
        ValueError: the lengths differ, k is out of range, a pair occurs more than k times, or values are not finite.
    """
    _check([x, y], k)
    n_x, n_y = cube_counts([x, y], k, ((0,), (1,)))
    return _digamma(k) + _digamma(len(x)) - _mean_digamma(n_x + 1) - _mean_digamma(n_y + 1)


def ksg_mutual_information_2(x: Float[Tensor, "n ..."], y: Float[Tensor, "n ..."], k: int = 3) -> float:
    """KSG estimate 2 of I(X; Y) in nats, which counts in a rectangle as wide in each side as the k neighbours reach.

    As `ksg_mutual_information`; the rectangle suits sides of different scales. Its statistical error is a little
    larger, its bias at strong dependence smaller.

    Raises:
        ValueError: the lengths differ, k is out of range, a pair occurs more than k times, or values are not finite.
    """
    _check([x, y], k)
    n_x, n_y = rectangle_counts([x, y], k)
    return _digamma(k) - 1 / k + _digamma(len(x)) - _mean_digamma(n_x) - _mean_digamma(n_y)


def ksg_conditional_mutual_information(
    x: Float[Tensor, "n ..."], y: Float[Tensor, "n ..."], z: Float[Tensor, "n ..."], k: int = 3
) -> float:
    """Estimate of I(X; Y | Z) in nats for continuous Z, all sides in one maximum norm (Frenzel & Pompe 2007).

    Sign: larger means X and Y share more once Z is known. Bias: towards 0, growing with the columns of Z and with what
    Z says of X and Y. Given a *class*, average `ksg_mutual_information` over the classes instead.

    Args:
        x: (n, p) or (n,) samples.
        y: (n, q) or (n,) samples of the same draws.
        z: (n, r) or (n,) samples of what is conditioned on.
        k: neighbours, 1 <= k < n.

    Raises:
        ValueError: the lengths differ, k is out of range, a triple occurs more than k times, or values are not finite.
    """
    _check([x, y, z], k)
    n_xz, n_yz, n_z = cube_counts([x, y, z], k, ((0, 2), (1, 2), (2,)))
    return _digamma(k) - _mean_digamma(n_xz + 1) - _mean_digamma(n_yz + 1) + _mean_digamma(n_z + 1)


def class_mutual_information(x: Float[Tensor, "n ..."], labels: Int[Tensor, " n"], k: int = 3) -> float:
    """Estimate of I(X; C) in nats for continuous X and a class (Ross 2014), classes as frequent as they are sampled.

    Sign: larger means X says more of the class. At most H(C) for separated classes, up to sampling error; slightly
    negative at independence, not clipped. Bias: downwards in many columns, where neighbours of every class are equally
    far. Exactly psi(N) - <psi(N_c)>, about H(C) + (C-1)/2N, once classes do not touch.

    Args:
        x: (n, p) or (n,) samples.
        labels: (n,) classes.
        k: neighbours, 1 <= k < the rows of the smallest class.

    Raises:
        ValueError: the lengths differ, a class has no more than k rows, a sample occurs more than k times in one, or
            values are not finite.
    """
    if len(x) != len(labels):
        raise ValueError(f"x and labels need as many rows as each other, got {len(x)} and {len(labels)}")
    require_finite("x", x)
    _, index, sizes = labels.unique(return_inverse=True, return_counts=True)
    if not 1 <= k < int(sizes.min()):
        raise ValueError(
            f"k must lie between 1 and the rows of the smallest class - 1 = {int(sizes.min()) - 1}, got {k}"
        )
    _require_distinct([x, index], k)
    closer = class_counts_within(x, index, k)
    own = _mean_digamma(sizes[index])
    return _digamma(k) + _digamma(len(x)) - own - _mean_digamma(closer + 1)


def neighbour_entropy(x: Float[Tensor, "n ..."], k: int = 3) -> float:
    """Estimate of the differential entropy h(X) in nats (Kozachenko & Leonenko 1987), Euclidean distances.

    The value of `kozachenko_leonenko`, which is differentiable and takes several sets at once, in bounded memory. Sign:
    larger is more spread; depends on the unit of the columns, may be negative. No bound. Bias: upwards in many columns,
    where a ball of neighbours reaches beyond what the density fills. Range: unbounded.

    Args:
        x: (n, d) or (n,) samples.
        k: neighbours, 1 <= k < n.

    Raises:
        ValueError: k is out of range, a sample occurs more than k times, or values are not finite.
    """
    _check([x], k)
    columns = x[0].numel()
    ball = columns / 2 * math.log(math.pi) - math.lgamma(columns / 2 + 1)
    reach = float(neighbour_distances(x, k).double().log().mean())
    return _digamma(len(x)) - _digamma(k) + ball + columns * reach


def normal_scores(x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """Phi^-1((rank - 1/2) / n) of every column, Phi the normal distribution function; equal values share a mean rank.

    A homeomorphism of the columns in the limit of many samples, so information stays; and what is estimated after it
    cannot depend on increasing maps of the columns, nor on their scale. As Kraskov et al. advise for skewed data.

    Raises:
        ValueError: values are not finite.
    """
    from scipy.stats import rankdata  # takes a second to import

    require_finite("x", x)
    flat = x.detach().flatten(1) if x.ndim > 1 else x.detach()[:, None]
    scores = torch.empty_like(flat)
    for column, values in enumerate(flat.T):
        ranks = torch.from_numpy(rankdata(values.cpu().double().numpy()))
        scores[:, column] = torch.special.ndtri((ranks - 0.5) / len(x)).to(flat)
    return scores.view_as(x)


def jittered(x: Float[Tensor, "n ..."], scale: float = 1e-6, seed: int = 0) -> Float[Tensor, "n ..."]:
    """The samples with normal noise of `scale` times each column's standard deviation, keyed by the seed.

    Tells rounded values apart for the estimators above, as KSG do. The noise can only lower the information, and what
    it reads off values that are really discrete depends on the scale: no number to rely on. A constant column stays.

    Raises:
        ValueError: values are not finite.
    """
    require_finite("x", x)
    flat = x.flatten(1) if x.ndim > 1 else x[:, None]
    noise = torch.randn(flat.shape, generator=stream(seed, "jitter"), dtype=torch.float64).to(flat)
    return (flat + scale * flat.std(0, correction=0) * noise).view_as(x)


def _check(sides: Sequence[Tensor], k: int) -> None:
    lengths = [len(side) for side in sides]
    if len(set(lengths)) > 1:
        names = " and ".join("xyz"[: len(sides)])
        raise ValueError(f"{names} need as many rows as each other, got {' and '.join(map(str, lengths))}")
    if not 1 <= k < lengths[0]:
        raise ValueError(f"k must lie between 1 and the number of samples - 1 = {lengths[0] - 1}, got {k}")
    for name, side in zip("xyz", sides, strict=False):
        require_finite(name, side)
    _require_distinct(sides, k)


def _require_distinct(sides: Sequence[Tensor], k: int) -> None:
    copies = most_copies(sides)
    if copies > k:
        raise ValueError(
            f"one sample occurs {copies} times, so its neighbour k = {k} is at distance 0: these estimates need "
            "continuous samples (labels go to class_mutual_information, rounded values through jittered)"
        )


def _digamma(count: int) -> float:
    return float(torch.digamma(torch.tensor(count, dtype=torch.float64)))


def _mean_digamma(counts: Tensor) -> float:
    return float(torch.digamma(counts.double()).mean())
