"""The controls of a profile that are made of the set itself: its images under wrong labels."""

from __future__ import annotations

import torch
from torch import Tensor

from infodistill.measures.reading import Undefined
from infodistill.seeding import stream
from infodistill.types import Batch


def shuffled(batch: Batch, seed: int, step: int) -> Batch:
    """The same images with the labels, soft ones included, dealt out anew; at most 1 / classes of them stay right.

    Every class's images get the labels of all classes as evenly as their number allows, so that image and label share
    as little as can be. A plain random order does not do: of one image a class it is often the order there was.

    Raises:
        Undefined: the set has one class, or so much of one that this share cannot be reached.
    """
    classes = len(batch.y.unique())
    if classes < 2:
        raise Undefined("labels cannot be wrong in a set of one class")
    index = dealt(batch.y.cpu(), stream(seed, "measure.shuffled", step))
    right = int((batch.y.cpu()[index] == batch.y.cpu()).sum())
    if right * classes > len(batch):
        raise Undefined(f"{right} of {len(batch)} images would keep their label: one class has too much of the set")
    index = index.to(batch.y.device)
    return Batch(batch.x, batch.y[index], batch.target[index], batch.space, batch.noise, batch.kind)


def dealt(y: Tensor, generator: torch.Generator) -> Tensor:
    """For every row the row whose label it gets, (n,): round j takes one image of each class in a keyed cycle of the
    classes that have some left, and moves labels on by 1 + j places; what is still right after that is exchanged.
    """
    order = torch.randperm(len(y), generator=generator)
    members = [order[y[order] == c] for c in y.unique()]
    members = [members[int(i)] for i in torch.randperm(len(members), generator=generator)]
    index = torch.empty_like(order)
    for j in range(max(len(rows) for rows in members)):
        group = torch.stack([rows[j] for rows in members if len(rows) > j])
        index[group] = group.roll(-(1 + j) % len(group))
    return _exchanged(index, y)


def _exchanged(index: Tensor, y: Tensor) -> Tensor:
    """Unequal classes leave a surplus under its own label: exchange with rows that neither are nor have that label."""
    index, most = index.clone(), len(y) // len(y.unique())
    for row in (y[index] == y).nonzero().flatten()[most:].tolist():
        others = ((y != y[row]) & (y[index] != y[row])).nonzero().flatten()
        if len(others):
            other = int(others[0])
            index[[row, other]] = index[[other, row]]
    return index
