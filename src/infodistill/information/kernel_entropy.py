"""C5: entropies of the kernel matrix of a class's images, lower bounds on the contextual information H(X|Y).

    K_ij = exp(-||f_i - f_j||^2 / 8 s^2),   lambda = eigenvalues of K/n
    Vendi     S(K/n) = -sum_k lambda_k log lambda_k
    Renyi-2   -log mean_ij K_ij^2 = -log tr (K/n)^2  <=  S(K/n)

(Friedman & Dieng, TMLR 2023, exponentiate the first; Giraldo et al. 2015 for Renyi orders.) Why lower bounds. K has a
unit diagonal, so K_ij = <phi_i, phi_j> for unit vectors, and K/n has the spectrum of rho = (1/n) sum |phi_i><phi_i|, n
pure states mixed: the von Neumann entropy of such a mixture is at most the entropy of its weights, S <= log n. S is
concave, so for images drawn independently E S(rho) <= S(E rho) <= H(X|Y). Renyi entropies fall with their order, so
order 2 has the same guarantee without an eigendecomposition. Neither bounds I(J;Z) of C2's channel: by Holevo's theorem
S may exceed it. Images sampled together: "at most log n" stands, the statement about the population motivates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from infodistill.information.class_sets import by_class, in_floats, pair_distances, require_positive
from infodistill.information.code_mixtures import Feature
from infodistill.types import Batch


def renyi2_entropy(f: Float[Tensor, "*k n d"], variance: float) -> Float[Tensor, "*k"]:
    """-log mean_ij K_ij^2, K_ij = exp(-||f_i - f_j||^2 / 8 variance), nats per set.

    Sign: larger is more diverse. Range: 0 (all equal, or n = 1, there with gradient exactly 0) to log n. Bias: a lower
    bound on H(X|Y) for independent images; see the module.

    Args:
        f: (..., n, d) features of the images of a class; leading dimensions are classes.
        variance: s^2 > 0, in squared units of the features.

    Raises:
        ValueError: the variance is not positive.
    """
    return math.log(f.shape[-2]) - _log_overlap(f, variance).logsumexp(-1)


def vendi_entropy(f: Float[Tensor, "*k n d"], variance: float) -> Float[Tensor, "*k"]:
    """S(K/n), the log of the Vendi score of the Gaussian kernel, nats per set; cost n^3.

    Sign, range and bias as `renyi2_entropy`, never below it. Eigenvalues under the rounding of the type count as 0, in
    value and gradient: coincident images have a finite gradient (0).

    Raises:
        ValueError: the variance is not positive.
    """
    eigenvalues = torch.linalg.eigvalsh(_kernel(f, variance) / f.shape[-2])
    kept = torch.where(eigenvalues > torch.finfo(eigenvalues.dtype).eps, eigenvalues, 1.0)
    return -torch.xlogy(kept, kept).sum(-1)


@dataclass(frozen=True)
class RenyiEntropy:
    """C5: -sum_y n H2_y over the classes in view, H2 the Renyi-2 entropy of the kernel, a cost. Inert at one image.

    Args:
        feature: what distances are measured in.
        variance: s^2 of the kernel, from `bandwidth_from_pairs`.
    """

    feature: Feature
    variance: float

    def __post_init__(self) -> None:
        require_positive("the variance", self.variance)

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        del real
        sets = by_class(self.feature(syn.x), syn.y)
        return -sets.shape[1] * renyi2_entropy(sets, self.variance).sum()

    def per_image(self, syn: Batch, real: Batch) -> Tensor:
        """(n,) nats: -log mean_j K_ij^2 of every image; the class's value is their soft minimum."""
        del real
        overlap = _log_overlap(by_class(self.feature(syn.x), syn.y), self.variance)
        return -overlap.flatten()


@dataclass(frozen=True)
class VendiEntropy:
    """C5: -sum_y n S_y over the classes in view, S the von Neumann entropy of the kernel, a cost. Inert at one image.

    Args:
        feature: what distances are measured in.
        variance: s^2 of the kernel, from `bandwidth_from_pairs`.
    """

    feature: Feature
    variance: float

    def __post_init__(self) -> None:
        require_positive("the variance", self.variance)

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        del real
        sets = by_class(self.feature(syn.x), syn.y)
        return -sets.shape[1] * vendi_entropy(sets, self.variance).sum()

    @torch.no_grad()
    def per_image(self, syn: Batch, real: Batch) -> Tensor:
        """(n,) nats: <phi_i| -log rho |phi_i>, whose mean over a class is its entropy."""
        del real
        sets = by_class(self.feature(syn.x), syn.y)
        eigenvalues, vectors = torch.linalg.eigh(_kernel(sets, self.variance) / sets.shape[1])
        kept = torch.where(eigenvalues > torch.finfo(eigenvalues.dtype).eps, eigenvalues, 1.0)
        return -sets.shape[1] * (vectors.square() @ torch.xlogy(kept, kept)[..., None]).flatten()


def _kernel(f: Tensor, variance: float) -> Tensor:
    require_positive("the variance", variance)
    return (pair_distances(in_floats(f)) / (-8 * variance)).exp()


def _log_overlap(f: Tensor, variance: float) -> Tensor:
    """(..., n): log (1/n) sum_j K_ij^2."""
    require_positive("the variance", variance)
    return (pair_distances(in_floats(f)) / (-4 * variance)).logsumexp(-1) - math.log(f.shape[-2])
