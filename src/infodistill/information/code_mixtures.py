"""Codes as mixtures: a class of codes is a mixture of bumps exp(-||f(x) - f(s_j)||^2 / h) around its members.

What the set decoder (P3) and the codebook (C7) share. Both normalise over codes, so ||f(x)||^2 cancels: what is
computed is the affinity (2 <f(x), f(s_j)> - ||f(s_j)||^2) / h, one matrix product, with real rows last for speed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from infodistill.information.class_sets import class_major, in_floats
from infodistill.types import Batch

Feature = Callable[[Tensor], Tensor]
"""feature(x (n, c, h, w)) -> (n, d), differentiable."""

ENTRIES = 2**23
"""Affinities held at a time (32 MiB in float32): more real rows are gone through in pieces, also under a gradient."""


def about(real_f: Tensor, *codes: Tensor) -> tuple[Tensor, ...]:
    """The same features, in float32 or better, from the mean of the real ones.

    Inner products do not cancel from large numbers then.
    """
    real_f = in_floats(real_f)
    origin = real_f.mean(0)
    return (real_f - origin, *(in_floats(code).to(real_f) - origin for code in codes))


def affinities(
    codes: Float[Tensor, "k n d"], real_f: Float[Tensor, "*k r d"], log_weight: Float[Tensor, "k n"], bandwidth: float
) -> Float[Tensor, "k n r"]:
    """Log weight - ||f - code||^2 / h, short of -||f||^2 / h, for rows common to all classes or of each."""
    bias = log_weight - codes.square().sum(2) / bandwidth
    return torch.matmul(codes * (2 / bandwidth), real_f.mT).add_(bias[..., None])


def equal_log_weights(codes: Tensor) -> Tensor:
    """Log weights (k, n) of sets whose members count equally."""
    return codes.new_full(codes.shape[:2], -math.log(codes.shape[1]))


def mixture_scores(
    codes: Float[Tensor, "k n d"], real_f: Float[Tensor, "r d"], log_weight: Float[Tensor, "k n"], bandwidth: float
) -> Float[Tensor, "k r"]:
    """The log of every class's mixture at every real row, short of -||f||^2 / h.

    Real rows are taken in pieces, which are recomputed in backward.
    """
    pieces = real_f.split(max(1, ENTRIES // log_weight.numel()))
    if len(pieces) == 1 or not (torch.is_grad_enabled() and (codes.requires_grad or real_f.requires_grad)):
        return torch.cat([_mixture(codes, piece, log_weight, bandwidth) for piece in pieces], 1)
    parts = [
        checkpoint(_mixture, codes, piece, log_weight, bandwidth, use_reentrant=False, preserve_rng_state=False)
        for piece in pieces
    ]
    return torch.cat(parts, 1)


def logsumexp_of_others(scores: Float[Tensor, "k r"]) -> Float[Tensor, "k r"]:
    """Row c: logsumexp of all rows but c; nothing is subtracted that is more than half of the whole.

    For constants: no gradient should pass.
    """
    whole = scores.logsumexp(0)
    others = whole + torch.log1p(-(scores - whole).exp())
    # The largest is left out of the sum itself; every other share is at most 1/2, where log1p is exact.
    top = scores.argmax(0, keepdim=True)
    return others.scatter(0, top, scores.scatter(0, top, -torch.inf).logsumexp(0, keepdim=True))


def read_features(feature: Feature, syn: Batch, real: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Labels (k,) and features (k, n, d) of the synthetic images, features (r, d) of the real ones without gradient."""
    labels = class_major(syn.y)
    with torch.no_grad():
        real_f = feature(real.x)
    return labels, feature(syn.x).unflatten(0, (len(labels), -1)), real_f


def shares(real_f: Tensor, real_y: Tensor, codes: Tensor, labels: Tensor, bandwidth: float) -> Tensor:
    """(k, n, r): how an image's responsibility for real images of its class is spread over them; sums to 1 over r."""
    real_f, codes = about(real_f, codes)
    log_share = affinities(codes, real_f, equal_log_weights(codes), bandwidth).log_softmax(1)
    return log_share.masked_fill((real_y != labels[:, None])[:, None], -torch.inf).softmax(2)


def _mixture(codes: Tensor, real_f: Tensor, log_weight: Tensor, bandwidth: float) -> Tensor:
    return affinities(codes, real_f, log_weight, bandwidth).logsumexp(1)
