"""What a run would read, train, keep and cost, from three timed steps. Nothing is written."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch

from infodistill.building import jobs
from infodistill.building.supplies import recording, teachers_data
from infodistill.data.noted import facts_of
from infodistill.distillation import Distillation
from infodistill.running.conduct import Prepared
from infodistill.settings import ExpertEntry
from infodistill.sources.expert_cost import epoch_seconds, expert_cost

TIMED = 3


def estimate(prepared: Prepared) -> dict[str, Any]:
    """JSON-able facts: data, recipe, terms, teachers, experts, steps_per_second, seconds, memory and disk in bytes.

    The steps that are timed look through untrained networks, which cost what trained ones do.
    """
    recipe, real = prepared.recipe, prepared.real
    add = {name: max(strengths, key=lambda one: one.value) for name, strengths in prepared.grid.items()}
    job = jobs.rehearse(recipe, real, add, policy=prepared.policy, teacher=recipe.teachers.net)
    per_second = steps_per_second(job)
    teachers = _teachers(prepared) if "cmi" in add or jobs.needs_teachers(recipe) else None
    experts = _experts(prepared)
    trained = [part for part in (teachers, experts) if part is not None]
    seconds = recipe.steps / per_second + sum(part["seconds"] for part in trained)
    return {
        "data": facts_of(real),
        "recipe": {"name": prepared.request.recipe_name, **recipe.as_dict()},
        "terms": {name: [jobs.described(s) for s in strengths] for name, strengths in prepared.grid.items()},
        "teachers": teachers,
        "experts": experts,
        "policy": prepared.policy.as_dict(),
        "steps_per_second": per_second,
        "seconds": seconds * _runs(prepared),
        "memory_bytes": peak_memory(prepared.policy.device),
        "disk_bytes": _disk(job, recipe.steps) + sum(part["disk_bytes"] for part in trained),
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
    from infodistill.tuning.choosing import candidates

    return 1 + len(candidates(prepared.grid))


def _teachers(prepared: Prepared) -> dict[str, Any]:
    """How many are in the cache, and what the others cost: timed on four batches."""
    recipe, real = prepared.recipe, prepared.real
    school = jobs.schooling(recipe, prepared.request.seed)
    module = jobs.network(recipe.teachers.net, real.shape)(real.shape, real.num_classes)
    folder = Path(prepared.cache) / "teachers" / school.digest(module, teachers_data(recipe, real), prepared.policy)
    cached = min(len(list(folder.glob("*.json"))), school.count)
    weights = sum(value.numel() * value.element_size() for value in module.state_dict().values())
    epoch = epoch_seconds(real, jobs.network(recipe.teachers.net, real.shape), school.fit, prepared.policy)
    missing = school.count - cached
    return {
        "net": recipe.teachers.net,
        "count": school.count,
        "cached": cached,
        "seconds": missing * school.fit.epochs * epoch,
        "disk_bytes": missing * weights,
    }


def _experts(prepared: Prepared) -> dict[str, Any] | None:
    """What the recipe's experts cost: how many are in the cache, and the time and disk of the others."""
    recipe, real = prepared.recipe, prepared.real
    entry = getattr(recipe, "experts", None)
    if not isinstance(entry, ExpertEntry):
        return None
    settings = recording(recipe, seed=prepared.request.seed, policy=prepared.policy, cache=prepared.cache)
    cost = expert_cost(real, jobs.network(recipe.net, real.shape), **settings)
    return {"net": recipe.net, **{name: value for name, value in vars(cost).items() if name != "folder"}}


def _disk(job: Distillation, steps: int) -> int:
    """Checkpoint, images and log."""
    stored = sum(value.numel() * value.element_size() for value in job.syn.trainable())
    return 4 * stored + 300 * min(steps, 200)
