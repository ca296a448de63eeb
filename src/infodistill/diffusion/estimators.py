"""Which bounds guide: the prototype terms for I(X;Y), the contextual ones for H(X|Y), built from the real images.

The IGDS paper says that both are lower-bounded by variational estimators learned from data and does not publish them:
these are ours. A builder turns what is `Given` into a term.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from infodistill.diffusion.features import Feature
from infodistill.diffusion.given import Given, Tightest, code_variance, mixture_variance
from infodistill.diffusion.guidance import Seen, clean, noisy
from infodistill.diffusion.in_pixels import InPixels
from infodistill.information.classifier_bounds import (
    ClassifierInformation,
    NoiseAwareInformation,
    OwnCentroidInformation,
    RealCentroidDivergence,
    Views,
    log_centroids,
    log_probabilities,
)
from infodistill.information.codebook import CodebookInformation
from infodistill.information.kernel_entropy import RenyiEntropy, VendiEntropy
from infodistill.information.mixtures import CodeEntropy, MixtureEntropy
from infodistill.information.set_decoder import CoupledSetDecoder, SetDecoder
from infodistill.types import Source, Term

__all__ = ["CONTEXTUALS", "PROTOTYPES", "Contextual", "Given", "Prototype", "Tightest", "prototype_scale"]

DECODED = 200
"""Real images of a class that centroids are taken over, at most."""

PIECE = 64
"""Images decoded at a time."""


def prototype_scale(n: int) -> float:
    """s(n): 1 up to ten images per class, 0.3 from fifty, log-linear between (ours; measured at 1, 5, 10 and 50)."""
    place = min(max(math.log(n / 10) / math.log(5), 0.0), 1.0)
    return 0.3**place


def noisy_classifier_scale(n: int) -> float:
    """s(n) of P1: 1 at one image per class, 0.2 above, where it contracts the class (ours)."""
    return 1.0 if n == 1 else 0.2


def classifier_scale(n: int) -> float:
    """s(n) of P2: 1 at one image per class, 0.3 above (ours)."""
    return 1.0 if n == 1 else 0.3


Build = Callable[[Given], Term]


@dataclass(frozen=True)
class Prototype:
    """A term for I(X;Y).

    Attributes:
        build: from real images to the term; None for no term.
        scale: s(n), its push at n images per class in units of the predicted noise.
        push: b, the most a contextual term pushes beside it; beta(n) s(n) = b min(1, log n / log 5).
        shows: what the term sees, `guidance.clean` or `guidance.noisy`.
        couples: whether it needs all classes to be sampled together.
        reads_bandwidth: whether it depends on the bandwidth h.
    """

    build: Build | None
    scale: Callable[[int], float] = prototype_scale
    push: float = 0.2
    shows: Callable[[Seen, Term], Tensor] = clean
    couples: bool = False
    reads_bandwidth: bool = False


@dataclass(frozen=True)
class Contextual:
    """A term for H(X|Y): `build` from real images to the term, None for no term; `shows` what it sees.

    `reads_bandwidth`: whether it depends on the bandwidth h.
    """

    build: Build | None
    shows: Callable[[Seen, Term], Tensor] = clean
    reads_bandwidth: bool = False


def set_decoder(given: Given) -> Term:
    """P3, decoupled: the other classes are their real k-means centres."""
    return SetDecoder(given.measure, given.bandwidth(given), given.centres)


def coupled_set_decoder(given: Given) -> Term:
    """P3, coupled: the other classes are their images, sampled in the same steps."""
    return CoupledSetDecoder(given.measure, given.bandwidth(given), given.classes)


def mixture_entropy(given: Given) -> Term:
    """C2, Kolchinsky and Tracey's bound."""
    return MixtureEntropy(given.measure, mixture_variance(given))


def code_entropy(given: Given) -> Term:
    """C3 with a Gaussian code on the feature."""
    return CodeEntropy(GaussianCode(given.measure, code_variance(given)), seed=given.seed)


def noise_aware(given: Given) -> Term:
    """P1: a classifier of noisy images.

    Raises:
        ValueError: there is none.
    """
    if given.noisy_classifier is None:
        raise ValueError("P1 needs a noise-aware classifier q(y | x, sigma), got none")
    return NoiseAwareInformation(given.noisy_classifier)


def classified(given: Given) -> Term:
    """P2: a classifier of the predicted clean images, decoded."""
    return _decoded(given, ClassifierInformation(_teachers(given)))


def own_centroid(given: Given) -> Term:
    """C1 with the centroids of the images being sampled."""
    return _decoded(given, OwnCentroidInformation(_teachers(given)))


@torch.no_grad()
def real_centroid(given: Given) -> Term:
    """C1 with centroids of real images: NOT a bound on the guided law."""
    teachers, real = _teachers(given), given.encoded.minibatch(DECODED, given.seed)(0.0)
    show, logs = _decoded(given, ClassifierInformation(teachers)).shown, list[Tensor]()
    for rows in torch.arange(len(real), device=real.y.device).split(PIECE):
        logs.append(log_probabilities(teachers, show(real.rows(rows))))
    centroids = log_centroids(torch.cat(logs), real.y, given.classes)
    return _decoded(given, RealCentroidDivergence(teachers, centroids))


def kernel_entropy(given: Given) -> Term:
    """C5, Renyi's entropy of order 2."""
    return RenyiEntropy(given.measure, mixture_variance(given))


def vendi(given: Given) -> Term:
    """C5, the log of the Vendi score."""
    return VendiEntropy(given.measure, mixture_variance(given))


def codebook(given: Given) -> Term:
    """C7, with the bandwidth of P3."""
    return CodebookInformation(given.measure, given.bandwidth(given))


PROTOTYPES: Mapping[str, Prototype] = {
    "p1": Prototype(noise_aware, noisy_classifier_scale, push=0.4, shows=noisy),
    "p2": Prototype(classified, classifier_scale, push=0.4),
    "p3": Prototype(set_decoder, reads_bandwidth=True),
    "p3-coupled": Prototype(coupled_set_decoder, couples=True, reads_bandwidth=True),
    "none": Prototype(None, push=0.3),
}
"""By name, for command lines. Beside no prototype a contextual term pushes 0.3, the dose it was measured at alone."""

CONTEXTUALS: Mapping[str, Contextual] = {
    "c1-own": Contextual(own_centroid),
    "c1-real": Contextual(real_centroid),
    "c2": Contextual(mixture_entropy),
    "c3": Contextual(code_entropy),
    "c5": Contextual(kernel_entropy),
    "c5-vendi": Contextual(vendi),
    "c7": Contextual(codebook, reads_bandwidth=True),
    "none": Contextual(None),
}


@dataclass(frozen=True)
class GaussianCode:
    """q(z | x) = N(f(x), variance I), in the place of a conditional VAE's posterior: nothing is trained (ours)."""

    feature: Feature
    variance: float

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        del y
        mean = self.feature(x)
        return mean, torch.full_like(mean, math.log(self.variance))


def _teachers(given: Given) -> Views:
    if given.teachers is None:
        raise ValueError("P2 and C1 need teachers, classifiers of clean images, got none")
    return given.teachers


def _decoded(given: Given, term: Term) -> InPixels:
    """The term in the value space of the teachers; it reads no real images."""
    teachers = _teachers(given)
    space = (teachers.draw() if isinstance(teachers, Source) else teachers[0]).space
    if space is None:
        raise ValueError("P2 and C1 need teachers that know the value space they were trained in, got one without")
    return InPixels(term, given.model.codec, space, per_class=0)
