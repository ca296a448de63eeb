"""Experts recorded by workers of a fan-out: they train, and whoever asked them writes the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from infodistill.scale.fanout import Done, Workers, untold
from infodistill.sources.expert_recording import Recording, keeping, wider
from infodistill.sources.expert_store import FACTS, write_expert, write_facts

Expert = tuple[int, tuple[int, ...]]
"""The number of an expert, and the epochs to keep of it."""


def record_by(workers: Workers, recording: Recording, folder: Path, count: int, done: Done = untold) -> None:
    """Record those of `count` experts that the store in `folder` lacks; the files are those of one process.

    Raises:
        FloatingPointError: an expert diverged; those before it are stored.
    """
    missing = recording.missing(folder, count)
    if missing and not (folder / FACTS).exists():
        write_facts(folder, recording.facts())
    jobs: list[Expert] = [(expert, wider(recording, folder, expert).keep) for expert in missing]
    for expert, (trajectory, told) in zip(missing, workers(trajectory_of, recording, jobs, done), strict=True):
        write_expert(folder, expert, trajectory, told)


def trajectory_of(recording: Recording, job: Expert) -> tuple[Tensor, dict[str, Any]]:
    """One expert's trajectory and how it fared, see `Recording.train`."""
    expert, keep = job
    return keeping(recording, keep).train(expert, lambda epoch: None)
