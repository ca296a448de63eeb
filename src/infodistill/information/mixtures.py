"""C2, C3: how well the images of a class can be told apart through noise; bounds on the contextual information H(X|Y).

For 8-bit images and any T computed from X with noise, H(X|Y) = I(X;T|Y) + H(X|T,Y) >= I(X;T|Y). Here T = Z is a code:
Z | image j ~ q_j = N(mu_j, diag of a variance), and J is uniform on the n images of a class, so Z has the density
q = (1/n) sum_j q_j. Written with I = I(J;Z) = (1/n) sum_i KL(q_i || q) <= log n, all in nats:

    Kolchinsky-Tracey   -(1/n) sum_i log (1/n) sum_j exp(-||mu_i - mu_j||^2 / 8 s^2)      <= I
    pairwise KL         -(1/n) sum_i log (1/n) sum_j exp(-||mu_i - mu_j||^2 / 2 s^2)      >= I
    code bound           E_{z ~ q_i} [log q_i(z) - log (1/n) sum_b q_b(z)]                 = I, sampled
    leave-one-out        E_{z ~ q_i} [log q_i(z) - log (1/(n-1)) sum_{b != i} q_b(z)]      >= I

(Kolchinsky & Tracey, Entropy 2017.) Why. *KT*: let C_ij = int (q_i q_j)^(1/2) = exp(-||mu_i - mu_j||^2 / 8 s^2) and
M = (1/n) sum_j q_j^(1/2), and split log(q / q_i) = log(q / q_i^(1/2) M) + log(M / q_i^(1/2)). By Jensen the mean of the
first over i and z is at most log int q = 0, and that of the second over z at most log (1/n) sum_j C_ij. *Pairwise KL*:
log-sum-exp is convex, so E_{q_i} log (1/n) sum_j q_j >= log (1/n) sum_j exp(E_{q_i} log q_j).
*From n images to the population*: for images drawn independently, I has an expectation of at most I(X;Z|Y), since
(1/n) sum KL(q_i || q) = (1/n) sum KL(q_i || p) - KL(q || p) for the population's density p. The sample's *own*
component is what makes this a lower bound. *Leaving it out* is an upper bound: the mean of others has expectation p
independently of z, and -log is convex, so E[-log q_{-i}(z)] >= -log p(z); it is not even bounded.

Images sampled together are not independent: "at most log n" stands (I is then the entropy of the set through the
channel), the statement about the population motivates. All terms are sums over images, so forces do not shrink as 1/n.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from infodistill.information.class_sets import by_class, class_major, in_floats, pair_distances, require_positive
from infodistill.information.code_mixtures import Feature
from infodistill.seeding import stream
from infodistill.types import Batch


def kolchinsky_tracey(f: Float[Tensor, "*k n d"], variance: float) -> Float[Tensor, "*k"]:
    """C2: -(1/n) sum_i log (1/n) sum_j exp(-||f_i - f_j||^2 / 8 variance), nats per set: a lower bound on I(J;Z).

    Sign: larger is more distinguishable. Range: 0 (all images equal, or n = 1, there with gradient exactly 0) to log n.
    Bias: never above I(J;Z); the force of a pair fades once it is sqrt(8 variance) apart. Reasons: see the module.

    Args:
        f: (..., n, d) features of the images of a class; leading dimensions are classes.
        variance: s^2 > 0 of the channel, in squared units of the features; `bandwidth_from_pairs` reads it from data.

    Raises:
        ValueError: the variance is not positive.
    """
    return _told_apart(f, 8 * variance).mean(-1)


def pairwise_kl_upper_bound(f: Float[Tensor, "*k n d"], variance: float) -> Float[Tensor, "*k"]:
    """The same form with KL in place of the Chernoff distance (exponent / 2 variance): an upper bound on I(J;Z), nats.

    To bracket the truth, not to maximise. Range: 0 to log n.

    Raises:
        ValueError: the variance is not positive.
    """
    return _told_apart(f, 2 * variance).mean(-1)


def channel_entropy(dimension: int, variance: float) -> float:
    """h(N(0, variance I)) = (d/2) log(2 pi e variance), nats: h(Z) is this plus I(J;Z), so bounds carry over.

    A differential entropy: it depends on the unit of the features and may be negative.
    """
    return dimension / 2 * math.log(2 * math.pi * math.e * variance)


def code_bound(
    z: Float[Tensor, "*k s n d"], mean: Float[Tensor, "*k n d"], variance: Float[Tensor, "*k n d"] | float
) -> Float[Tensor, "*k"]:
    """C3: mean of log q(z_i|x_i) - log (1/n) sum_b q(z_i|x_b), own component included, nats per set.

    Unbiased for I(J;Z) given the codes, hence a lower bound on I(X;Z|Y) <= H(X|Y) in expectation over independent
    images. Range: at most log n for every single draw; exactly 0 at n = 1.

    Args:
        z: (..., s, n, d) s draws of the code of every image.
        mean: (..., n, d) means of q(z|x).
        variance: its variances, per image and entry, or one number.

    Raises:
        ValueError: a variance is not positive.
    """
    own, density = _densities(z, mean, variance)
    return (own - (density.logsumexp(-1) - math.log(density.shape[-1]))).mean((-2, -1))


def leave_one_out_upper_bound(
    z: Float[Tensor, "*k s n d"], mean: Float[Tensor, "*k n d"], variance: Float[Tensor, "*k n d"] | float
) -> Float[Tensor, "*k"]:
    """The code bound without the sample's own component: an UPPER bound on I(X;Z|Y), unbounded, nats per set.

    Here to measure and to warn: 463 nats where the truth is log 64. Arguments as in `code_bound`, n at least 2.

    Raises:
        ValueError: there is one image, or a variance is not positive.
    """
    own, density = _densities(z, mean, variance)
    count = density.shape[-1]
    if count < 2:
        raise ValueError(f"leaving one out needs at least 2 images, got {count}")
    itself = torch.eye(count, dtype=torch.bool, device=z.device)
    others = density.masked_fill(itself, -torch.inf).logsumexp(-1) - math.log(count - 1)
    return (own - others).mean((-2, -1))


@dataclass(frozen=True)
class MixtureEntropy:
    """C2: -sum_y n KT_y over the classes in view, a cost; pushes the images of a class apart, up to a point.

    Exactly 0 with gradient exactly 0 at one image per class. Reads no real images. Synthetic images class-major.

    Args:
        feature: what distances are measured in.
        variance: s^2 of the channel, from `bandwidth_from_pairs`.
    """

    feature: Feature
    variance: float

    def __post_init__(self) -> None:
        require_positive("the variance", self.variance)

    def per_image(self, syn: Batch, real: Batch) -> Tensor:
        """(n,) nats: how well each image is told from its class, -log (1/n) sum_j exp(-||.||^2 / 8 s^2), 0 to log n."""
        del real
        sets = by_class(self.feature(syn.x), syn.y)
        return _told_apart(sets, 8 * self.variance).flatten()

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        return -self.per_image(syn, real).sum()


Encoder = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""encoder(x (n, c, h, w), y (n,)) -> mean (n, d) and log variance (n, d) of q(z|x): a conditional VAE's posterior."""


@dataclass(frozen=True)
class CodeEntropy:
    """C3: -sum_y n I_y over the classes in view, I_y the code bound of an encoder's posteriors, a cost.

    The code brings the features and, by its posterior width, the resolution. The noise of the code is the same at every
    step (keyed by seed and class), so the cost is one fixed function. Exactly 0 at one image per class.

    Args:
        encoder: q(z|x), differentiable in x.
        samples: draws per image.
        seed: key of the noise.
    """

    encoder: Encoder
    samples: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"a code bound needs at least 1 sample per image, got {self.samples}")

    def per_image(self, syn: Batch, real: Batch) -> Tensor:
        """(n,) nats: the mean over an image's draws of log q(z|x) - log of the class's mixture, at most log n."""
        del real
        labels = class_major(syn.y)
        mean, log_variance = (in_floats(part).unflatten(0, (len(labels), -1)) for part in self.encoder(syn.x, syn.y))
        shape = (self.samples, *mean.shape[1:])
        noise = [torch.randn(shape, generator=stream(self.seed, "code", 0, label)) for label in labels.tolist()]
        z = mean[:, None] + (log_variance / 2).exp()[:, None] * torch.stack(noise).to(mean)
        own, density = _densities(z, mean, log_variance.exp())
        return (own - density.logsumexp(-1) + math.log(density.shape[-1])).mean(1).flatten()

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        return -self.per_image(syn, real).sum()


def _told_apart(f: Tensor, scale: float) -> Tensor:
    """(..., n): -log (1/n) sum_j exp(-||f_i - f_j||^2 / scale)."""
    require_positive("the variance", scale)
    distance = pair_distances(in_floats(f))
    return math.log(f.shape[-2]) - (distance / -scale).logsumexp(-1)


def _densities(z: Tensor, mean: Tensor, variance: Tensor | float) -> tuple[Tensor, Tensor]:
    """Log q(z_i|x_i), (..., s, n), and log q(z_i|x_b), (..., s, n, b); up to a constant common to all."""
    width = torch.as_tensor(variance, dtype=mean.dtype, device=mean.device).expand_as(mean)
    if not bool((width > 0).all()):
        raise ValueError(f"variances must be positive, got {float(width.min()):g}")
    difference = z.unsqueeze(-2) - mean[..., None, None, :, :]  # (..., s, n, b, d)
    density = -0.5 * (difference.square() / width[..., None, None, :, :]).sum(-1)
    density = density - 0.5 * width.log().sum(-1)[..., None, None, :]
    return density.diagonal(dim1=-2, dim2=-1), density
