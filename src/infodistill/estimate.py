"""What a run would read, train, keep and cost, from three timed steps. Nothing is written."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch

from infodistill import jobs
from infodistill.conduct import Prepared
from infodistill.distillation import Distillation
from infodistill.seeding import stream
from infodistill.sources.teachers import random_teachers
from infodistill.training import fit

TIMED = 3


def estimate(prepared: Prepared) -> dict[str, Any]:
    """JSON-able facts: data, recipe, terms, teachers, steps_per_second, seconds, memory and disk in bytes."""
    recipe, real = prepared.recipe, prepared.real
    add = {name: max(strengths, key=lambda one: one.value) for name, strengths in prepared.grid.items()}
    factory = jobs.network(recipe.teachers.net, real.shape)
    pool = random_teachers(factory, real, count=1) if "cmi" in add else None
    job = jobs.build(recipe, real, policy=prepared.policy, add=add, teachers=pool)
    per_second = steps_per_second(job)
    teachers = _teachers(prepared) if "cmi" in add else None
    seconds = recipe.steps / per_second + (teachers["seconds"] if teachers else 0.0)
    return {
        "data": {"name": real.name, "images": len(real), "shape": list(real.shape), "classes": real.num_classes},
        "recipe": {"name": prepared.request.recipe_name, **recipe.as_dict()},
        "terms": {name: [jobs.described(s) for s in strengths] for name, strengths in prepared.grid.items()},
        "teachers": teachers,
        "policy": prepared.policy.as_dict(),
        "steps_per_second": per_second,
        "seconds": seconds * _runs(prepared),
        "memory_bytes": peak_memory(prepared.policy.device),
        "disk_bytes": _disk(job, recipe.steps) + (teachers["disk_bytes"] if teachers else 0),
    }


def steps_per_second(job: Distillation) -> float:
    """Rate over three steps, after one that is not timed."""
    for _ in job.run(1):
        pass
    _wait(job.policy.device)
    start = time.perf_counter()
    for _ in job.run(TIMED):
        pass
    _wait(job.policy.device)
    return TIMED / (time.perf_counter() - start)


def peak_memory(device: str) -> int:
    """Largest memory this process has used so far: of the GPU where there is one, else resident."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _runs(prepared: Prepared) -> int:
    """A choice on a held-out part runs every candidate, then the final run."""
    if prepared.request.validate is None:
        return 1
    from infodistill.choosing import candidates

    return 1 + len(candidates(prepared.grid))


def _teachers(prepared: Prepared) -> dict[str, Any]:
    """How many are in the cache, and what the others cost: timed on four batches."""
    recipe, real = prepared.recipe, prepared.real
    school = jobs.schooling(recipe, prepared.request.seed)
    module = jobs.network(recipe.teachers.net, real.shape)(real.shape, real.num_classes)
    folder = Path(prepared.cache) / "teachers" / school.digest(module, real, prepared.policy)
    cached = min(len(list(folder.glob("*.json"))), school.count)
    weights = sum(value.numel() * value.element_size() for value in module.state_dict().values())
    sample = real.subset(torch.arange(min(len(real), 4 * school.fit.batch)))
    one = type(school.fit)(1, school.fit.batch, school.fit.lr)
    start = time.perf_counter()
    fit(module.to(prepared.policy.device), sample, one, stream(0, "estimate"), policy=prepared.policy)
    epoch = (time.perf_counter() - start) * len(real) / len(sample)
    missing = school.count - cached
    return {
        "net": recipe.teachers.net,
        "count": school.count,
        "cached": cached,
        "seconds": missing * school.fit.epochs * epoch,
        "disk_bytes": missing * weights,
    }


def _disk(job: Distillation, steps: int) -> int:
    """Checkpoint, images and log."""
    stored = sum(value.numel() * value.element_size() for value in job.syn.trainable())
    return 4 * stored + 300 * min(steps, 200)
