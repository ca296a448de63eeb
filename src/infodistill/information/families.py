"""Families of predictors of a class: what usable information (`usable`) is usable by.

A family is fitted to rows x (n, ...) and their targets, (n, classes) probabilities, and gives the scores of new rows.
It scales what it reads by a map that the training rows fix (`Scaling`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from infodistill.compute import View
from infodistill.descent import cross_entropy_rows
from infodistill.information.usable import ROWS, Family, Predictor, temperature
from infodistill.nets.initialise import initialise
from infodistill.seeding import stream
from infodistill.training import Fit, fit
from infodistill.types import Batch, NetFactory, pixel_space

Scaling = Callable[[Tensor], Callable[[Tensor], Tensor]]
"""scaling(training rows (n, c, ...)) -> the map that is applied to all rows."""


def standardised(rows: Tensor) -> Callable[[Tensor], Tensor]:
    """Mean 0 and variance 1 of every column of features, or channel of images."""
    spread, mean = torch.std_mean(rows, [0, *range(2, rows.ndim)], keepdim=True)
    scale = torch.where(spread > 0, spread, 1)
    return lambda x: (x - mean) / scale


def scaled_together(rows: Tensor) -> Callable[[Tensor], Tensor]:
    """Mean 0 of every column, and mean square 1 of all together.

    Of a few rows a class the spread of one column is noise (DM digits, ten images a class, softmax regression on
    pixels: 2.05 nats with `standardised`, 2.13 so).
    """
    centre = rows.mean(0)
    scale = (rows - centre).square().mean().sqrt()
    scale = torch.where(scale > 0, scale, 1)
    return lambda x: (x - centre) / scale


def as_given(rows: Tensor) -> Callable[[Tensor], Tensor]:
    """No scaling: the rows have a scale that the family is meant for."""
    del rows
    return lambda x: x


@dataclass(frozen=True)
class linear:
    """The linear family: softmax regression, mean cross-entropy + (l2 / 2) |W|^2 by L-BFGS from zero.

    The optimum is unique, so there is no seed. With more than two classes it is scikit-learn's LogisticRegression at
    C = 1 / (l2 n), with two at C = 2 / (l2 n): that keeps one row of weights, the difference of ours.
    Memory: one copy of the rows, float32 or better.

    Args:
        l2: weight of the penalty, which leaves the offsets free; 1 / n when None, a unit normal law of the weights.
        iterations: of L-BFGS at most; stopping early is a poorer member of the family, no error.
        tolerance: it stops where the loss changes by less. In float64 log q of one row is within about 1e-4 of the
            optimum's at 1e-12, and within 1e-3 at 1e-9.
        scaling: of the columns.
    """

    l2: float | None = None
    iterations: int = 100
    tolerance: float = 1e-9
    scaling: Scaling = standardised

    def __call__(self, train_x: Tensor, target: Tensor) -> Predictor:
        rows = _flat(train_x)
        scale = self.scaling(rows)
        weight = self._fitted(scale(rows), target.to(rows))
        return lambda x: _affine(scale(_flat(x)), weight)

    @torch.enable_grad()
    def _fitted(self, f: Tensor, target: Tensor) -> Tensor:
        weight = f.new_zeros(f.shape[1] + 1, target.shape[1], requires_grad=True)
        search = torch.optim.LBFGS(
            [weight], max_iter=self.iterations, tolerance_change=self.tolerance, line_search_fn="strong_wolfe"
        )
        l2 = 1 / len(f) if self.l2 is None else self.l2

        def loss() -> float:
            search.zero_grad()
            penalty = l2 / 2 * weight[1:].double().square().sum()
            value = cross_entropy_rows(_affine(f, weight).double(), target).mean() + penalty
            value.backward()  # pyright: ignore[reportUnknownMemberType]
            return float(value.detach())

        search.step(loss)
        return weight.detach()


SHORT = Fit(epochs=20, lr=0.05, momentum=0.9, weight_decay=5e-4)


@dataclass(frozen=True)
class network:
    """The family of one architecture, fitted by the library's own training (`training.fit`).

    Rows are images (n, c, h, w) in any scale, or flat features (n, d), which the network sees as (d, 1, 1).

    Args:
        factory: the architecture, e.g. `infodistill.nets.by_name("mlp")`.
        hyper: how it is trained.
        seed: key of weights and order.
        scaling: of the images or columns.
    """

    factory: NetFactory
    hyper: Fit = SHORT
    seed: int = 0
    scaling: Scaling = standardised

    def __call__(self, train_x: Tensor, target: Tensor) -> Predictor:
        rows = _images(train_x)
        scale = self.scaling(rows)
        x = scale(rows)
        module = self.factory((x.shape[1], x.shape[2], x.shape[3]), target.shape[1]).to(x)
        # The keys of published profiles (`measures`): the same rows and seed are the same network there and here.
        initialise(module, stream(self.seed, "measure.network.init"))
        batch = Batch(x, target.argmax(1), target.to(x), pixel_space(x.shape[1]))  # taken as they are
        fit(module, batch, self.hyper, stream(self.seed, "measure.network.train"))
        view = View.own(module.requires_grad_(False).eval())
        return lambda rows: view.logits(scale(_images(rows)))


@dataclass(frozen=True)
class calibrated:
    """A family with a temperature: q(y|x)^(1/T) normalised, T chosen on a part of the *training* rows held back.

    Networks trained to the end are surer than they are right, and the mean of -log q then exceeds H(Y). The bound's
    direction stays: T is part of the fit. One row of every class stays in the rest, so that the family has seen it;
    with one row of each there is none to hold back, and T is 1. The class of a row is the likeliest of its target.

    Args:
        family: what is fitted on the rest.
        held: the fraction of all rows held back, as far as the classes have more than one.
        seed: key of the split.
    """

    family: Family
    held: float = 0.2
    seed: int = 0

    def __call__(self, train_x: Tensor, target: Tensor) -> Predictor:
        order = torch.randperm(len(target), generator=stream(self.seed, "usable.calibration")).to(target.device)
        count = max(1, round(self.held * len(order)))
        held = _spared(target[order].argmax(1), target.shape[1], count)
        back, rest = order[held], order[~held]
        predictor = self.family(train_x[rest], target[rest])
        if not len(back):
            return predictor
        with torch.no_grad():
            scores = torch.cat([predictor(train_x[rows]) for rows in back.split(ROWS)])
        t = temperature(scores, target[back].to(scores))
        return lambda x: predictor(x).double() / t


def _spared(labels: Tensor, classes: int, count: int) -> Tensor:
    """The first `count` rows but for the last of every class, as a mask (n,)."""
    place = torch.arange(len(labels), device=labels.device)
    last = place.new_zeros(classes).scatter_reduce_(0, labels, place, "amax", include_self=False)
    others = place != last[labels]
    return others & (others.cumsum(0) <= count)


def _affine(f: Tensor, weight: Tensor) -> Tensor:
    return f @ weight[1:] + weight[0]


def _flat(x: Tensor) -> Tensor:
    return x.detach().to(torch.promote_types(x.dtype, torch.float32)).reshape(len(x), -1)


def _images(x: Tensor) -> Tensor:
    rows = x.detach().to(torch.promote_types(x.dtype, torch.float32))
    return rows if rows.ndim == 4 else rows.reshape(len(rows), -1, 1, 1)
