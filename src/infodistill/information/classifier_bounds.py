"""P1, P2, C1: what a classifier says of the images being sampled, as bounds on I(X;Y) and on H(X|Y).

P1 and P2 (Barber & Agakov 2003): for every classifier q over C classes with uniform labels,

    I(X;Y) = log C + E log p(y|x)  >=  log C + E log q(y|x),    because E_x KL(p(.|x) || q(.|x)) >= 0.

P1: q(y | x_t, sigma) sees noisy images and bounds I(X_t;Y), which is at most I(X_0;Y) by data processing: valid at
every noise level, for every q. As guidance it samples p(x | y) q(y | x) exactly (up to the sampler's steps) where three
things hold: q(y | x_t, sigma) = E[q(y | x_0) | x_t], which a learned q only approaches; the rule is `bayes`; and s = 1.
P2: q(y|x) of clean images, valid for the final images; shown predicted clean images it is biased as guidance, and its
force vanishes as q -> 1.

C1: P_x = the classifier's probabilities, Y^ drawn from P_x. With Q the class mean of P over *the same law* x follows,

    E KL(P_x || Q) = I(X;Y^|Y)  <=  min(log C, H(X|Y))    since Y^ is a randomised function of x.

With Q* the class mean over *real* images E KL(P_x || Q*) = E KL(P_x || Q) + KL(Q || Q*): an UPPER bound on I(X;Y^|Y)
of the sampled law (it reads 2.376 nats where every image has P = (.1, .9), Q* = (.95, .05) and the truth is 0). It is
here as a natural reading of "contextual information"; in our study on digits it lost accuracy and diversity.

All terms are sums over images. They are of images a classifier knows: for latents wrap them (`diffusion.in_pixels`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from infodistill.compute import View
from infodistill.information.class_sets import class_major, in_floats, padded
from infodistill.types import Batch, Source

Views = Source[View] | Sequence[View]
"""Classifiers: a source gives one network a step, a sequence the mean of its networks' probabilities."""

NoisyClassifier = Callable[[Tensor, Tensor], Tensor]
"""classifier(x (n, c, h, w) = x0 + sigma noise, sigma (n,)) -> logits (n, C)."""


def barber_agakov(log_q: Float[Tensor, "n c"], y: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Log C + mean log q(y|x), nats: a lower bound on I(X;Y) for rows with uniform labels, for every classifier q.

    Sign: larger is more. Bias: below the truth by E KL(p(.|x) || q(.|x)). Range: (-inf, log C]; log C for a classifier
    that is sure and right, 0 for the uniform one, negative for one that is confidently wrong.

    Args:
        log_q: (n, C) log probabilities.
        y: (n,) classes.

    Raises:
        ValueError: a row of exp(log_q) does not sum to 1.
    """
    off = log_q.detach().logsumexp(1).abs().max() if len(log_q) else log_q.new_tensor(math.nan)
    if not float(off) < 1e-3:
        raise ValueError(f"rows must be log probabilities, whose exponentials sum to 1; the log of a sum is {off:g}")
    return math.log(log_q.shape[1]) + log_q.gather(1, y[:, None]).mean()


def log_centroids(log_p: Float[Tensor, "n k"], y: Int[Tensor, " n"], classes: int) -> Float[Tensor, "c k"]:
    """Log Q^y, the log of the class mean of the probabilities, (classes, k).

    Raises:
        ValueError: a class has no rows.
    """
    by_class, log_weight = padded(log_p, y, classes)
    return (by_class + log_weight[..., None]).logsumexp(1)


def centroid_divergence(log_p: Float[Tensor, "*s k"], log_q: Float[Tensor, "*s k"]) -> Float[Tensor, "*s"]:
    """KL(P || Q) of every row, nats, at least 0, from log probabilities: C1's value of one image.

    Its mean over a class is I(X;Y^|Y=y) where Q is that class's own mean, and above it for every other Q.
    """
    return (log_p.exp() * (log_p - log_q)).sum(-1)


@dataclass(frozen=True)
class ClassifierInformation:
    """P2: -sum over images of log C + log q(y|x), a cost; q a classifier of clean images.

    Args:
        views: networks that know the value space they were trained in.
    """

    views: Views

    def per_image(self, syn: Batch, real: Batch) -> Tensor:
        """(n,) nats: log C + log q(y|x)."""
        del real
        return _named(log_probabilities(self.views, syn), syn.y)

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        return -self.per_image(syn, real).sum()


@dataclass(frozen=True)
class NoiseAwareInformation:
    """P1: -sum over images of log C + log q(y|x, sigma), a cost of *noisy* images; reads `Batch.noise`.

    Args:
        classifier: of noisy images, trained at every noise level.
    """

    classifier: NoisyClassifier

    def per_image(self, syn: Batch, real: Batch) -> Tensor:
        """(n,) nats: log C + log q(y|x, sigma).

        Raises:
            ValueError: the batch has no noise levels.
        """
        del real
        if syn.noise is None:
            raise ValueError("a noise-aware classifier needs noisy images and their noise levels, got clean ones")
        return _named(in_floats(self.classifier(syn.x, syn.noise)).log_softmax(1), syn.y)

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        return -self.per_image(syn, real).sum()


@dataclass(frozen=True)
class OwnCentroidInformation:
    """C1 with the set's own centroids: -sum_y n I(X;Y^|Y=y) over the classes in view, a cost. Exactly 0 at one image.

    A lower bound on H(X|Y), at most log C (and log n). CMI of the logits with the opposite sign, per class.

    Args:
        views: networks that know the value space they were trained in.
    """

    views: Views

    def per_image(self, syn: Batch, real: Batch) -> Tensor:
        """(n,) nats: KL of an image's probabilities to the mean of its class's images."""
        del real
        log_p = log_probabilities(self.views, syn).unflatten(0, (len(class_major(syn.y)), -1))
        centroid = log_p.logsumexp(1, keepdim=True) - math.log(log_p.shape[1])
        return centroid_divergence(log_p, centroid.expand_as(log_p)).flatten()

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        return -self.per_image(syn, real).sum()


@dataclass(frozen=True)
class RealCentroidDivergence:
    """C1 with real centroids: -sum over images of KL(P_x || Q*^y), a cost. NOT a bound on the guided law (above).

    Not inert at one image per class: there it pushes P beyond Q*, a prototype term in disguise.

    Args:
        views: networks that know the value space they were trained in.
        centroids: (C, k) log Q* over real images, `real_centroids`; None takes those of the real batch of every call.
    """

    views: Views
    centroids: Tensor | None = None

    def per_image(self, syn: Batch, real: Batch) -> Tensor:
        """(n,) nats: KL of an image's probabilities to the mean over real images of its class."""
        log_p = log_probabilities(self.views, syn)
        log_q = real_centroids(self.views, real) if self.centroids is None else self.centroids
        return centroid_divergence(log_p, log_q.to(log_p)[syn.y])

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        return -self.per_image(syn, real).sum()


@torch.no_grad()
def real_centroids(views: Views, real: Batch) -> Tensor:
    """Log Q*^y of every class over the images of `real`, (C, k).

    Raises:
        ValueError: a class has no image.
    """
    return log_centroids(log_probabilities(views, real), real.y, real.target.shape[1])


def log_probabilities(views: Views, batch: Batch) -> Tensor:
    """Log q(y|x), (n, C), of one network of a source, or of the mean of the probabilities of a sequence.

    Raises:
        ValueError: the sequence is empty.
    """
    drawn = [views.draw()] if isinstance(views, Source) else list(views)
    if not drawn:
        raise ValueError("a classifier term needs at least one network, got none")
    told = torch.stack([in_floats(view.logits(batch.x, batch.space)).log_softmax(1) for view in drawn])
    return told.logsumexp(0) - math.log(len(drawn))


def _named(log_q: Tensor, y: Tensor) -> Tensor:
    return math.log(log_q.shape[1]) + log_q.gather(1, y[:, None]).squeeze(1)
