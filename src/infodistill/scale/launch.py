"""Whether torchrun started this process, and as which of how many. Reads the environment; imports nothing heavy."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Launch:
    """One process of several that torchrun started together."""

    rank: int
    count: int
    local_rank: int
    local_count: int

    @property
    def first(self) -> bool:
        """Whether this is the process that speaks and writes."""
        return self.rank == 0


def launched() -> Launch | None:
    """The place torchrun gave this process; None for a process of its own, and for torchrun with one process."""
    told = os.environ
    if "TORCHELASTIC_RUN_ID" not in told or int(told.get("WORLD_SIZE", "1")) < 2:
        return None
    return Launch(int(told["RANK"]), int(told["WORLD_SIZE"]), int(told["LOCAL_RANK"]), int(told["LOCAL_WORLD_SIZE"]))


def silent() -> bool:
    """Whether another process of this run speaks for all."""
    place = launched()
    return place is not None and not place.first
