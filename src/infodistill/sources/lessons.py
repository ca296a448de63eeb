"""What a network is trained on between two of its updates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator

from infodistill.types import Batch, Rows

Lesson = Callable[[Batch, Rows, Generator], Rows]
"""lesson(set, real data, generator) -> the rows a network is trained on between two of its updates."""


def whole_set(syn: Batch, real: Rows, generator: Generator) -> Rows:
    """The synthetic set as it stands (DC, DSA)."""
    del real, generator
    return syn


@dataclass(frozen=True)
class SyntheticRows:
    """At most `most` random rows of the synthetic set, in keyed order."""

    most: int = 1000

    def __call__(self, syn: Batch, real: Rows, generator: Generator) -> Rows:
        del real
        return syn.rows(torch.randperm(len(syn), generator=generator)[: self.most])


@dataclass(frozen=True)
class RealRows:
    """At most `most` random rows of the real data, in keyed order."""

    most: int = 1000

    def __call__(self, syn: Batch, real: Rows, generator: Generator) -> Rows:
        del syn
        return real.rows(torch.randperm(len(real), generator=generator)[: self.most])
