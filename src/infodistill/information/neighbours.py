"""Nearest neighbours in a product of spaces: what the estimators of `ksg` count. No information theory here.

A sample has sides, (x, y) or (x, y, z). The distance of two samples is the largest of their distances in the sides.
Within a side the papers leave the norm free; ours, by the number of columns of all sides together:

    up to 12 columns    the maximum norm, by scikit-learn's KD-trees in float64: about n log n, little memory
    more                the Euclidean norm, by matrix products over blocks of rows: n^2 d, every pair is looked at

because trees do not prune in many dimensions, and a maximum norm of every pair costs ten times the matrix product. The
blocks keep the memory at `PAIRS` pairs of each side at a time, whatever n is; they run on the device of the samples, in
float64 whatever the samples are: the product loses the distance of near pairs where one column spreads far (in float32
a pair 1 apart, among samples at +-10,000), and float64 costs less than twice the time. What is left, about 1e-15 of
the largest squared distance from the mean, is less than the square of a float32 sample's own rounding there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor

TREE_COLUMNS = 12
PAIRS = 5 * 2**20
"""Pairs of one block, 40 MiB of float64: measured 0.15 GiB in all for one side, 0.3 for two, 0.5 for three.

Above 32 MiB glibc maps a block and gives it back at once; smaller ones stay in a heap that grew to 0.9 GiB."""

Groups = Sequence[tuple[int, ...]]
"""Which sides every count is over: ((0, 2), (1, 2), (2,)) counts in (x, z), in (y, z) and in z."""


def cube_counts(sides: Sequence[Tensor], k: int, groups: Groups) -> list[Tensor]:
    """How many others lie strictly closer in each group of sides than the k-th neighbour in all sides, each (n,)."""
    if _columns(sides) > TREE_COLUMNS:
        return _gather(_cube_block(block, k, groups) for block in _blocks(sides))
    radius = np.nextafter(_tree(sides).query(_joined(sides), k=k + 1)[0][:, -1], 0)
    return [_tree_count([sides[index] for index in group], radius) for group in groups]


def rectangle_counts(sides: Sequence[Tensor], k: int) -> list[Tensor]:
    """How many others lie no further in each side than the furthest of the k neighbours does there, each (n,)."""
    if _columns(sides) > TREE_COLUMNS:
        return _gather(_rectangle_block(block, k) for block in _blocks(sides))
    # Others only: the tree may name a coincident sample before the point itself.
    near = _tree(sides).query(_joined(sides), k=k + 1)[1]
    reach = [np.abs(rows[near] - rows[:, None]).max((1, 2)) for rows in map(_array, sides)]
    return [_tree_count([side], extent) for side, extent in zip(sides, reach, strict=True)]


def class_counts_within(x: Tensor, labels: Tensor, k: int) -> Tensor:
    """How many others of any class lie strictly closer than the k-th neighbour of the own class, (n,)."""
    if _columns([x]) > TREE_COLUMNS:
        return _gather(_class_block(block, rows, labels, k) for rows, block in _numbered(x))[0]
    radius = np.empty(len(x))
    for label in labels.unique().tolist():
        own = (labels == label).cpu()
        radius[own.numpy()] = _tree([x[own]]).query(_joined([x[own]]), k=k + 1)[0][:, -1]
    return _tree_count([x], np.nextafter(radius, 0))


def neighbour_distances(x: Tensor, k: int) -> Tensor:
    """The Euclidean distance of every sample to its k-th neighbour, (n,)."""
    if _columns([x]) > TREE_COLUMNS:
        return _gather([near.topk(k, 1, largest=False).values[:, -1].sqrt()] for _, near in _numbered(x))[0]
    from sklearn.neighbors import KDTree  # takes a second to import

    return torch.from_numpy(KDTree(_array(x)).query(_array(x), k=k + 1)[0][:, -1])


def distance_blocks(x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The indices (m,) of a block of rows and their squared Euclidean distances to all rows, (m, n); 0 to themselves.

    By matrix products in float64: an error of about 1e-15 of the largest squared distance from the mean.
    """
    rows = (x.detach().flatten(1) if x.ndim > 1 else x.detach()[:, None]).double()
    rows = rows - rows.mean(0)  # near the origin the terms of the binomial do not cancel from large numbers
    squares = rows.square().sum(1)
    for index in torch.arange(len(rows), device=rows.device).split(max(1, PAIRS // len(rows))):
        near = torch.addmm(squares, rows[index], rows.T, alpha=-2).add_(squares[index][:, None]).clamp_min_(0)
        near[torch.arange(len(index), device=rows.device), index] = 0
        yield index, near


def most_copies(sides: Sequence[Tensor]) -> int:
    """How often the most frequent sample occurs, all sides together."""
    return max(Counter(map(_digest, zip(*(_plain(side) for side in sides), strict=True))).values())


def _cube_block(near: Sequence[Tensor], k: int, groups: Groups) -> list[Tensor]:
    radius = _largest(near).topk(k, 1, largest=False).values[:, -1:]
    return [(_largest([near[index] for index in group]) < radius).sum(1) for group in groups]


def _rectangle_block(near: Sequence[Tensor], k: int) -> list[Tensor]:
    index = _largest(near).topk(k, 1, largest=False).indices
    return [(side <= side.gather(1, index).amax(1, keepdim=True)).sum(1) for side in near]


def _class_block(near: Tensor, rows: Tensor, labels: Tensor, k: int) -> list[Tensor]:
    other = labels[rows][:, None] != labels
    radius = near.masked_fill(other, torch.inf).topk(k, 1, largest=False).values[:, -1:]
    return [(near < radius).sum(1)]


def _blocks(sides: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Squared distances (m, n) of a block of samples to all, for every side; a sample is infinitely far from itself."""
    for blocks in zip(*(_numbered(side) for side in sides), strict=True):
        yield [block for _, block in blocks]


def _numbered(side: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    for rows, near in distance_blocks(side):
        yield rows, near.index_put_((torch.arange(len(rows), device=rows.device), rows), near.new_tensor(torch.inf))


def _largest(near: Sequence[Tensor]) -> Tensor:
    first, *rest = near
    for side in rest:
        first = torch.maximum(first, side)
    return first


def _gather(blocks: Iterator[list[Tensor]]) -> list[Tensor]:
    return [torch.cat(parts) for parts in zip(*blocks, strict=True)]


def _columns(sides: Sequence[Tensor]) -> int:
    return sum(side[0].numel() for side in sides)


def _array(side: Tensor) -> Any:
    rows = side.detach().to("cpu", torch.float64).numpy()
    return rows.reshape(len(rows), -1)


def _plain(side: Tensor) -> Any:
    """Rows in their own precision, -0 written as 0: equal bytes are equal values."""
    return side.detach().to(torch.promote_types(side.dtype, torch.float32)).cpu().numpy() + 0


def _digest(parts: tuple[Any, ...]) -> bytes:
    return blake2b(b"".join(np.ascontiguousarray(part).tobytes() for part in parts), digest_size=16).digest()


def _joined(sides: Sequence[Tensor]) -> Any:
    return np.hstack([_array(side) for side in sides])


def _tree(sides: Sequence[Tensor]) -> Any:
    from sklearn.neighbors import KDTree  # takes a second to import

    return KDTree(_joined(sides), metric="chebyshev")


def _tree_count(sides: Sequence[Tensor], radius: Any) -> Tensor:
    """Others no further than the radius, (n,): the tree counts a sample itself."""
    return torch.from_numpy(_tree(sides).query_radius(_joined(sides), radius, count_only=True)) - 1
