"""Jobs for the fan-out tests, in a module that worker processes can import."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from infodistill.seeding import stream


def spread(shared: Tensor, job: int) -> tuple[Tensor, int]:
    """A sum whose bits depend on the number of threads, under keyed noise; and that number."""
    noise = torch.randn(shared.shape, generator=stream(job, "fanning"))
    return (shared * noise).sum().sin(), torch.get_num_threads()


def killed_once(shared: tuple[Path, Tensor], job: int) -> tuple[Tensor, int]:
    """`spread`, but the first attempt at every odd job kills its process in the middle."""
    folder, values = shared
    mark = folder / f"{job}.begun"
    if job % 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return spread(values, job)


def always_killed(shared: Any, job: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return job


def failing(shared: Any, job: int) -> int:
    if job == 2:
        raise ValueError(f"job {job} cannot be done")
    return job
