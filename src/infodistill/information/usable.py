"""Usable information: what a family of predictors can extract from X about the class, in nats (Xu et al., ICLR 2020).

    I_V(X -> Y) = H_V(Y) - H_V(Y|X),     H_V(Y|X) = min over q in V of E[-log q(Y|X)]

A family V is what fits q on training rows (`families`), whose targets are probabilities: hard labels are the one-hot
case. H_V(Y|X) is read as the mean of -log q(y|x) on *test* rows, H_V(Y), where q ignores x, as the entropy of the
test rows' own class frequencies.

*Direction.* A lower bound on I(X; Y) in expectation over test samples, for every family, fit and training set: the mean
of -log q(y|x) is H(Y|X) plus a divergence, E_x KL(p || q) >= 0, and the entropy of observed frequencies is at most
H(Y) on average (it is concave). It bounds the family's own I_V from below, too: the best q, chosen on the law itself,
can only be better than one chosen on training rows. A family that can do more, or is fitted on more rows, reads more;
fitted poorly it reads less, also less than 0. Unlike I, it can grow when X is processed: what was there becomes
easier to use.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from infodistill.information.class_sets import require_finite

Predictor = Callable[[Tensor], Tensor]
"""predictor(x (n, ...)) -> scores (n, classes), q(y|x) = softmax(scores): log q, or logits. Readers normalise."""

Family = Callable[[Tensor, Tensor], Predictor]
"""family(train_x (n, ...), target (n, classes) rows on the simplex) -> the fitted predictor."""

ROWS = 1024
"""Test rows looked at together."""

TEMPERATURES = (*(10 ** (step / 20) for step in range(-40, 41)), math.inf)
"""Those tried: 0.01 to 100, and that at which nothing is claimed, so what is useless reads about 0."""


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
        family: `linear()`, `network(...)`, or any fit of q(y|x).

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
    predictor = family(train_x, one_hot(index, len(classes)).float())
    return label_entropy(test_y) - _cross_entropy(predictor, test_x, torch.searchsorted(classes, test_y), len(classes))


def label_entropy(labels: Int[Tensor, " n"]) -> float:
    """Entropy of the labels' own frequencies in nats; below the law's H(Y) by about (classes - 1) / 2n. 0 to log n."""
    share = labels.unique(return_counts=True)[1].double() / len(labels)
    return -float(torch.special.xlogy(share, share).sum())


def log_likelihood(scores: Float[Tensor, "n c"], target: Float[Tensor, "n c"]) -> Float[Tensor, " n"]:
    """sum_k target_k log softmax(scores)_k of every row in nats, float64; log q(y|x) where targets are one-hot.

    At most 0, and at most minus the entropy of the target. Classes of probability 0 count 0, also where q gives them
    none.
    """
    log_q = scores.double().log_softmax(1)
    return torch.where(target > 0, target.to(log_q) * log_q, 0).sum(1)


def temperature(scores: Float[Tensor, "n c"], target: Float[Tensor, "n c"]) -> float:
    """Of `TEMPERATURES` the one at which softmax(scores / T) is likeliest on these rows; the least sure of equals.

    It cannot change a prediction. Bounds stay bounds where these rows are not those they are read on: T is then part
    of the fit. `log_likelihood(scores.double() / T, target)` is the likelihood that was compared.
    """
    scores = scores.double()
    return max(TEMPERATURES, key=lambda t: (float(log_likelihood(scores / t, target).mean()), t))


@torch.no_grad()
def _cross_entropy(predictor: Predictor, x: Tensor, index: Tensor, classes: int) -> float:
    """Mean of -log q(y|x) over the rows, in nats."""
    total = 0.0
    for rows in torch.arange(len(index), device=index.device).split(ROWS):
        scores = predictor(x[rows].detach())
        total -= float(log_likelihood(scores, one_hot(index[rows], classes).to(scores)).sum())
    value = total / len(index)
    if math.isnan(value):
        raise FloatingPointError("the predictor's log probabilities are not numbers")
    return value
