"""Kolchinsky-Tracey bounds of large samples: what Z = f + N(0, variance I) tells of the row and of the class, in nats.

    lower   -(1/n) sum_i log (1/n) sum_j exp(-||f_i - f_j||^2 / 8 variance)       (Bhattacharyya)
    upper   -(1/n) sum_i log (1/n) sum_j exp(-||f_i - f_j||^2 / 2 variance)       (KL)

lie on either side of I(J; Z), J uniform on the n rows (`mixtures` has the reasons; the same numbers there, with
gradients and n^2 memory). The class C is a function of the row J, so

    I(C; Z) = I(J; Z) - sum_c p_c I(J; Z | C = c)

and the lower bound of the first less the upper bounds of the others is a lower bound, and the other way round (the use
Kolchinsky, Tracey & Wolpert 2019 make of them for networks). *What it is of.* The law of these n rows through the
channel, for which the bounds hold exactly. For the law they were drawn from, I(J; Z) has an expectation of at most
I(X; Z) and saturates at log n; with few rows and little noise I(C; Z) is H(C) whatever the class says: choose a
variance at which a row overlaps with many (`bandwidth_from_pairs`). *Tightness.* The two bounds on I(J; Z) meet where
rows coincide or are far apart. Where the rows of a class spread over a few widths of the noise the gap is wide.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from infodistill.information.class_sets import require_finite, require_positive
from infodistill.information.neighbours import distance_blocks
from infodistill.information.usable import label_entropy


class Bounds(NamedTuple):
    """A number of nats lies between these."""

    lower: float
    upper: float


@torch.no_grad()
def row_information_bounds(f: Float[Tensor, "n ..."], variance: float) -> Bounds:
    """Bounds on I(J; Z) in nats: how well the rows are told apart through the channel. Both in 0..log n.

    Args:
        f: (n, d) features, or (n,).
        variance: of the channel's noise, > 0, in squared units of the features.

    Raises:
        ValueError: the variance is not positive.
    """
    rows = torch.zeros(len(f), dtype=torch.int64, device=f.device)
    return _told_apart(f, rows, variance)[0]


@torch.no_grad()
def channel_class_bounds(f: Float[Tensor, "n ..."], labels: Int[Tensor, " n"], variance: float) -> Bounds:
    """Bounds on I(C; Z) in nats for these rows: what the noisy feature tells of the class. Both in 0..H(C).

    For fixed rows no sampling enters: I(C; Z) of the mixture they make lies between. See above for their law's.

    Args:
        f: (n, d) features, or (n,).
        labels: (n,) classes, counted as often as they occur.
        variance: of the channel's noise, > 0, in squared units of the features.

    Raises:
        ValueError: the lengths differ, or the variance is not positive.
    """
    if len(f) != len(labels):
        raise ValueError(f"f and labels need as many rows as each other, got {len(f)} and {len(labels)}")
    all_rows, within = _told_apart(f, labels, variance)
    ceiling = label_entropy(labels)
    return Bounds(
        min(max(all_rows.lower - within.upper, 0.0), ceiling), min(max(all_rows.upper - within.lower, 0.0), ceiling)
    )


def _told_apart(f: Tensor, labels: Tensor, variance: float) -> tuple[Bounds, Bounds]:
    """Bounds on I(J; Z) and on I(J; Z | C)."""
    require_positive("the variance", variance)
    require_finite("f", f)
    _, index, sizes = labels.unique(return_inverse=True, return_counts=True)
    among = torch.tensor([math.log(len(f)), float(sizes.double().log()[index].mean())] * 2, dtype=torch.float64)
    total = torch.zeros(4, dtype=torch.float64)
    for rows, near in distance_blocks(f):
        other = index[rows][:, None] != index
        for place, scale in ((0, 8 * variance), (2, 2 * variance)):
            log_overlap = near / -scale
            total[place] += log_overlap.logsumexp(1).double().sum().cpu()
            total[place + 1] += log_overlap.masked_fill_(other, -torch.inf).logsumexp(1).double().sum().cpu()
    lower, lower_within, upper, upper_within = (among - total / len(f)).tolist()
    return Bounds(lower, upper), Bounds(lower_within, upper_within)
