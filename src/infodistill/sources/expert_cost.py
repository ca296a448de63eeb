"""What recording experts costs, before it starts: how many are there already, disk, and time from a few batches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from infodistill.compute import Policy
from infodistill.real import RealData
from infodistill.seeding import stream
from infodistill.sources.expert_recording import recording_of
from infodistill.sources.expert_store import disk_bytes
from infodistill.training import Fit, fit
from infodistill.types import NetFactory

BATCHES = 4


@dataclass(frozen=True)
class ExpertCost:
    """Experts wanted and found, epochs trained and kept, and what the missing ones take: seconds and bytes."""

    count: int
    cached: int
    epochs: int
    epochs_kept: int
    seconds: float
    disk_bytes: int
    folder: Path


def expert_cost(
    real: RealData,
    factory: NetFactory,
    *,
    count: int,
    fit: Fit,
    cache: Path,
    keep: Sequence[int] | None = None,
    seed: int = 0,
    policy: Policy | None = None,
) -> ExpertCost:
    """The cost of `record_experts` with the same arguments; nothing is written.

    Seconds are those of an epoch, from four batches after one that is not counted (it may compile), times the epochs
    of all missing experts; measuring accuracies adds a few percent. Where none is missing nothing is timed.
    """
    recording = recording_of(real, factory, fit=fit, keep=keep, seed=seed, policy=policy)
    folder = recording.folder(cache)
    missing, last = len(recording.missing(folder, count)), recording.keep[-1]
    epoch = epoch_seconds(real, factory, fit, recording.policy) if missing and last else 0.0
    size = disk_bytes(factory(real.shape, real.num_classes), missing, len(recording.keep))
    return ExpertCost(count, count - missing, last, len(recording.keep), missing * last * epoch, size, folder)


def epoch_seconds(real: RealData, factory: NetFactory, hyper: Fit, policy: Policy) -> float:
    """Seconds of one epoch of this training on all of `real`, from a few batches."""
    module = factory(real.shape, real.num_classes).to(policy.device)
    sample = real.subset(torch.arange(min(len(real), BATCHES * hyper.batch)))
    hyper = replace(hyper, epochs=1)
    fit(module, sample.subset(torch.arange(min(len(sample), hyper.batch))), hyper, stream(0, "cost"), policy=policy)
    start = time.perf_counter()
    fit(module, sample, hyper, stream(0, "cost", 1), policy=policy)  # ends with the loss on the host
    return (time.perf_counter() - start) * len(real) / len(sample)
