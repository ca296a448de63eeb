"""`infodistill reproduce STUDY`: the study's processes, its stop and go, and what it prints."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infodistill.commands.speaking import say, show

if TYPE_CHECKING:
    from infodistill.scale.fanout import Workers


@dataclass(frozen=True)
class Asked:
    """What the command line said."""

    name: str
    out: Path
    data: str | None
    device: str | None
    precision: str | None
    minutes: float | None

    def flags(self, spent: float) -> list[str]:
        """The command line that asks for the same, with what is left of the minutes."""
        left = None if self.minutes is None else max(self.minutes - spent / 60, 0)
        named = {"out": self.out, "data": self.data, "device": self.device, "precision": self.precision}
        named |= {"minutes": left}
        words = [word for key, value in named.items() if value is not None for word in (f"--{key}", str(value))]
        return ["reproduce", self.name, *words]


def told(name: str, out: Path) -> dict[str, Any]:
    """The study as a row of the list."""
    from infodistill.studies.finding import row_of

    row = row_of(name, out)
    return {**row, "ours": None if row["ours"] is None else {"cells": len(row["ours"]["cells"])}}


def run(asked: Asked, *, workers: int | Workers | None, part: str | None, as_json: bool) -> None:
    """Run the study, or its next piece, and print what it found."""
    from infodistill.commands.side_by_side import part_of, run_parts
    from infodistill.progress import telling
    from infodistill.scale.studying import Seat, study_by
    from infodistill.studies import finding

    if part is not None:
        _work(asked, part_of(part), None)
        return
    begun, where = time.monotonic(), {"data": asked.data, "device": asked.device, "precision": asked.precision}
    study = finding.ready(asked.name, asked.out, **where)
    folder, count = asked.out / asked.name, workers or _workers(asked.device)
    with telling() as tell:
        if count == 1:
            _work(asked, (0, 1), tell)
        elif not isinstance(count, int):
            deadline = None if asked.minutes is None else begun + 60 * asked.minutes
            study_by(count, Seat(asked.name, folder, **where), deadline=deadline, tell=tell)
        elif finding.concluded(study, folder) is None:
            flags = asked.flags(time.monotonic() - begun)
            run_parts(flags, count, lambda: tell("cells", *finding.progress(study, folder)))
    found = finding.concluded(study, folder)
    if found is None:
        done, total = finding.progress(study, folder)
        say(f"stopped after {done} of {total} jobs; the same command goes on from there")
    elif as_json:
        show(found)
    else:
        print("\n".join(finding.page(found)))
    if found is not None:
        say(f"the record, the page and the sets are in {folder}")


def _work(asked: Asked, part: tuple[int, int], tell: Any) -> None:
    from infodistill.studies import finding

    finding.work(
        asked.name, asked.out, data=asked.data, device=asked.device, precision=asked.precision,
        minutes=asked.minutes, part=part, tell=tell,
    )  # fmt: skip


def _workers(device: str | None) -> int:
    """One process a core: these networks are small. One on a GPU."""
    from infodistill.compute import resolve

    if resolve(device or "auto").device != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
