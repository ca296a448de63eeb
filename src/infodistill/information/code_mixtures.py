"""Codes as mixtures: a class of codes is a mixture of bumps exp(-||f(x) - f(s_j)||^2 / h) around its members.

What the set decoder (P3) and the codebook (C7) share: one table of distances between real rows and codes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from infodistill.information.class_sets import class_major, squared_distances
from infodistill.types import Batch

Feature = Callable[[Tensor], Tensor]
"""feature(x (n, c, h, w)) -> (n, d), differentiable."""

ENTRIES = 2**23
"""Distances held at a time (32 MiB in float32): more real rows are gone through in pieces, also under a gradient."""


def equal_log_weights(codes: Tensor) -> Tensor:
    """Log weights (k, n) of sets whose members count equally."""
    return codes.new_full(codes.shape[:2], -math.log(codes.shape[1]))


def mixture_scores(real_f: Tensor, codes: Tensor, log_weight: Tensor, bandwidth: float) -> Tensor:
    """(r, k): log sum_j w_kj exp(-||f - code_kj||^2 / h), real rows in pieces that are recomputed in backward."""
    rows = max(1, ENTRIES // log_weight.numel())
    pieces = real_f.split(rows)
    if len(pieces) == 1 or not (torch.is_grad_enabled() and (codes.requires_grad or real_f.requires_grad)):
        return torch.cat([_mixture(piece, codes, log_weight, bandwidth) for piece in pieces])
    return torch.cat(
        [
            checkpoint(_mixture, piece, codes, log_weight, bandwidth, use_reentrant=False, preserve_rng_state=False)
            for piece in pieces
        ]
    )


def _mixture(real_f: Tensor, codes: Tensor, log_weight: Tensor, bandwidth: float) -> Tensor:
    distance = squared_distances(real_f, codes.flatten(0, 1)).unflatten(1, log_weight.shape)
    return (distance / -bandwidth + log_weight).logsumexp(2)


def logsumexp_of_others(scores: Tensor) -> Tensor:
    """Column c: logsumexp of all columns but c, from the sums before and after it; no difference of exponentials."""
    edge = scores.new_full((len(scores), 1), -torch.inf)
    before = torch.cat([edge, scores.logcumsumexp(1)[:, :-1]], 1)
    after = torch.cat([scores.flip(1).logcumsumexp(1).flip(1)[:, 1:], edge], 1)
    return torch.logaddexp(before, after)


def read_features(feature: Feature, syn: Batch, real: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Labels (k,) and features (k, n, d) of the synthetic images, features (r, d) of the real ones without gradient."""
    labels = class_major(syn.y)
    with torch.no_grad():
        real_f = feature(real.x)
    return labels, feature(syn.x).unflatten(0, (len(labels), -1)), real_f


def shares(real_f: Tensor, real_y: Tensor, codes: Tensor, labels: Tensor, bandwidth: float) -> Tensor:
    """(r, k, n): of image n's class, how its responsibility for real images is spread over them; sums to 1 over r."""
    distance = squared_distances(real_f, codes.flatten(0, 1)).unflatten(1, codes.shape[:2])
    log_share = (distance / -bandwidth).log_softmax(2)
    return log_share.masked_fill((real_y[:, None] != labels)[..., None], -torch.inf).softmax(0)
