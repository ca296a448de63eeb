"""What recipes of MTT, TESLA, FTD, DATM and SeqMatch say."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from infodistill.settings.entries import (
    DSA_EACH,
    ExpertEntry,
    Strict,
    StudentEntry,
)
from infodistill.settings.recipe import Recipe
from infodistill.settings.stages import split, unfinished, with_stage_steps


class Trajectory(Recipe):
    """MTT and its descendants: students compared with experts. `augment` is that of the students' images."""

    protocol: str = "mtt"
    momentum: float = Field(default=0.5, ge=0, lt=1)
    augment: str = DSA_EACH
    student: StudentEntry = StudentEntry()
    experts: ExpertEntry = ExpertEntry()


class Flat(Trajectory):
    """FTD: MTT on flat experts; what is exported is a running average of the images with the decay `ema`."""

    ema: float = Field(default=0.9995, ge=0, lt=1)


class LogitEntry(Strict):
    """How labels stored as logits are learned (SGD)."""

    lr: float = Field(default=2.0, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)


class Aligned(Trajectory):
    """DATM: labels as logits, updates skipped where the loss exceeds `threshold`, the window of `experts` may grow.

    `recognised` starts from real images that an expert classifies correctly; else `init` says what from.
    """

    labels: LogitEntry = LogitEntry()
    threshold: float = Field(default=1.0, gt=0)
    recognised: bool = True


class Staged(Trajectory):
    """SeqMatch: the set in `stages` parts (`parts` says how many images per class each has, else they are even).

    `intervals` gives the epochs (a, b) of each stage's experts: segments start at a .. b - span (exclusive). Experts of
    later stages train for `later_epochs`, the student's rate starts there at `later_rate`. `stage_steps` updates make a
    stage (the run in equal parts, where none is given).
    """

    protocol: str = "seqmatch"
    stages: int = Field(default=3, ge=1)
    parts: tuple[int, ...] | None = None
    stage_steps: int = Field(ge=1)
    intervals: tuple[tuple[int, int], ...] = ((0, 20), (0, 20), (0, 10))
    later_epochs: int = Field(default=20, ge=1)
    later_rate: float = Field(default=0.01, gt=0)

    @property
    def split(self) -> tuple[int, ...]:
        """Images per class of each stage, none of them empty."""
        return self.parts or split(self.ipc, self.stages)

    @property
    def warning(self) -> str | None:
        return unfinished(self.steps, len(self.split), self.stage_steps)

    @model_validator(mode="before")
    @classmethod
    def _equal_stages(cls, content: Any) -> Any:
        return with_stage_steps(content, 3)

    @model_validator(mode="after")
    def _fits(self) -> Staged:
        if self.parts is not None and sum(self.parts) != self.ipc:
            raise ValueError(f"the parts {list(self.parts)} must add up to ipc {self.ipc}, they make {sum(self.parts)}")
        given = self.experts
        if given.first or given.last is not None or given.grow_from is not None:
            raise ValueError("seqmatch takes the windows of its stages from `intervals`, not from the table of experts")
        for stage, (low, end) in enumerate(self.intervals):
            epochs = self.later_epochs if stage else given.epochs
            if not 0 <= low < end - given.span <= epochs - given.span + 1:
                raise ValueError(
                    f"interval {stage} is ({low}, {end}), which {epochs} epochs and span {given.span} do not fit"
                )
        return self
