"""C7, the codebook: what a real image of a class says of the distilled image it is nearest to. Ours, not the paper's.

    p(J = j | x, y) = exp(-||f(x) - f(s_j)||^2 / h) / sum_{i in S_y} exp(-||f(x) - f(s_i)||^2 / h),    j in S_y
    I(X;J|Y=y) = H(J|Y=y) - H(J|X,Y=y)  <=  min(log n, H(X|Y=y)),    X real, nats

Why a lower bound on the real H(X|Y): J is drawn from the *real* image and the set, so given the set J is a randomised
function of X, and H(X|Y) = I(X;J|Y) + H(X|J,Y). That needs no independence of the distilled images: of all contextual
bounds here, it alone has a clean statement for images sampled together. Large values want every image used equally and
every real image assigned sharply. From N real images of a class the plug-in value is biased low as an estimate of the
population's, when the centroid p(J|y) is that of the same images.

    dI/df(s_j) = (2/h) E_x[p_j(x) (log p_j(x)/p_j - KL(p(.|x) || p)) (f(x) - f(s_j))]

With J drawn among the images of *all* classes, I(X;J) = I(J;Y) + I(X;J|Y) exactly, since Y - X - J is a Markov chain:
the objective of IGDS at beta = 1, for the code J (`codebook_profile`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from infodistill.information import code_mixtures
from infodistill.information.class_sets import (
    balanced_weights,
    class_counts,
    padded,
    require_positive,
)
from infodistill.information.code_mixtures import Feature, about, affinities, equal_log_weights, read_features
from infodistill.types import Batch


def codebook_information(
    real_f: Float[Tensor, "r d"],
    real_y: Int[Tensor, " r"],
    code_f: Float[Tensor, "k n d"],
    labels: Int[Tensor, " k"],
    *,
    bandwidth: float,
) -> Float[Tensor, " k"]:
    """I(X;J|Y=y) of every set, (k,) nats: a lower bound on the real images' H(X|Y=y).

    Sign: larger is more. Range: 0 (images all equal; one image, exactly, gradient too) to log n. Bias: low,
    as an estimate of the population's value.

    Args:
        real_f: (r, d) features of real images, any order; rows of other classes are not read.
        real_y: (r,) their classes.
        code_f: (k, n, d) features of the distilled images by class.
        labels: (k,) which classes these are, all different.
        bandwidth: h > 0, in squared units of the features.

    Raises:
        ValueError: the bandwidth is not positive, or one of the classes has no real row.
    """
    most = max(1, code_mixtures.ENTRIES // (code_f.shape[1] * int(torch.bincount(real_y).max())))
    if len(labels) > most:  # many classes, as in reports: some at a time
        parts = zip(code_f.split(most), labels.split(most), strict=True)
        return torch.cat([codebook_information(real_f, real_y, *part, bandwidth=bandwidth) for part in parts])
    assigned, log_use, log_weight = _assignments(real_f, real_y, code_f, labels, bandwidth)
    divergence = (assigned.exp() * (assigned - log_use[..., None])).sum(1)  # (k, r)
    return (log_weight.exp() * divergence).sum(1)


class CodebookProfile(NamedTuple):
    """Information of one code J over the images of all classes, in nats: joint = prototype + contextual.

    Attributes:
        joint: I(X;J), at most the log of the number of images.
        prototype: I(J;Y), at most log C: a lower bound on I(X;Y) by data processing.
        contextual: I(X;J|Y): a lower bound on H(X|Y).
    """

    joint: float
    prototype: float
    contextual: float


@torch.no_grad()
def codebook_profile(
    real_f: Float[Tensor, "r d"],
    real_y: Int[Tensor, " r"],
    code_f: Float[Tensor, "m d"],
    *,
    bandwidth: float,
    classes: int,
) -> CodebookProfile:
    """I(X;J), I(J;Y) and I(X;J|Y) with J drawn among all codes by distance, for uniform labels; float64 sums.

    To report: real rows are gone through in pieces, nothing is differentiable. Arguments as in
    `set_decoder_information`; the classes of the codes play no part.

    Raises:
        ValueError: the bandwidth is not positive, or a class has no real row.
    """
    require_positive("the bandwidth h", bandwidth)
    weight = balanced_weights(real_y, classes)
    by_class = torch.zeros(classes, len(code_f), dtype=torch.float64, device=code_f.device)  # p(y, j)
    equivocation = torch.zeros((), dtype=torch.float64, device=code_f.device)  # H(J|X)
    rows = max(1, code_mixtures.ENTRIES // len(code_f))
    real_f, code_f = about(real_f, code_f)
    codes = code_f[None]
    for f, y, w in zip(real_f.split(rows), real_y.split(rows), weight.split(rows), strict=True):
        assigned = affinities(codes, f, equal_log_weights(codes), bandwidth)[0].log_softmax(0).double()  # (m, r)
        by_class.index_add_(0, y, (assigned.exp() * w).T)
        equivocation -= (assigned.exp() * assigned).sum(0) @ w
    h_j, h_jy = _entropy(by_class.sum(0)), _entropy(by_class) - math.log(classes)
    return CodebookProfile(float(h_j - equivocation), float(h_j - h_jy), float(h_jy - equivocation))


@dataclass(frozen=True)
class CodebookInformation:
    """C7: -sum_y n I(X;J|Y=y) over the classes in view, a cost; reads the real batch. Exactly 0 at one image per class.

    Synthetic images class-major; real images of at least the classes in view, any order.

    Args:
        feature: what distances are measured in.
        bandwidth: h > 0, the same as the set decoder's.
    """

    feature: Feature
    bandwidth: float

    def __post_init__(self) -> None:
        require_positive("the bandwidth h", self.bandwidth)

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        labels, codes, real_f = read_features(self.feature, syn, real)
        return -codes.shape[1] * codebook_information(real_f, real.y, codes, labels, bandwidth=self.bandwidth).sum()

    @torch.no_grad()
    def per_image(self, syn: Batch, real: Batch) -> Tensor:
        """(n,) nats: KL(p(x|j) || p(x|y)), what being assigned to an image says of a real one, 0 to log of the rows.

        The value of a class is the mean over its images weighted by their use p(j).
        """
        labels, codes, real_f = read_features(self.feature, syn, real)
        assigned, log_use, log_weight = _assignments(real_f, real.y, codes, labels, self.bandwidth)
        ratio = assigned - log_use[..., None]  # (k, n, r)
        share = (log_weight[:, None] + ratio).softmax(2)
        return (share * ratio).sum(2).flatten()


def _assignments(
    real_f: Tensor, real_y: Tensor, code_f: Tensor, labels: Tensor, bandwidth: float
) -> tuple[Tensor, Tensor, Tensor]:
    """By class: log p(j|x) (k, n, r), log p(j) (k, n), log weights of real rows (k, r) with -inf beyond its last."""
    require_positive("the bandwidth h", bandwidth)
    belongs = real_y[:, None] == labels
    kept = belongs.any(1)
    position = belongs[kept].int().argmax(1)
    class_counts(position, len(labels))
    real_f, code_f = about(real_f[kept], code_f)
    rows, log_weight = padded(real_f, position, len(labels))
    assigned = affinities(code_f, rows, equal_log_weights(code_f), bandwidth).log_softmax(1)
    # Both sums round alike, so a single image, always assigned, has log p(j) = 0 exactly.
    log_use = (log_weight[:, None] + assigned).logsumexp(2) - log_weight.logsumexp(1, keepdim=True)
    return assigned, log_use, log_weight


def _entropy(p: Tensor) -> Tensor:
    return -torch.xlogy(p, p).sum()
