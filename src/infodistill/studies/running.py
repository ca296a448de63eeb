"""Running a study: job after job, each leaving one file, so that it may stop anywhere and be shared by processes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from infodistill.compute import Policy, capabilities
from infodistill.distilled import Distilled
from infodistill.files import write_atomically
from infodistill.progress import Tell
from infodistill.real import RealData
from infodistill.serialise import canonical_json, pretty_json, read_object, write_bytes
from infodistill.studies.bench import Bench
from infodistill.studies.study import Job, Setting, Study, due, shares

DEFINITION = "definition.json"

PAUSE = 0.2
"""Seconds between looks at what the other processes have finished."""


def records_of(folder: Path) -> dict[str, dict[str, Any]]:
    """What the jobs of a study have left in its folder."""
    return {path.stem: read_object(path) for path in sorted((folder / "cells").glob("*.json"))}


def definition_of(study: Study, real: RealData, policy: Policy) -> dict[str, Any]:
    """What the numbers in a folder depend on: the study, which images it is run on, device and precision."""
    data = {"data": real.name, "fingerprint": real.fingerprint}
    return {**study.definition(), **data, "device": policy.device, "precision": policy.precision}


def open_folder(study: Study, folder: Path, real: RealData, policy: Policy) -> None:
    """Take a folder for a study of some data under a policy, or go on in it.

    Raises:
        ValueError: it holds another study, or this one under another definition.
    """
    path, mine = folder / DEFINITION, definition_of(study, real, policy)
    if not path.exists():
        write_bytes(path, pretty_json(mine))
        return
    found = read_object(path)
    if canonical_json(found) != canonical_json(mine):
        changed = [_change(name, found.get(name), mine.get(name)) for name in sorted({*found, *mine})]
        told = ", ".join(filter(None, changed))
        raise ValueError(f"the folder '{folder}' holds another definition ({told}): give another --out")


def _change(name: str, old: object, new: object) -> str:
    """What is another now: the name, and both values where they are short."""
    if old == new:
        return ""
    shown = [str(value)[:12] for value in (old, new) if isinstance(value, str | float)]
    return f"{name} {shown[0]}, now {shown[1]}" if len(shown) == 2 else name


@dataclass
class Runner:
    """One process at a study.

    Attributes:
        study: which.
        folder: where its files lie.
        data: where the data is, if not under its name.
        policy: of evaluations and sampling.
        deadline: `time.monotonic()` after which no job is begun.
        part: (this process, how many there are).
        tell: progress.
    """

    study: Study
    folder: Path
    data: str | None = None
    policy: Policy | None = None
    deadline: float | None = None
    part: tuple[int, int] = (0, 1)
    tell: Tell | None = None

    def run(self) -> bool:
        """Do this process's share, stage by stage; whether the study is complete (or else the time over)."""
        open_folder(self.study, self.folder, self.bench.whole, self.bench.policy)
        while stage := due(self.study, records_of(self.folder)):
            for job in shares(stage, self.part[1])[self.part[0]]:
                if self._path(job).exists():
                    continue
                if self._late():
                    return False
                self.do(job)
            if not self._wait(stage):
                return False
        return True

    @cached_property
    def bench(self) -> Bench:
        """What the jobs are done at."""
        return Bench(self.study, self.folder, data=self.data, policy=self.policy, tell=self.tell)

    def do(self, job: Job) -> None:
        """One job, which leaves its file whole or not at all."""
        bench = self.bench
        wall, busy = time.perf_counter(), time.process_time()
        if job.phase == "prepare":
            next(wave[job.contender] for wave in self.study.prepare if job.contender in wave)(bench)
            told: dict[str, Any] = {"phase": "prepare", "what": job.contender}
        else:
            setting = self.study.contender(job.contender).settings(job.ipc)[job.number]
            told = self._measure(bench, job, setting)
        spent = {"seconds": time.perf_counter() - wall, "processor_seconds": time.process_time() - busy}
        told |= {name: round(value, 3) for name, value in spent.items()}
        write_bytes(self._path(job), pretty_json(told))

    def _measure(self, bench: Bench, job: Job, setting: Setting) -> dict[str, Any]:
        begun = time.process_time()
        made = self.study.contender(job.contender).make(bench, job.ipc, setting, job.seed)
        making = time.process_time() - begun
        told: dict[str, Any] = {
            "phase": job.phase,
            "contender": job.contender,
            "ipc": job.ipc,
            "setting": dict(setting),
            "seed": job.seed,
            "net_seeds": list(job.net_seeds),
            "accuracies": bench.judged(made, job),
            "making_seconds": round(making, 3),
        }
        if job.phase == "test":
            told["measured"] = dict(bench.measured(made))
            if job.seed == 0:
                _keep(made, self.folder / "sets" / f"{job.name}.safetensors")
        return told

    def _wait(self, stage: Sequence[Job]) -> bool:
        """Until the other processes have finished the stage; False when the time is over first."""
        while not all(self._path(job).exists() for job in stage):
            if self._late():
                return False
            time.sleep(PAUSE)
        return True

    def _late(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    def _path(self, job: Job) -> Path:
        return self.folder / "cells" / f"{job.name}.json"


def _keep(made: Distilled, path: Path) -> None:
    """Images of one set as 8-bit pixels, for pictures."""
    from safetensors.torch import save_file

    pixels = made.space.to_pixels(made.images).clamp(0, 1).mul(255).round().byte().contiguous()
    write_atomically(path, lambda partial: save_file({"pixels": pixels, "y": made.y.contiguous()}, partial))


def machine() -> dict[str, Any]:
    """What a record says about where it was made."""
    import torch

    has = capabilities()
    return {"cpu": has["cpu"], "gpu": has["gpu"], "huge_pages": has["huge_pages"], "torch": torch.__version__}
