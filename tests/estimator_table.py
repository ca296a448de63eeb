"""Every estimator of information against laws whose answer is known: the rows of the table, no tests.

`tests/test_estimator_table.py` checks them, `benchmarks/estimators.py` prints them. A row is one estimate of one
sample; its direction says on which side of the truth it may lie, its tolerance how far on that side. `SLACK` is for
sampling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import torch
from scipy.integrate import quad
from torch import Tensor

from infodistill import information as info
from infodistill.diffusion.fitting.generative_fit import GenerativeFit
from infodistill.information.usable import Family
from infodistill.nets import by_name
from infodistill.seeding import stream
from infodistill.training import Fit

N = 5000
SLACK = 0.04  # three standard deviations of the mean of a log density ratio at N rows, I of about 1 nat

Sample = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Row:
    """estimate() of the law `case` (seed already chosen) should be `truth`, on the side and within what is said."""

    estimator: str
    case: str
    direction: str
    truth: float
    tolerance: float
    estimate: Callable[[], float]

    @property
    def name(self) -> str:
        return f"{self.estimator}: {self.case}"

    def allowed(self) -> tuple[float, float]:
        """The errors that pass, in nats."""
        below, above = {"lower": (1, 0), "upper": (0, 1), "consistent": (1, 1)}[self.direction]
        slack = min(SLACK, self.tolerance)
        return -self.tolerance if below else -slack, self.tolerance if above else slack


def normal(*shape: int, key: int = 0, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=stream(seed, "estimators", key), dtype=torch.float64)


def uniform(*shape: int, key: int = 0, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=stream(seed, "estimators", key), dtype=torch.float64)


# Laws of pairs.


@cache
def gaussian(rho: float, d: int = 1, seed: int = 0, n: int = N) -> Sample:
    """d independent pairs of correlation rho: I = -(d/2) log(1 - rho^2)."""
    x = normal(n, d, key=1, seed=seed)
    return x, rho * x + math.sqrt(1 - rho * rho) * normal(n, d, key=2, seed=seed)


def gaussian_truth(rho: float, d: int = 1) -> float:
    return -0.5 * d * math.log(1 - rho * rho)


@cache
def uniform_channel(width: float, seed: int = 0) -> Sample:
    """X ~ U(0, 1), Y = X + U(0, width): Y is a trapezoid, I = width/2 - log(width) for width <= 1."""
    x = uniform(N, key=3, seed=seed)
    return x, x + width * uniform(N, key=4, seed=seed)


@cache
def squares(count: int, seed: int = 0) -> Sample:
    """A mixture of uniform laws on `count` squares along the diagonal: I = log(count)."""
    square = torch.randint(count, (N,), generator=stream(seed, "estimators", 5)).double()
    x, y = uniform(2, N, key=6, seed=seed)
    return square + x, square + y


@cache
def shared(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """X and Y of correlation 0.6 given Z, which is added to both: I(X;Y|Z) = -1/2 log(1 - 0.36)."""
    a, b = gaussian(0.6, seed=seed)
    z = normal(N, 1, key=7, seed=seed)
    return a + z, b + z, z


# Laws of a class and what it looks like.


@cache
def intervals(seed: int = 0) -> Sample:
    """4 classes, X ~ U(c/2, c/2 + 1): two classes everywhere but at the ends, I = log 4 - (3/4) log 2."""
    labels = torch.arange(N) % 4
    return labels / 2 + uniform(N, key=8, seed=seed), labels


@cache
def two_classes(a: float, d: int, seed: int = 0) -> Sample:
    """2 classes, N(+-a e, I) in d dimensions, e = (1, ..., 1) / sqrt(d)."""
    labels = torch.arange(N) % 2
    return normal(N, d, key=9, seed=seed) + (2 * labels[:, None] - 1) * a / math.sqrt(d), labels


@cache
def two_classes_truth(a: float) -> float:
    """log 2 - E log(1 + e^(-2 a x)), x ~ N(a, 1)."""

    def integrand(x: float) -> float:
        return math.exp(-0.5 * (x - a) ** 2) / math.sqrt(2 * math.pi) * math.log1p(math.exp(-2 * a * x))

    return math.log(2) - quad(integrand, a - 12, a + 12)[0]


TABLE = torch.tensor([[0.20, 0.05, 0.05], [0.05, 0.20, 0.10], [0.05, 0.05, 0.25]], dtype=torch.float64)
"""p(x, y) of a discrete law."""


def table_truth(p: Tensor = TABLE) -> float:
    return float((p * (p / (p.sum(1, keepdim=True) * p.sum(0))).log()).sum())


@cache
def table_sample(seed: int = 0) -> Sample:
    cell = torch.multinomial(TABLE.flatten(), N, replacement=True, generator=stream(seed, "estimators", 10))
    return cell // 3, cell % 3


# Critics and conditionals that are known.


def gaussian_ratio(x: Tensor, y: Tensor, rho: float) -> Tensor:
    """log p(x, y) / p(x) p(y) of every pair, (n, m)."""
    x, y = x.flatten()[:, None], y.flatten()
    exponent = (2 * rho * x * y - rho**2 * (x**2 + y**2)) / (2 * (1 - rho**2))
    return exponent - 0.5 * math.log(1 - rho**2)


def table_ratio(x: Tensor, y: Tensor) -> Tensor:
    return (TABLE / (TABLE.sum(1, keepdim=True) * TABLE.sum(0))).log()[x][:, y]


Ratio = Callable[[Tensor, Tensor], Tensor]
Reading = Callable[[Tensor, Tensor], Tensor]


def read(reading: Reading, ratio: Ratio, sample: Sample, scale: float = 1.0) -> float:
    """A two-sample reading of the critic scale * ratio: joint pairs, and all other pairs of blocks of 500."""
    joint, product = [], []
    for x, y in zip(*(side.split(500) for side in sample), strict=True):
        scores = scale * ratio(x, y)
        joint.append(scores.diagonal())
        product.append(scores[~torch.eye(len(scores), dtype=torch.bool)])
    return float(reading(torch.cat(joint), torch.cat(product)))


def infonce(ratio: Ratio, sample: Sample, scale: float = 1.0) -> float:
    parts = zip(*(side.split(500) for side in sample), strict=True)
    return float(torch.stack([info.infonce_lower_bound(scale * ratio(x, y)) for x, y in parts]).mean())


def nce(joint: Tensor, product: Tensor) -> Tensor:
    return info.nce_lower_bound(joint - math.log(64), product - math.log(64), n=64)


nwj = partial(info.nwj_lower_bound, n=1)


@cache
def fitted(case: str) -> dict[str, float]:
    sample = {"gaussian rho=0.9": gaussian(0.9), "uniform channel": uniform_channel(0.25)}[case]
    return info.fitted_bounds(*sample, hyper=GenerativeFit(steps=150, lr=4e-3, ema=0.98, validate_every=50, patience=6))


def usable(family: Family, sample: Sample) -> float:
    x, y = sample
    return info.usable_information(x[: N // 2], y[: N // 2], x[N // 2 :], y[N // 2 :], family)


MLP = partial(info.network, by_name("mlp"), Fit(epochs=6, batch=64, lr=0.02, momentum=0.9))


def barber_agakov(sharpness: float) -> float:
    """q(y|x) = p(y|x)^sharpness normalised, classes drawn equally often."""
    posterior = TABLE / TABLE.sum(0)  # p(x|y); with uniform classes p(y|x) is proportional to it
    y = torch.arange(N) % 3
    x = torch.multinomial(posterior.T[y], 1, generator=stream(0, "estimators", 11)).squeeze(1)
    return float(info.barber_agakov((sharpness * posterior.log()).log_softmax(1)[x], y))


def sequence(*groups: Sequence[Row]) -> tuple[Row, ...]:
    return tuple(row for group in groups for row in group)
