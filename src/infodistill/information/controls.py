"""Negative controls: what an information term must beat before an effect is called information.

Run at the same gradient ratio as the term itself. Shuffled labels are the decisive one. A third control, teachers with
random weights, is another source of the same term (`infodistill.sources.teachers`).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from infodistill.seeding import stream
from infodistill.types import Batch, Term


@dataclass(frozen=True)
class ShuffledLabels:
    """A term that sees the synthetic images under each other's labels: one fixed keyed permutation, at every step.

    Images, label counts and the value scale of the term stay; which images it holds to be of one class is broken
    (about one image in C keeps its class). A term with a `Looks` sees augmentation by the shuffled class.

    Args:
        term: an information term; its sources are found through this field.
        seed: key of the permutation, which depends on the number of images and nothing else.
    """

    term: Term
    seed: int = 0

    @property
    def looks(self) -> Any:
        """The look of the term inside, if it has one."""
        return getattr(self.term, "looks", None)

    @property
    def reads(self) -> tuple[int, ...] | None:
        """The stages the term inside reads."""
        return getattr(self.term, "reads", (-1,))

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        if not bool((syn.y != syn.y[0]).any()):
            raise ValueError("shuffled labels need more than one class in view: let the control see the whole set")
        order = torch.randperm(len(syn), generator=stream(self.seed, "control.labels", 0, len(syn))).to(syn.y.device)
        return self.term(replace(syn, y=syn.y[order], target=syn.target[order]), real)

    def check(self, syn: Any) -> None:
        """Whatever the term inside refuses."""
        inner = getattr(self.term, "check", None)
        if inner is not None:
            inner(syn)


@dataclass(frozen=True)
class RandomDirection:
    """<x, d> / |d| for one fixed Gaussian direction d over the whole set: a force of norm 1 that carries nothing.

    Fixed, because a fresh direction at every step averages out and is harmless. Keyed by (seed, shape of the images in
    view); unit: that of the images' value space.
    """

    seed: int = 0

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        del real
        return (syn.x * _direction(self.seed, tuple(syn.x.shape)).to(syn.x)).sum()


@functools.lru_cache(maxsize=4)
def _direction(seed: int, shape: tuple[int, ...]) -> Tensor:
    """A unit Gaussian direction on the CPU; the same tensor for the same arguments."""
    d = torch.randn(shape, generator=stream(seed, "control.direction"))
    return d / d.norm()
