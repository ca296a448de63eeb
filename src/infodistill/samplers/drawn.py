"""Samplers that follow from their arguments alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from infodistill.real import RealData
from infodistill.seeding import stream

Sampler = Callable[[RealData, int, int, int], Tensor]
"""sampler(real, seed, step, per_class) -> rows of `real`, int64 (k * per_class,), class-major, on the CPU."""


def uniform(real: RealData, seed: int, step: int, per_class: int) -> Tensor:
    """Distinct random images of every class, drawn afresh at every step (DC, DSA, DM)."""
    return real.draw(seed, step, per_class)


@dataclass(frozen=True)
class Cyclic:
    """Random passes through every class without replacement: an image comes back when all others have been seen (IDC).

    What is left of a pass beyond whole batches is dropped; a class smaller than a batch gives all its images, cycled.
    Keyed by (seed, owner, pass, class), so a step does not depend on those before.
    """

    owner: str = "real.cyclic"

    def __call__(self, real: RealData, seed: int, step: int, per_class: int) -> Tensor:
        rows: list[Tensor] = []
        for label, members in enumerate(real.class_rows):
            batches = len(members) // per_class
            if batches:
                turn, place = divmod(step, batches)
                order = torch.randperm(len(members), generator=stream(seed, self.owner, turn, label))
                rows.append(members[order[place * per_class : (place + 1) * per_class]])
            else:
                rows.append(real.draw(seed, step, per_class, [label], self.owner))
        return torch.cat(rows)
