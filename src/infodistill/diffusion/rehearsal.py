"""What a sampling run would do and cost, from three steps of its first group; nothing is trained or written."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from infodistill.data import load_data
from infodistill.data.cache import cache_dir
from infodistill.diffusion.generator_plan import planned
from infodistill.diffusion.generators import find_generator
from infodistill.diffusion.making import protocol_of
from infodistill.diffusion.precision import lowered
from infodistill.diffusion.request import SampleRequest
from infodistill.diffusion.running import TOGETHER, Prepared, prepare
from infodistill.diffusion.sampling import plain, sample
from infodistill.real import RealData

STEPS = 3
TRAINS = {
    "minimax": "a copy of the generator, 8 epochs (minimax)",
    "igd": "a classifier of the data, 50 epochs, unless it is cached (igd)",
}
"""What a method trains before it samples."""

Say = Callable[[str], None]


def rehearsed(request: SampleRequest, *, say: Say = print) -> dict[str, Any]:
    """The facts of a run, JSON-able; seconds are None where the generator has to be trained first.

    The time is that of unguided steps: a guided one costs at most a quarter more, through the denoiser 3 to 4 times.
    """
    real = load_data(request.data, size=request.size, skip_corrupt=request.skip_corrupt)
    trains = [TRAINS[request.method]] if request.method in TRAINS else []
    together = request.together or max(1, TOGETHER // request.ipc)
    facts: dict[str, Any] = {
        "data": {"name": real.name, "images": len(real), "shape": list(real.shape), "classes": real.num_classes},
        "method": request.method,
        "images": request.ipc * real.num_classes,
        "groups": -(-real.num_classes // together),
        "steps": request.steps,
        "protocol": protocol_of(request, real).name,
        "disk_bytes": 3 * request.ipc * real.num_classes * 4 * real.images[0].numel(),
        "steps_per_second": None,
        "seconds": None,
    }
    if request.generator is None and find_generator(real, cache_dir()) is None:
        plan = planned(real)
        return {**facts, "trains": [f"a generator of {real.name} ({plan.name}), {_steps(plan)}", *trains]}
    return {**facts, "trains": trains, **_timed(prepare(request, say=say), real)}


def _timed(prepared: Prepared, real: RealData) -> dict[str, Any]:
    plan = prepared.plan
    groups = plan.groups(range(real.num_classes))
    short = replace(plan, steps=STEPS, together=None)
    start = time.perf_counter()
    list(sample(lowered(prepared.model, prepared.policy), short, plain, classes=groups[0]))
    one = (time.perf_counter() - start) / STEPS
    return {"groups": len(groups), "steps_per_second": 1 / one, "seconds": one * plan.steps * len(groups)}


def _steps(plan: Any) -> str:
    parts = [plan.denoising.fit.steps, *([] if plan.encoding is None else [plan.encoding.fit.steps])]
    return f"{' + '.join(f'{steps:,}' for steps in parts)} steps"
