"""What a sampling run would do and cost, from three steps of its first group; nothing is trained or written."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from infodistill.data import load_data
from infodistill.data.cache import cache_dir
from infodistill.data.noted import announce, facts_of
from infodistill.diffusion.fitting.generator_folder import find_generator
from infodistill.diffusion.precision import lowered
from infodistill.diffusion.running.candidates import COUNT
from infodistill.diffusion.running.conduct import TOGETHER, Prepared, prepare
from infodistill.diffusion.running.making import NETS, protocol_of
from infodistill.diffusion.running.request import SampleRequest
from infodistill.diffusion.running.supplying import to_train
from infodistill.diffusion.sampling import plain, sample
from infodistill.diffusion.steering import check_named
from infodistill.real import RealData

STEPS = 3
TRAINS = {
    "minimax": "a copy of the generator, 8 epochs (minimax)",
    "igd": "a classifier of the data, 50 epochs, unless it is cached (igd)",
}
"""What a method trains before it samples."""

CLASSIFIERS = {
    "p1": "a noise-aware classifier, 2,500 steps, unless it is cached (p1)",
    "clean": "the teachers of the data's DM recipe, unless they are cached ({})",
}
"""What terms look through."""

Say = Callable[[str], None]


def rehearsed(request: SampleRequest, *, say: Say = print) -> dict[str, Any]:
    """The facts of a run, JSON-able; seconds are None where the generator has to be trained first.

    The time is that of unguided steps, those of calibration among them, without the training of any network: a guided
    step costs at most a quarter more, through the denoiser 3 to 4 times.
    """
    check_named(request)
    real = load_data(request.data, size=request.size, skip_corrupt=request.skip_corrupt)
    trains = [*([TRAINS[request.method]] if request.method in TRAINS else []), *_classifiers(request)]
    together = request.together or max(1, TOGETHER // request.ipc)
    facts: dict[str, Any] = {
        "data": facts_of(real),
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
        announce(real, say)
        _, plan, begun = to_train(real, cache_dir())
        first = f"{'the rest of ' if begun else ''}a generator of {real.name} ({plan.name}), {_steps(plan)}"
        return {**facts, "trains": [first, *trains, *_calibration(request)]}
    trains += _calibration(request)
    return {**facts, "trains": trains, **_timed(prepare(request, real=real, say=say), real)}


def _classifiers(request: SampleRequest) -> list[str]:
    """What the terms of a request look through; with --calibrate once more for the images that are not held out."""
    clean = [name for name in (request.prototype, request.contextual) if name in ("p2", "c1-own", "c1-real")]
    clean += [text.partition("=")[0] for text in request.add]
    told = [CLASSIFIERS["p1"]] if request.prototype == "p1" else []
    told += [CLASSIFIERS["clean"].format(", ".join(clean))] if clean else []
    return [line + (", twice (--calibrate)" if request.calibrate else "") for line in told]


def _calibration(request: SampleRequest) -> list[str]:
    most = min(request.budget, COUNT)
    told = f"{most * NETS} networks at most, on the sets of {most} settings (--calibrate)"
    return [told] if request.calibrate else []


def _timed(prepared: Prepared, real: RealData) -> dict[str, Any]:
    plan = prepared.plan
    groups = plan.groups(range(real.num_classes))
    short = replace(plan, steps=STEPS, together=None)
    start = time.perf_counter()
    list(sample(lowered(prepared.model, prepared.policy), short, plain, classes=groups[0]))
    one = (time.perf_counter() - start) / STEPS
    sets = 1 + (min(prepared.request.budget, COUNT) if prepared.request.calibrate else 0)
    return {"groups": len(groups), "steps_per_second": 1 / one, "seconds": one * plan.steps * len(groups) * sets}


def _steps(plan: Any) -> str:
    parts = [plan.denoising.fit.steps, *([] if plan.encoding is None else [plan.encoding.fit.steps])]
    return f"{' + '.join(f'{steps:,}' for steps in parts)} steps"
