"""The two relations of IID, one class, one image, one position at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def covariance(maps: Sequence[Tensor]) -> Tensor:
    """(1/n) sum_i sum_p (X_i[:, p] - M[:, p]) (X_i[:, p] - M[:, p])^T over the maps (c, h, w) of one class."""
    n, channels = len(maps), len(maps[0])
    mean = sum(maps) / n
    total = torch.zeros(channels, channels, dtype=maps[0].dtype)
    for one in maps:
        gap = one - mean
        for row in range(gap.shape[1]):
            for column in range(gap.shape[2]):
                total = total + torch.outer(gap[:, row, column], gap[:, row, column]) / n
    return total


def covariance_gap(syn: Sequence[Sequence[Tensor]], real: Sequence[Sequence[Tensor]]) -> Tensor:
    """Sum over classes of the squared Frobenius distance; syn[c] and real[c] are the maps of class c."""
    return sum(((covariance(r) - covariance(s)) ** 2).sum() for s, r in zip(syn, real, strict=True))


def centralisation(features: Sequence[Sequence[Tensor]]) -> Tensor:
    """Sum over classes and images of the squared distance to the class mean, features[c] being those of class c."""
    total = torch.zeros((), dtype=features[0][0].dtype)
    for members in features:
        mean = sum(members) / len(members)
        for one in members:
            total = total + ((one - mean) ** 2).sum()
    return total
