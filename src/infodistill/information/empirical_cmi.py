"""CMI of a sample of network outputs, features or logits, about its own or the real class centroids, in nats.

    own     (1/n) sum_i KL(P_i || Q^{y_i}),   Q^y the mean of P over the sample's class y: I(X; Z | Y) of the sample
    real    the same with Q*^y, the mean over *real* rows of class y: own + sum_y p_y KL(Q^y || Q*^y)

P_i = softmax(z_i / T). The numbers of `cmi` (terms to minimise) without gradients, in two passes over blocks of rows:
one k-vector in float64 per class, and a block, are all the memory. What of a network goes in is the caller's: its
penultimate feature is what the paper takes (Zhong et al., ICLR 2025), its logits make Z the predicted class.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from infodistill.information.class_sets import class_counts
from infodistill.information.cmi import divergence_to_centroids

BLOCK = 4096
"""Rows taken to float64 at a time."""


def sample_cmi(z: Float[Tensor, "n k"], y: Int[Tensor, " n"], temperature: float = 1.0) -> float:
    """CMI about the sample's own centroids in nats: a plug-in estimate of I(X; Z | Y), Z ~ softmax(z / T).

    Sign: larger means the members of a class differ more. Bias: downwards, by about
    (k - 1) / 2 n_c at most; 0 at one row per class. Range: 0 to min(log n_c, log k).

    Args:
        z: (n, k) features or logits.
        y: (n,) classes.
        temperature: T > 0.

    Raises:
        ValueError: the lengths differ, there are no rows, or the temperature is not positive.
    """
    return sample_cmi_about(z, y, z, y, temperature=temperature)


def sample_cmi_about(
    z: Float[Tensor, "n k"],
    y: Int[Tensor, " n"],
    real_z: Float[Tensor, "m k"],
    real_y: Int[Tensor, " m"],
    *,
    temperature: float = 1.0,
) -> float:
    """Mean divergence from the centroids of *real* rows in nats: at least `sample_cmi`, by the shift of the centroids.

    An upper bound on I(X; Z | Y) of the sample (above it by the mean of KL(Q^y || Q*^y)); defined at one row per
    class. Range: 0 upwards without limit; a probability of a real centroid below 1e-308 counts as that.

    Args:
        z: (n, k) features or logits of the sample.
        y: (n,) its classes.
        real_z: (m, k) the same outputs of real rows.
        real_y: (m,) their classes, every class of `y` among them.
        temperature: T > 0.

    Raises:
        ValueError: lengths differ, there are no rows, a class has no real rows, or the temperature is not positive.
    """
    if len(z) != len(y) or len(real_z) != len(real_y) or not len(z):
        sizes = f"{len(z)} and {len(y)}, {len(real_z)} and {len(real_y)}"
        raise ValueError(f"outputs and classes need as many rows as each other, and some, got {sizes}")
    if not temperature > 0:
        raise ValueError(f"the temperature must be positive, got {temperature}")
    classes, index = y.unique(return_inverse=True)
    kept = torch.isin(real_y, classes)
    real_index = torch.searchsorted(classes, real_y[kept])
    counts = class_counts(real_index, len(classes)).double()
    centroids = torch.zeros(len(classes), z.shape[1], dtype=torch.float64, device=z.device)
    for rows, p in _blocks(real_z, kept.nonzero().flatten(), temperature):
        centroids.index_add_(0, real_index[rows], p)
    centroids /= counts[:, None]
    total = 0.0
    for rows, p in _blocks(z, torch.arange(len(z), device=z.device), temperature):
        member = torch.nn.functional.one_hot(index[rows], len(classes)).to(p)
        total += float(divergence_to_centroids(p, centroids, member)) * len(p)
    return total / len(z)


@torch.no_grad()
def _blocks(z: Tensor, kept: Tensor, temperature: float) -> Iterator[tuple[Tensor, Tensor]]:
    """Places (b,) among the kept rows, and P of those rows, (b, k) float64."""
    for places in torch.arange(len(kept), device=z.device).split(BLOCK):
        yield places, (z[kept[places]].detach().double() / temperature).softmax(1)
