"""Usable information of a set: what a family of classifiers, trained on the set alone, tells about real labels.

    I_V = log C + E_{(x, y) real, held out} log q(y | x),    q fitted to the set

`information.usable` with its empirical risk taken on the set, for labels uniform over C classes, whose entropy log C
needs no predictor: a lower bound on the real I(X;Y) for *every* q that has not seen the rows it is judged on, and on
what the family could extract from the real law. Here is what is about sets: which rows are what, and how images become
the rows of a family.

A network fitted to ten images a class is far too sure of itself, which would drown what it knows. So one number, the
temperature, is read from real *training* images, as P3's bandwidth is (our choice); it cannot change a prediction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from infodistill.diffusion.features import pooled
from infodistill.information.families import as_given, linear, network, scaled_together
from infodistill.information.usable import log_likelihood, temperature
from infodistill.training import Fit
from infodistill.types import Batch, NetFactory, convert

Taught = Callable[[Batch], Tensor]
"""taught(images) -> scores (n, C), of which q is the softmax."""

Student = Callable[[Batch], Taught]
"""student(set) -> what it has learned; from soft labels where the set has them, regression scores taken as classes."""

SIDE = 8
"""Pixels a side that images are averaged to, at most."""

CLASSIFIER = linear(l2=0.01, scaling=scaled_together)


@torch.no_grad()
def usable_rows(student: Student, syn: Batch, known: Batch, judged: Batch) -> Tensor:
    """The log q(y | x) of every row of `judged`, (r,) in nats, by a student of `syn`.

    Args:
        student: what learns from the set.
        syn: the set.
        known: real training images, which set the temperature.
        judged: real images that nothing was fitted to.
    """
    taught = student(syn)
    t = temperature(taught(known), known.membership())
    return log_likelihood(taught(judged).double() / t, judged.membership())


def averaged(batch: Batch) -> Tensor:
    """(n, d) pixels averaged over at most 8 x 8 cells, float64."""
    return pooled(batch.space.to_pixels(batch.x.float()), SIDE).double()


def by_pixels(syn: Batch) -> Taught:
    """Softmax regression on averaged pixels."""
    predictor = CLASSIFIER(averaged(syn), syn.membership())
    return lambda batch: predictor(averaged(batch))


@dataclass(frozen=True)
class by_network:
    """A network in the value space of the set, trained for about `updates` updates whatever the set's size.

    Args:
        factory: the architecture.
        updates: of SGD with batches of 64, the second half of the passes at a tenth of the rate (our choice).
        seed: key of weights and order.
    """

    factory: NetFactory
    updates: int = 120
    seed: int = 0

    def __call__(self, syn: Batch) -> Taught:
        predictor = network(self.factory, self.training(len(syn)), self.seed, as_given)(syn.x, syn.membership())
        return lambda batch: predictor(convert(batch.x, batch.space, syn.space))

    def training(self, images: int) -> Fit:
        """Of a set of this many images."""
        passes = math.ceil(self.updates / math.ceil(images / 64))
        return Fit(passes, 64, 0.05, 0.9, 5e-4, decay=lambda epoch: 1.0 if epoch < passes // 2 else 0.1)
