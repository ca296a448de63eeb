"""What second moments say: entropy and information of Gaussians with the samples' covariance, in nats (log-det).

    h(X)    = 1/2 log det(2 pi e S)
    I(X; Y) = -1/2 sum_i log(1 - rho_i^2),     rho_i the canonical correlations of X and Y
    I(X; C) = 1/2 log det(S_total) - 1/2 log det(S_within)     (minus half the log of Wilks' lambda)

*Direction.* Of all laws with one covariance the Gaussian has the most entropy, so h is an UPPER bound on the entropy of
any law (up to sampling). I(X; Y) is exact for jointly Gaussian samples, and a lower bound where X and Y are Gaussian
each on their own: h(X) + h(Y) is then exact and h(X, Y) too large. Otherwise it is neither: it sees linear dependence
only. I(X; C) is an upper bound where every class is Gaussian with one common covariance, since then only h(X) is too
large; otherwise neither.

*Bias.* log det of a sample covariance is too small. For Gaussian samples its expectation is known (a Wishart law,
(n-1) S ~ W: E log det = log det Sigma + sum_{i<=d} psi((n-i)/2) + d log(2/(n-1))) and is taken off, so h and I(X; Y)
are unbiased whenever the rows outnumber the columns (by 1, or 2 for the pair). For classes the correction is that of
independence; there the value is unbiased when X says nothing of the class, and almost otherwise.

*Fewer rows than columns.* The covariance is then singular. It is shrunk towards (trace / d) I by the weight of Ledoit &
Wolf (2004; scikit-learn's) unless `shrinkage` names one, on standardised columns for the two informations. A shrunk
value has no correction; it is biased, for h upwards and for both informations downwards as the weight grows: to 0 at 1.

Memory: two d x d matrices in float64 and a block of rows.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from infodistill.information.class_sets import require_finite

BLOCK = 4096
"""Rows taken to float64 at a time."""


def gaussian_entropy(x: Float[Tensor, "n ..."], shrinkage: float | None = None) -> float:
    """1/2 log det(2 pi e S) in nats: an upper bound on h(X) for every law with this covariance.

    A differential entropy: it depends on the unit of the columns and may be negative; -inf where a column is constant
    or follows from others. Unbiased for Gaussian samples when n > d; for fewer rows the covariance is shrunk, see
    above.

    Args:
        x: (n, d) samples, or (n,).
        shrinkage: weight in [0, 1] of the isotropic part; None takes 0 when n > d, else Ledoit and Wolf's.

    Raises:
        ValueError: fewer than 2 rows, values that are not finite, a shrinkage outside [0, 1], or 0 with n <= d.
    """
    rows = _rows(x, "x")
    _check(rows, shrinkage)
    count, columns = rows.shape
    weight = _weight(rows, count > columns, shrinkage)
    if not weight:
        _require_rows(count, columns, count - 1)
    log_det = _log_det(_shrunk(_scatter(rows) / (count - 1), weight))
    bias = 0.0 if weight else _wishart(count - 1, columns)
    return columns / 2 * math.log(2 * math.pi * math.e) + (log_det - bias) / 2


def gaussian_mutual_information(
    x: Float[Tensor, "n ..."], y: Float[Tensor, "n ..."], shrinkage: float | None = None
) -> float:
    """The information of jointly Gaussian X and Y with these canonical correlations, in nats.

    Sign: larger is more; unbiased for Gaussian samples, so slightly negative at independence. Range: up to +inf, which
    it is where a combination of the columns of y follows linearly from x, as for y = x: where 1 - rho_i^2 is at most
    4 (p + q) roundings, of float64 or the square of the samples' own (it is quadratic in their errors). With shrinkage
    it stays finite. Unchanged by invertible linear maps of x and of y (without shrinkage). Constant and linearly
    dependent columns within a side carry nothing and are left out; 0 where none remain.

    Args:
        x: (n, p) samples, or (n,).
        y: (n, q) or (n,) samples of the same draws.
        shrinkage: weight in [0, 1] of the isotropic part; None takes 0 when n > p + q + 1, else Ledoit and Wolf's.

    Raises:
        ValueError: the lengths differ, fewer than 2 rows, values that are not finite, a shrinkage outside [0, 1], or 0
            with no more rows than columns that are left.
    """
    left, right = _rows(x, "x"), _rows(y, "y")
    if len(left) != len(right):
        raise ValueError(f"x and y need as many rows as each other, got {len(left)} and {len(right)}")
    _check(left, shrinkage)
    rows, count = torch.cat([_standard(left), _standard(right)], 1), len(left)
    weight = _weight(rows, count > rows.shape[1] + 1, shrinkage)
    total = _shrunk(_scatter(rows) / (count - 1), weight)
    p = left.shape[1]
    a, b = _whitener(total[:p, :p]), _whitener(total[p:, p:])
    (_, r), (_, s) = a.shape, b.shape
    if not weight:
        _require_rows(count, r + s, count - 1)
    correlation = torch.linalg.svdvals(a.T @ total[:p, p:] @ b).clamp(max=1)
    apart = 1 - correlation.square()
    certain = not weight and bool((apart <= 4 * len(total) * _rounding(left, right)).any())
    value = math.inf if certain else 0.0 - 0.5 * float(apart.log().sum())
    if weight or certain:
        return value
    return value - (_wishart(count - 1, r) + _wishart(count - 1, s) - _wishart(count - 1, r + s)) / 2


def gaussian_class_information(
    x: Float[Tensor, "n ..."], labels: Int[Tensor, " n"], shrinkage: float | None = None
) -> float:
    """The smaller of 1/2 log(det S_total / det S_within) and H(C), in nats.

    An upper bound on I(X; C) for Gaussian classes of one covariance, up to sampling; else neither bound (see above). It
    is the Gaussian information of x and the one-hot labels, and counts the classes as often as they are sampled.
    Sign: larger is more; slightly negative at independence. Range: up to H(C) <= log(classes).

    Args:
        x: (n, d) samples, or (n,).
        labels: (n,) classes.
        shrinkage: weight in [0, 1] of the isotropic part of S_within; None takes 0 when n - classes > d, else Ledoit
            and Wolf's.

    Raises:
        ValueError: the lengths differ, no more rows than classes, values that are not finite, a shrinkage outside
            [0, 1], or 0 with fewer rows beyond the classes than columns that are left.
    """
    rows = _rows(x, "x")
    if len(rows) != len(labels):
        raise ValueError(f"x and labels need as many rows as each other, got {len(rows)} and {len(labels)}")
    _, index, sizes = labels.unique(return_inverse=True, return_counts=True)
    count, classes = len(rows), len(sizes)
    _check(rows, shrinkage, classes + 1)
    rows = _standard(rows)
    means = torch.stack([rows[index == label].double().mean(0) for label in range(classes)]).to(rows)
    inside = rows - means[index]
    weight = _weight(inside, count - classes > rows.shape[1], shrinkage)
    between = _scatter(rows) - _scatter(inside)
    within = _shrunk(_scatter(inside) / (count - classes), weight) * (count - classes)
    white = _whitener(within + between)
    if not weight:
        _require_rows(count, white.shape[1], count - classes)
    value = 0.0 - 0.5 * _log_det(white.T @ within @ white)
    if not weight:
        value -= (_log_wishart(count - 1, white.shape[1]) - _log_wishart(count - classes, white.shape[1])) / 2
    share = sizes.double() / count
    return min(value, -float(torch.special.xlogy(share, share).sum()))


def _scatter(rows: Tensor) -> Tensor:
    """Sum (x - mean)(x - mean)^T, (d, d) float64."""
    mean = sum((part.double().sum(0) for part in rows.split(BLOCK)), rows.new_zeros(rows.shape[1]).double()) / len(rows)
    total = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64, device=rows.device)
    for part in rows.split(BLOCK):
        centred = part.double() - mean
        total.addmm_(centred.T, centred)
    return total


def _shrunk(covariance: Tensor, weight: float) -> Tensor:
    if not weight:
        return covariance
    columns = len(covariance)
    isotropic = torch.eye(columns).to(covariance) * (covariance.trace() / columns)
    return (1 - weight) * covariance + weight * isotropic


def _weight(rows: Tensor, enough: bool, shrinkage: float | None) -> float:
    if shrinkage is not None:
        return shrinkage
    if enough:
        return 0.0
    from sklearn.covariance import ledoit_wolf_shrinkage  # takes a second to import

    return float(ledoit_wolf_shrinkage(rows.cpu().numpy()))


def _whitener(covariance: Tensor) -> Tensor:
    """W (d, r) with W^T S W = I on the r directions in which S is not 0 up to rounding."""
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > len(covariance) * torch.finfo(values.dtype).eps * values[-1] * 16
    return vectors[:, kept] * values[kept].rsqrt()


def _log_det(covariance: Tensor) -> float:
    factor, info = torch.linalg.cholesky_ex(covariance)
    return -math.inf if int(info) else 2 * float(factor.diagonal().log().sum())


def _log_wishart(freedom: int, columns: int) -> float:
    """E log det W - log det Sigma for W ~ Wishart(Sigma, freedom)."""
    halves = (freedom - torch.arange(columns, dtype=torch.float64)) / 2
    return float(torch.digamma(halves).sum()) + columns * math.log(2)


def _wishart(freedom: int, columns: int) -> float:
    """The same of the sample covariance W / freedom: the bias of its log det."""
    return _log_wishart(freedom, columns) - columns * math.log(freedom)


def _rows(x: Tensor, name: str) -> Tensor:
    require_finite(name, x)
    x = x.detach()
    return (x.flatten(1) if x.ndim > 1 else x[:, None]).to(torch.promote_types(x.dtype, torch.float32))


def _standard(rows: Tensor) -> Tensor:
    """Columns with mean 0 and variance 1; constant ones 0."""
    spread, mean = torch.std_mean(rows, 0)
    return (rows - mean) / torch.where(spread > 0, spread, 1)


def _rounding(left: Tensor, right: Tensor) -> float:
    own = max(torch.finfo(side.dtype).eps for side in (left, right))
    return max(own**2, torch.finfo(torch.float64).eps)


def _require_rows(count: int, columns: int, most: int) -> None:
    """Without shrinkage a covariance of more columns than degrees of freedom is singular."""
    if columns > most:
        raise ValueError(
            f"without shrinkage {columns} columns need at least {columns + count - most} rows, got {count}: take more, "
            "or a shrinkage above 0 (None chooses it)"
        )


def _check(rows: Tensor, shrinkage: float | None, least: int = 2) -> None:
    if len(rows) < least:
        raise ValueError(f"this needs at least {least} rows, got {len(rows)}")
    if shrinkage is not None and not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage must lie in [0, 1], got {shrinkage}")
