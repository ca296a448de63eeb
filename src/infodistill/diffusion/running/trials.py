"""What a calibration tried, kept in a file, so that nothing is tried twice, nor taken over from other circumstances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from infodistill.serialise import canonical_json, pretty_json, read_object, write_bytes

Setting = Mapping[str, float]


@dataclass(frozen=True)
class Cell:
    """A setting that was tried: held-out accuracies in [0, 1], seed by seed and net by net, and the seconds it took."""

    setting: Setting
    push: float
    seeds: tuple[int, ...]
    accuracies: tuple[float, ...]
    seconds: float

    @property
    def mean(self) -> float:
        return fmean(self.accuracies)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, with the mean."""
        return {**asdict(self), "seeds": list(self.seeds), "accuracies": list(self.accuracies), "mean": self.mean}


def stored(told: Mapping[str, Any]) -> Cell:
    """The inverse of `Cell.as_dict`."""
    numbers = (tuple(told["seeds"]), tuple(told["accuracies"]))
    return Cell(told["setting"], told["push"], *numbers, told["seconds"])


@dataclass
class Trials:
    """The cells tried so far, in memory and, given a path, in a file, which counts only for the circumstances `of`."""

    path: Path | None
    of: Mapping[str, Any]
    cells: list[Cell] = field(default_factory=list[Cell])

    def __post_init__(self) -> None:
        if self.path is not None and self.path.is_file():
            told = read_object(self.path)
            if canonical_json(told.get("of")) == canonical_json(self.of):
                self.cells = [stored(entry) for entry in told["cells"]]

    def find(self, setting: Setting) -> Cell | None:
        return next((cell for cell in self.cells if dict(cell.setting) == dict(setting)), None)

    def keep(self, cell: Cell) -> None:
        self.cells.append(cell)
        if self.path is not None:
            write_bytes(self.path, pretty_json({"of": self.of, "cells": [cell.as_dict() for cell in self.cells]}))
