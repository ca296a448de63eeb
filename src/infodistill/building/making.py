"""What methods are built from, and the mappings that all families of methods read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from infodistill.compute import Policy, View
from infodistill.real import RealData
from infodistill.sources.segments import Segment
from infodistill.sources.staged import Record
from infodistill.sources.teachers import Teachers
from infodistill.synthetic import Initialise, from_kmeans, from_noise, from_real
from infodistill.types import NetFactory, Source

INITS: dict[str, Initialise] = {"real": from_real, "noise": from_noise, "kmeans": from_kmeans}

SECOND_ORDER = 12
"""Forward passes that a step of a student costs: its gradient, and that gradient's derivative by the reverse sweep."""


@dataclass(frozen=True)
class Trained:
    """Expert trajectories: their segments, and (when asked for) the experts at the end of their training."""

    segments: Source[Segment]
    finals: Callable[[], Sequence[View]]


@dataclass(frozen=True)
class Making:
    """What a job is made from beside its recipe.

    `experts()` trains experts, or finds them, where they are needed; `record()` does so stage by stage (SeqMatch);
    `teachers()` gives the recipe's teachers (IID).
    """

    real: RealData
    net: NetFactory
    seed: int
    policy: Policy | None
    experts: Callable[[], Trained]
    record: Callable[[], Record]
    teachers: Callable[[], Teachers]

    def common(self, ipc: int) -> dict[str, Any]:
        """The keyword arguments every method function takes."""
        return {"ipc": ipc, "seed": self.seed, "policy": self.policy}


@dataclass(frozen=True)
class Size:
    """What the work of a step is counted from: flops of one image's forward pass, classes, images of the data.

    `teacher` is a forward pass of a teacher.
    """

    one: float
    classes: int
    images: int = 0
    teacher: float = 0.0


def given(**settings: Any) -> dict[str, Any]:
    """Those settings that have a value, so that a method's own default stands where a recipe says nothing."""
    return {name: value for name, value in settings.items() if value is not None}
