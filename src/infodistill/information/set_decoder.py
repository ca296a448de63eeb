"""P3, the set decoder: a bound on the real data's I(X;Y) whose decoder is the distilled set. Ours, not the paper's.

    q_S(y | x) = m_y(x) / sum_c m_c(x),    m_c(x) = mean over j in S_c of exp(-||f(x) - f(s_j)||^2 / h)
    J(S) = log C + E_{(x, y) real} log q_S(y | x)  <=  I(X;Y)      (labels uniform over C classes, nats)

Why it is a lower bound (Barber & Agakov 2003): I(X;Y) = log C + E log p(y|x), and E log p(y|x) - E log q(y|x) is
E_x KL(p(.|x) || q(.|x)) >= 0 for every normalised q; q_S is one for every set S, feature f and bandwidth h. So
maximising J over S tightens a bound on the *real* data: the set is judged by what it teaches about real images.
The same images guide and are read, so J of those is optimistic; report it on held-out ones.

    dJ/df(s_j) = (2/h) E_x[(1{y_x = y_j} rho_{j|y}(x) - rho_j(x)) (f(x) - f(s_j))]

with rho_j(x) the responsibility of s_j among all images and rho_{j|y}(x) among those of x's class: attraction to real
images of the own class that are still misjudged, repulsion from other classes, silence where all is decoded.

Decoupled form: while class y is sampled, the other classes' mixtures are *given* centres (k-means of real features).
Any q is allowed, so the bound stands, and classes are sampled independently of each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from infodistill.information import code_mixtures
from infodistill.information.class_sets import balanced_weights, in_floats, padded, require_positive
from infodistill.information.code_mixtures import (
    Feature,
    about,
    equal_log_weights,
    logsumexp_of_others,
    mixture_scores,
    read_features,
    shares,
)
from infodistill.types import Batch


def set_decoder_log_likelihood(
    real_f: Float[Tensor, "r d"],
    real_y: Int[Tensor, " r"],
    code_f: Float[Tensor, "m d"],
    code_y: Int[Tensor, " m"],
    *,
    bandwidth: float,
    classes: int,
) -> Float[Tensor, " r"]:
    """Log q_S(y | x) of every real row, (r,), in nats; at most 0. Differentiable in both features.

    Codes in any order, any positive number of every class.

    Raises:
        ValueError: the bandwidth is not positive, or a class has no code.
    """
    require_positive("the bandwidth h", bandwidth)
    real_f, code_f = about(real_f, code_f)
    codes, log_weight = padded(code_f, code_y, classes)
    scores = mixture_scores(codes, real_f, log_weight, bandwidth)  # (C, r)
    return scores.log_softmax(0).gather(0, real_y[None]).squeeze(0)


def set_decoder_information(
    real_f: Float[Tensor, "r d"],
    real_y: Int[Tensor, " r"],
    code_f: Float[Tensor, "m d"],
    code_y: Int[Tensor, " m"],
    *,
    bandwidth: float,
    classes: int,
) -> Float[Tensor, ""]:
    """J = log C + E log q_S(y | x), nats: a lower bound on the real I(X;Y) of uniform labels, for every set of codes.

    E is the mean over classes of the mean over their real rows. Sign: larger is more. Bias: never above the truth in
    expectation over real rows the codes were not fitted to, by E KL(p(.|x) || q_S(.|x)). Range: (-inf, log C]; log C
    for well separated classes, 0 when all classes share one set of codes.

    Args:
        real_f: (r, d) features of real images; all classes present.
        real_y: (r,) their classes, 0..C-1.
        code_f: (m, d) features of the distilled images.
        code_y: (m,) their classes; all classes present.
        bandwidth: h > 0, in squared units of the features.
        classes: C.

    Raises:
        ValueError: the bandwidth is not positive, or a class has no real row or no code.
    """
    weight = balanced_weights(real_y, classes)
    told = set_decoder_log_likelihood(real_f, real_y, code_f, code_y, bandwidth=bandwidth, classes=classes)
    return math.log(classes) + weight.to(told) @ told


def decoupled_information(
    real_f: Float[Tensor, "r d"],
    real_y: Int[Tensor, " r"],
    code_f: Float[Tensor, "k n d"],
    labels: Int[Tensor, " k"],
    *,
    centres: Float[Tensor, "c m d"],
    bandwidth: float,
) -> Float[Tensor, " k"]:
    """J of every set in turn beside the other classes' given centres, (k,) nats, each a lower bound on the real I(X;Y).

    J_k = `set_decoder_information` with the codes of class labels[k] and the centres of all others: equal to the
    coupled value and gradient where the other classes' codes are those centres. Range: (-inf, log C].

    Args:
        real_f: (r, d) features of real images of all C classes.
        real_y: (r,) their classes.
        code_f: (k, n, d) features of the distilled images by class.
        labels: (k,) which classes these are.
        centres: (C, m, d) in the same features; constants.
        bandwidth: h > 0.

    Raises:
        ValueError: the bandwidth is not positive, or a class has no real row.
    """
    weight = balanced_weights(real_y, len(centres)).to(in_floats(code_f))
    rows = max(1, code_mixtures.ENTRIES // max(len(centres), len(labels)))
    pieces = [
        _decoupled_log_likelihood(f, y, code_f, labels, centres=centres, bandwidth=bandwidth) @ w
        for f, y, w in zip(real_f.split(rows), real_y.split(rows), weight.split(rows), strict=True)
    ]
    return math.log(len(centres)) + torch.stack(pieces).sum(0)


def _decoupled_log_likelihood(
    real_f: Tensor, real_y: Tensor, code_f: Tensor, labels: Tensor, *, centres: Tensor, bandwidth: float
) -> Tensor:
    """(k, r): log q of every real row's class by the decoder of every set."""
    require_positive("the bandwidth h", bandwidth)
    real_f, code_f, centres = about(real_f, code_f, centres)
    own = mixture_scores(code_f, real_f, equal_log_weights(code_f), bandwidth)  # (k, r)
    with torch.no_grad():
        given = mixture_scores(centres, real_f, equal_log_weights(centres), bandwidth)  # (C, r)
        others = logsumexp_of_others(given)[labels]  # (k, r)
        truth = given.gather(0, real_y[None])  # (1, r)
    top = torch.where(real_y == labels[:, None], own, truth)
    return top - torch.logaddexp(others, own)


@dataclass(frozen=True)
class SetDecoder:
    """P3, decoupled: -sum_y n J_y over the classes in view, a cost; a class's images see the others' given centres.

    J_y is `decoupled_information` read on the real batch, n the images per class: the sum over images, so that the
    force on one image does not shrink as 1 / n. Synthetic images class-major; real images of all classes, any order.

    Args:
        feature: what distances are measured in, of the sampled tensor itself (pixels or latents).
        bandwidth: h > 0, from `tightest_bandwidth`; three times that at one image per class (our choice).
        centres: (C, m, d) real centres of every class in the same features.
    """

    feature: Feature
    bandwidth: float
    centres: Tensor

    def __post_init__(self) -> None:
        require_positive("the bandwidth h", self.bandwidth)

    def information(self, syn: Batch, real: Batch) -> Tensor:
        """(classes in view,) J_y in nats."""
        labels, codes, real_f = read_features(self.feature, syn, real)
        return decoupled_information(real_f, real.y, codes, labels, centres=self.centres, bandwidth=self.bandwidth)

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        value = self.information(syn, real)
        return -(len(syn) // len(value)) * value.sum()

    @torch.no_grad()
    def per_image(self, syn: Batch, real: Batch) -> Tensor:
        """(n,) nats: log C + mean log q(y|x) over the real images of its class that an image stands for."""
        labels, codes, real_f = read_features(self.feature, syn, real)
        told = _decoupled_log_likelihood(real_f, real.y, codes, labels, centres=self.centres, bandwidth=self.bandwidth)
        share = shares(real_f, real.y, codes, labels, self.bandwidth)
        return math.log(len(self.centres)) + torch.einsum("knr,kr->kn", share, told).flatten()


@dataclass(frozen=True)
class CoupledSetDecoder:
    """P3, coupled: -n J over all classes in view together, a cost; every class must be in view.

    The force on an image is n dJ/dx, the same as `SetDecoder` exerts when its centres are the other classes' images.

    Args:
        feature: what distances are measured in.
        bandwidth: h > 0.
        classes: C of the data.
    """

    feature: Feature
    bandwidth: float
    classes: int

    def __post_init__(self) -> None:
        require_positive("the bandwidth h", self.bandwidth)

    def information(self, syn: Batch, real: Batch) -> Tensor:
        """J in nats."""
        _, codes, real_f = read_features(self.feature, syn, real)
        return set_decoder_information(
            real_f, real.y, codes.flatten(0, 1), syn.y, bandwidth=self.bandwidth, classes=self.classes
        )

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        return -(len(syn) // self.classes) * self.information(syn, real)

    @torch.no_grad()
    def per_image(self, syn: Batch, real: Batch) -> Tensor:
        """(n,) nats: log C + mean log q(y|x) over the real images of its class that an image stands for."""
        labels, codes, real_f = read_features(self.feature, syn, real)
        told = set_decoder_log_likelihood(
            real_f, real.y, codes.flatten(0, 1), syn.y, bandwidth=self.bandwidth, classes=self.classes
        )
        share = shares(real_f, real.y, codes, labels, self.bandwidth)
        return math.log(self.classes) + torch.einsum("knr,r->kn", share, told).flatten()
