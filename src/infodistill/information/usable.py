"""Usable information: what a family of predictors can extract from X about the class, in nats (Xu et al., ICLR 2020).

    I_V(X -> Y) = H_V(Y) - H_V(Y|X),     H_V(Y|X) = min over q in V of E[-log q(Y|X)]

A family V is what fits q on training rows. H_V(Y|X) is read as the mean of -log q(y|x) on *test* rows, H_V(Y), where q
ignores x, as the entropy of the test rows' own class frequencies.

*Direction.* A lower bound on I(X; Y) in expectation over test samples, for every family, fit and training set: the mean
of -log q(y|x) is H(Y|X) plus a divergence, and the entropy of observed frequencies is at most H(Y) on average (it is
concave). A family that can do more, or is fitted on more rows, reads more; fitted poorly it reads less, also less than
0. Unlike I, it can grow when X is processed: what was there becomes easier to use.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from infodistill.information.class_sets import require_finite
from infodistill.nets.initialise import initialise
from infodistill.seeding import stream
from infodistill.training import Fit, fit
from infodistill.types import Batch, NetFactory, ValueSpace

Predictor = Callable[[Tensor], Tensor]
"""predictor(x (n, ...)) -> log q(y|x), (n, classes)."""

Family = Callable[[Tensor, Tensor, int], Predictor]
"""family(train_x (n, ...), train_y (n,) in 0..classes-1, classes) -> the fitted predictor."""

ROWS = 1024
"""Test rows looked at together."""


def usable_information(
    train_x: Float[Tensor, "n ..."],
    train_y: Int[Tensor, " n"],
    test_x: Float[Tensor, "m ..."],
    test_y: Int[Tensor, " m"],
    family: Family,
) -> float:
    """H_V(Y) - H_V(Y|X) in nats: a lower bound on I(X; Y) in expectation over the test rows, for every family.

    Sign: larger means the family extracts more. Bias: below I(X; Y) by the divergence of p(y|x) from the fitted q and
    by about (classes - 1) / 2m. Range: (-inf, H of the test labels]; negative for a predictor that is sure and wrong
    (`calibrated` prevents most of it). The test rows must not have chosen anything.

    Args:
        train_x: (n, ...) what the family reads, images or features.
        train_y: (n,) classes.
        test_x: (m, ...) fresh rows.
        test_y: (m,) classes, all of which occur in training.
        family: `linear()`, `network(...)`, or any fit of log q(y|x).

    Raises:
        ValueError: lengths differ, rows are not finite, or a test class has no training rows.
    """
    if len(train_x) != len(train_y) or len(test_x) != len(test_y) or not len(test_y):
        sizes = f"{len(train_x)} and {len(train_y)}, {len(test_x)} and {len(test_y)}"
        raise ValueError(f"rows and labels must be equally many, and some for testing, got {sizes}")
    require_finite("train_x", train_x)
    require_finite("test_x", test_x)
    classes, index = train_y.unique(return_inverse=True)
    unknown = ~torch.isin(test_y, classes)
    if bool(unknown.any()):
        raise ValueError(f"classes {test_y[unknown].unique().tolist()} of the test rows have no training rows")
    predictor = family(train_x, index, len(classes))
    target = torch.searchsorted(classes, test_y)
    return label_entropy(test_y) - _cross_entropy(predictor, test_x, target)


def label_entropy(labels: Int[Tensor, " n"]) -> float:
    """Entropy of the labels' own frequencies in nats; below the law's H(Y) by about (classes - 1) / 2n. 0 to log n."""
    share = labels.unique(return_counts=True)[1].double() / len(labels)
    return -float(torch.special.xlogy(share, share).sum())


SHORT = Fit(epochs=20, lr=0.05, momentum=0.9, weight_decay=5e-4)


@dataclass(frozen=True)
class linear:
    """The linear family: scikit-learn's logistic regression on standardised columns.

    Memory: one float32 copy of the rows beyond scikit-learn's own.

    Args:
        strength: C, the inverse weight of the squared norm; 1 is scikit-learn's.
        iterations: of L-BFGS at most; stopping early is a poorer member of the family, no error.
    """

    strength: float = 1.0
    iterations: int = 200

    def __call__(self, train_x: Tensor, train_y: Tensor, classes: int) -> Predictor:
        import warnings

        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression  # takes a second to import

        spread, mean = torch.std_mean(_flat(train_x), 0)
        scale = torch.where(spread > 0, spread, 1)
        model = LogisticRegression(C=self.strength, max_iter=self.iterations)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(((_flat(train_x) - mean) / scale).cpu().numpy(), train_y.cpu().numpy())
        weight, bias = (torch.from_numpy(part).to(mean) for part in (model.coef_, model.intercept_))
        if classes == 2:  # scikit-learn keeps one row for two classes
            weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
        return lambda x: (((_flat(x) - mean) / scale) @ weight.T + bias).log_softmax(1)


@dataclass(frozen=True)
class network:
    """The family of one architecture, fitted by the library's own training (`training.fit`).

    Rows are images (n, c, h, w) in any scale, or flat features (n, d), which the network sees as (d, 1, 1). They are
    put to mean 0 and variance 1, per channel of an image and per column of a feature.

    Args:
        factory: the architecture, e.g. `infodistill.nets.by_name("mlp")`.
        hyper: how it is trained.
        seed: key of weights and order.
    """

    factory: NetFactory
    hyper: Fit = SHORT
    seed: int = 0

    def __call__(self, train_x: Tensor, train_y: Tensor, classes: int) -> Predictor:
        spread, mean = torch.std_mean(_images(train_x), (0, 2, 3), keepdim=True)
        scale = torch.where(spread > 0, spread, 1)
        x = (_images(train_x) - mean) / scale
        shape = (x.shape[1], x.shape[2], x.shape[3])
        space = ValueSpace((0.0,) * shape[0], (1.0,) * shape[0])
        module = self.factory(shape, classes).to(x)
        initialise(module, stream(self.seed, "usable.network"))
        batch = Batch(x, train_y, one_hot(train_y, classes).to(x), space)
        fit(module, batch, self.hyper, stream(self.seed, "usable.order"))
        module.eval()
        return lambda rows: module((_images(rows) - mean) / scale).log_softmax(1)


@dataclass(frozen=True)
class calibrated:
    """A family with a temperature: q(y|x)^(1/T) normalised, T chosen on a part of the *training* rows held back.

    Networks trained to the end are surer than they are right, and the mean of -log q then exceeds H(Y). The bound's
    direction stays: T is part of the fit. One row of every class stays in the rest, so that the family has seen it;
    with one row of each there is none to hold back, and T is 1.

    Args:
        family: what is fitted on the rest.
        held: the fraction of all rows held back, as far as the classes have more than one.
        seed: key of the split.
    """

    family: Family
    held: float = 0.2
    seed: int = 0

    def __call__(self, train_x: Tensor, train_y: Tensor, classes: int) -> Predictor:
        order = torch.randperm(len(train_y), generator=stream(self.seed, "usable.calibration")).to(train_y.device)
        held = _spared(train_y[order], classes, max(1, round(self.held * len(order))))
        back, rest = order[held], order[~held]
        predictor = self.family(train_x[rest], train_y[rest], classes)
        if not len(back):
            return predictor
        with torch.no_grad():
            log_q = torch.cat([predictor(train_x[rows]) for rows in back.split(ROWS)]).double()
        grid = torch.logspace(-2, 1, 61, dtype=torch.float64).tolist()  # 1/T from 0.01 to 10

        def cost(sharpness: float) -> float:
            return float(torch.nn.functional.nll_loss((sharpness * log_q).log_softmax(1), train_y[back]))

        best: float = min(grid, key=cost)

        def sharpened(x: Tensor) -> Tensor:
            return (best * predictor(x)).log_softmax(1)

        return sharpened


def _spared(labels: Tensor, classes: int, count: int) -> Tensor:
    """The first `count` rows but for the last of every class, as a mask (n,)."""
    place = torch.arange(len(labels), device=labels.device)
    last = place.new_zeros(classes).scatter_reduce_(0, labels, place, "amax", include_self=False)
    others = place != last[labels]
    return others & (others.cumsum(0) <= count)


@torch.no_grad()
def _cross_entropy(predictor: Predictor, x: Tensor, target: Tensor) -> float:
    """Mean of -log q(y|x) over the rows, in nats."""
    total = 0.0
    for rows in torch.arange(len(target), device=target.device).split(ROWS):
        told = predictor(x[rows].detach()).double()
        total -= float(told.gather(1, target[rows][:, None].to(told.device)).sum())
    value = total / len(target)
    if math.isnan(value):
        raise FloatingPointError("the predictor's log probabilities are not numbers")
    return value


def _flat(x: Tensor) -> Tensor:
    return x.detach().to(torch.promote_types(x.dtype, torch.float32)).reshape(len(x), -1)


def _images(x: Tensor) -> Tensor:
    rows = x.detach().to(torch.promote_types(x.dtype, torch.float32))
    return rows if rows.ndim == 4 else rows.reshape(len(rows), -1, 1, 1)
