"""A program to be killed: distils several cells of the admission table in turn, saving after every round.

    python kill_run.py FOLDER STEPS COMPILE STALL_AT CELL...

At round STALL_AT (0: never) every cell starts to write its checkpoint and stops inside the write, until it is killed.
Started again, each cell continues from its own checkpoint; finished cells leave FOLDER/<index>.images.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

import infodistill.files as files
from infodistill.compute import Policy
from infodistill.distillation import Distillation
from infodistill.running.checkpoint import load_checkpoint, save_checkpoint
from table import make


def job_of(cell: str, compiled: bool, saved: Path) -> Distillation:
    method, term = cell.split("/")
    job = make(method, term)
    job.use(Policy(compile=compiled, threads=1))
    if saved.exists():
        job.load_state_dict(load_checkpoint(saved))
    return job


def stall(jobs: dict[Path, Distillation]) -> None:
    def never(path: Path) -> None:
        time.sleep(3600)

    files._sync = never
    for path, job in jobs.items():
        threading.Thread(target=save_checkpoint, args=(path, job.state_dict()), daemon=True).start()
    time.sleep(3600)


def main() -> None:
    folder, steps, compiled, stall_at = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "1", int(sys.argv[4])
    torch.set_num_threads(1)
    jobs = {
        folder / f"{i}.checkpoint": job_of(c, compiled, folder / f"{i}.checkpoint") for i, c in enumerate(sys.argv[5:])
    }
    while any(job.step < steps for job in jobs.values()):
        for path, job in jobs.items():
            if job.step < steps:
                list(job.run(1))
            if job.step != stall_at:
                save_checkpoint(path, job.state_dict())
        (folder / "alive").touch()
        if stall_at in {job.step for job in jobs.values()}:
            stall(jobs)
    for path, job in jobs.items():
        learned = {str(i): tensor.detach() for i, tensor in enumerate(job.syn.trainable())}
        save_file(learned, path.with_suffix(".images"))


if __name__ == "__main__":
    main()
