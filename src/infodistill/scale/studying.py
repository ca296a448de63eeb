"""The jobs of a study by workers of a fan-out: each leaves its own file, in a folder that every worker sees."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path

from infodistill.compute import resolve
from infodistill.progress import Tell
from infodistill.scale.fanout import Workers
from infodistill.studies import by_name
from infodistill.studies.running import Runner, records_of
from infodistill.studies.study import Job, due, total


@dataclass(frozen=True)
class Seat:
    """Where a worker finds its study: all by name, so that it opens the data and the networks itself, once."""

    name: str
    folder: Path
    data: str | None = None
    device: str | None = None
    precision: str | None = None

    def everywhere(self) -> Seat:
        """The same with paths that do not depend on the folder a worker starts in."""
        data = str(Path(self.data).resolve()) if self.data is not None and Path(self.data).exists() else self.data
        return Seat(self.name, self.folder.resolve(), data, self.device, self.precision)


def study_by(workers: Workers, seat: Seat, *, deadline: float | None = None, tell: Tell | None = None) -> bool:
    """Do the jobs of a study that are due, stage by stage; whether it is complete (or else the time over).

    A job is a function of the study and its own name, and writes one file at its end: begun again after its worker
    was killed, it writes the same. After the `deadline` (time.monotonic) no job is begun.
    """
    study, place = by_name(seat.name), seat.everywhere()
    count = total(study)
    while stage := due(study, found := records_of(place.folder)):
        missing = sorted((job for job in stage if job.name not in found), key=lambda job: -job.cost)
        wanted = takewhile(lambda job: deadline is None or time.monotonic() < deadline, missing)
        before = len(found)

        def told(done: int, before: int = before) -> None:
            if tell is not None:
                tell("cells", before + done, count)

        if len(list(workers(at_its_bench, place, wanted, told))) < len(missing):
            return False
    return True


def at_its_bench(seat: Seat, job: Job) -> None:
    """One job, in a worker that keeps its bench from job to job."""
    _runner(seat).do(job)


@cache
def _runner(seat: Seat) -> Runner:
    policy = resolve(seat.device or "auto", seat.precision or "float32")
    return Runner(by_name(seat.name), seat.folder, seat.data, policy)
