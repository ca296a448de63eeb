"""Bandwidths read from real data: how far apart two images must be to count as different. Our choices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from infodistill.information.class_sets import in_floats, squared_distances
from infodistill.information.set_decoder import set_decoder_information

FRACTIONS = (0.01, 0.02, 0.03, 0.06, 0.1, 0.2, 0.3, 0.6, 1.0)
"""Bandwidths tried by `tightest_bandwidth`, in units of the median squared distance of real pairs."""

PAIRS = 2**23
"""Pairs a median is taken over, at most."""


def bandwidth_from_pairs(d2: float, n: int) -> float:
    """sigma^2 = d^2 / (8 log(n + 1)) of the contextual bounds (C2, C5) for n images a class.

    Two images at the distance of a typical real pair then overlap by exp(-d^2 / 8 sigma^2) = 1 / (n + 1): n images
    spread like real ones are just about told apart, so neither the bound nor its force is saturated.

    Raises:
        ValueError: d2 or n is not positive.
    """
    if not (d2 > 0 and n >= 1):
        raise ValueError(f"a bandwidth needs a positive distance and n >= 1 images, got d2 = {d2} and n = {n}")
    return d2 / (8 * math.log(n + 1))


@torch.no_grad()
def median_pair_distance(real_f: Float[Tensor, "r d"], real_y: Int[Tensor, " r"], *, most: int = 1000) -> float:
    """d^2, the median squared distance of real images of one class, pooled over classes: the unit of bandwidths.

    Args:
        real_f: (r, d) features.
        real_y: (r,) classes.
        most: of a larger class, this many evenly spaced rows are used, or fewer: `PAIRS` over all classes.

    Raises:
        ValueError: no class has two rows.
    """
    labels = real_y.unique()
    most = min(most, math.isqrt(2 * PAIRS // max(1, len(labels))))
    kept = [real_f.new_empty(0)]
    for label in labels:
        rows = (real_y == label).nonzero().flatten()
        rows = rows[torch.linspace(0, len(rows) - 1, min(most, len(rows))).round().long().to(rows.device)]
        distance = squared_distances(in_floats(real_f[rows]), in_floats(real_f[rows]))
        kept.append(distance[torch.ones_like(distance, dtype=torch.bool).triu(1)])
    pairs = torch.cat(kept)
    if not len(pairs):
        raise ValueError(f"a distance within classes needs two real images of one class, got {len(real_y)} images")
    return float(pairs.median())


@torch.no_grad()
def tightest_bandwidth(
    real_f: Float[Tensor, "r d"],
    real_y: Int[Tensor, " r"],
    code_f: Float[Tensor, "m d"],
    code_y: Int[Tensor, " m"],
    *,
    classes: int,
    fractions: Sequence[float] = FRACTIONS,
    slack: float = 0.0,
) -> tuple[float, float]:
    """(h, J): the bandwidth among fractions * d^2 at which these codes bound the real I(X;Y) most tightly.

    Codes are k-means centres of real features, say: no sampling and no test data. d^2 is `median_pair_distance`. Of
    bandwidths whose bounds lie within `slack` nats of the best, the widest: where classes are so far apart that many
    decode them, a narrow one has no gradient left.
    """
    unit = median_pair_distance(real_f, real_y)

    def bound(h: float) -> float:
        return float(set_decoder_information(real_f, real_y, code_f, code_y, bandwidth=h, classes=classes))

    found = [(fraction * unit, bound(fraction * unit)) for fraction in fractions]
    best = max(value for _, value in found)
    return max(pair for pair in found if pair[1] >= best - slack)
