"""What guidance reads from the real images before it starts: distances, centres, and the bandwidths of every bound.

No label of test data and no trained network is needed; every rule that turns a distance into a bandwidth is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from infodistill.diffusion.centres import class_centres
from infodistill.diffusion.encoded import Encoded
from infodistill.diffusion.features import Feature, Pooled
from infodistill.diffusion.model import DiffusionModel
from infodistill.information.bandwidths import bandwidth_from_pairs, median_pair_distance, tightest_bandwidth
from infodistill.information.classifier_bounds import NoisyClassifier, Views
from infodistill.types import Batch

READ, READ_IN_ALL = 1000, 50_000
"""Real images that bandwidths are read from, at most: of a class, and of all."""

SLACK = 1e-3
"""Nats by which a wider bandwidth may read less than the tightest and still be taken for it."""

CENTRES, CENTRES_IN_ALL = 50, 10_000
"""Centres that stand for the classes which are not being sampled, at most: of a class, and of all."""


@dataclass(frozen=True)
class Tightest:
    """h = factor * the tightest bandwidth; None is 3 at one image per class, where wider ones guide better, else 1.

    Read from real images alone, see `Given.tightest`: seconds, and no test data.
    """

    factor: float | None = None

    def __call__(self, given: Given) -> float:
        factor = (3.0 if given.ipc == 1 else 1.0) if self.factor is None else self.factor
        return factor * given.tightest[0]


@dataclass(frozen=True)
class Given:
    """What terms are built from: real images, in features and by class, and networks where a term needs them.

    Attributes:
        model: what is sampled.
        encoded: the real images, as denoised.
        ipc: images per class.
        seed: of k-means, draws and codes.
        feature: what distances are measured in.
        bandwidth: h of P3 and C7.
        noisy_classifier: q(y | x, sigma), for P1.
        teachers: classifiers of clean images that know their value space, for P2 and C1.
    """

    model: DiffusionModel
    encoded: Encoded
    ipc: int
    seed: int = 0
    feature: Feature = field(default_factory=Pooled)
    bandwidth: Callable[[Given], float] = field(default_factory=Tightest)
    noisy_classifier: NoisyClassifier | None = None
    teachers: Views | None = None

    @property
    def classes(self) -> int:
        return self.model.num_classes

    @property
    def measure(self) -> Feature:
        """The feature in float64: distances whose rounding does not depend on which classes are sampled together."""
        return InDouble(self.feature)

    @cached_property
    def read(self) -> Batch:
        """Some real images of every class (`READ`, fewer where classes are many), class-major, keyed."""
        return self.encoded.minibatch(max(2, min(READ, READ_IN_ALL // self.classes)), self.seed)(0.0)

    @cached_property
    def features(self) -> Tensor:
        """Of `read`, (r, d)."""
        with torch.no_grad():
            return self.measure(self.read.x)

    @cached_property
    def pair_distance(self) -> float:
        """d^2, the median squared distance of real images of one class."""
        return median_pair_distance(self.features, self.read.y)

    @cached_property
    def centres(self) -> Tensor:
        """(C, m, d) k-means centres, as many as there will be images, though at most `CENTRES`."""
        count = min(self._most, int(torch.bincount(self.read.y, minlength=self.classes).min()))
        return class_centres(self.features, self.read.y, count, self.seed, classes=self.classes)

    @property
    def _most(self) -> int:
        return max(1, min(self.ipc, CENTRES, CENTRES_IN_ALL // self.classes))

    @cached_property
    def tightest(self) -> tuple[float, float]:
        """(h, J): the bandwidth at which centres, as the set, bound the real I(X;Y) most tightly, and that bound.

        Centres of every other real image, the bound read on those between: on their own images many centres of few
        images look best at a bandwidth that is too narrow for any other. A class of one image is on both sides.
        """
        y = self.read.y
        sizes = torch.bincount(y, minlength=self.classes)
        place = torch.arange(len(y), device=y.device) - (sizes.cumsum(0) - sizes)[y]
        even, alone = place % 2 == 0, sizes[y] == 1
        fitted, heard = self.features[even], ~even | alone
        count = min(self._most, int((sizes.min() + 1) // 2))
        codes = class_centres(fitted, y[even], count, self.seed, classes=self.classes).flatten(0, 1)
        code_y = torch.arange(self.classes, device=y.device).repeat_interleave(count)
        return tightest_bandwidth(self.features[heard], y[heard], codes, code_y, classes=self.classes, slack=SLACK)


@dataclass(frozen=True)
class InDouble:
    """A feature in float64. Sampling amplifies the rounding of a first step; that of float32 sums becomes visible."""

    feature: Feature

    def __call__(self, x: Tensor) -> Tensor:
        return self.feature(x).double()


def mixture_variance(given: Given) -> float:
    """sigma^2 of C2's channel: 8 sigma^2 = d^2 / log(n + 1) (ours)."""
    return bandwidth_from_pairs(given.pair_distance, given.ipc)


def code_variance(given: Given) -> float:
    """sigma^2 of C3's Gaussian code: a quarter of the median squared distance to the nearest real image of the class.

    That is the width a posterior q(z|x) = N(f(x), sigma^2) needs so that the code of an image is mistaken for that of
    its nearest neighbour one time in six: real neighbours just can be told apart, as in a VAE trained on them.
    """
    y, nearest = given.read.y, list[Tensor]()
    for label in range(given.classes):
        f = given.features[y == label].double()
        if len(f) > 1:
            distance = torch.cdist(f, f, compute_mode="donot_use_mm_for_euclid_dist").square()
            nearest.append(distance.fill_diagonal_(torch.inf).min(1).values)
    if not nearest or not float(middle := torch.cat(nearest).median()) > 0:
        raise ValueError("the width of a code needs distinct real images of one class, found none")
    return float(middle) / 4
