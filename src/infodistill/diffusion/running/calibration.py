"""Choosing how hard to push, on training images that are held out for it; test data choose nothing.

A fifth of every class is held out. Every setting samples sets guided by the rest, and fresh networks trained on them
are tested on what was held out. A method has `Candidates` and a budget, the same for each: a comparison in which plain
sampling was not tuned says nothing. Ties go to the smaller push, so guidance has to earn its place.

The diffusion model is not trained anew and may have seen the held-out images; that helps all settings alike, so scores
compare settings and estimate no test accuracy. A classifier that guides must not have seen them: a candidate of P1, P2
or C1 is made with one that was trained on the rest (`making.Making.rest`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from infodistill.compute import Policy
from infodistill.diffusion.encoded import Encoded, encode
from infodistill.diffusion.model import DiffusionModel
from infodistill.diffusion.running.describing import described
from infodistill.diffusion.running.trials import Cell, Setting, Trials
from infodistill.diffusion.sampling import Plan, Steer, distilled, sample
from infodistill.distilled import Distilled
from infodistill.evaluation.evaluating import evaluate
from infodistill.evaluation.protocols import EvaluationProtocol
from infodistill.real import RealData
from infodistill.types import NetFactory

BUDGET = 24
"""Settings a method may try."""

FRESH = 1000
"""Sets that choose are sampled from seeds from here on, so that the set made with the choice is another."""

FRACTION = 0.2
"""Of every class that is held out."""

Judge = Callable[[Distilled, RealData], Sequence[float]]
"""judge(set, rest): accuracies of fresh networks trained on the set, on `rest.test`, the held-out images."""

Make = Callable[[Setting, DiffusionModel, Encoded, Plan], tuple[Plan, Steer]]
"""make(setting, model, encoded rest, plan): the plan and the guidance that a setting means."""


@dataclass(frozen=True)
class Candidates:
    """The settings of one method.

    Attributes:
        method: its name.
        settings: numbers by name.
        make: what they mean.
        push: how hard a setting pushes; ties go to the smallest.
        facts: what all of them share and a record has to agree with; see `describing.described`.
    """

    method: str
    settings: tuple[Setting, ...]
    make: Make
    push: Callable[[Setting], float]
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Calibration:
    """What was tried and what was chosen; `as_dict` is its record."""

    method: str
    cells: tuple[Cell, ...]
    chosen: Cell
    fraction: float
    held_out_images: int
    budget: int
    tolerance: float

    def as_dict(self) -> dict[str, Any]:
        then = "sampled with all training data, and with classifiers of all of it"
        told = {"cells": [cell.as_dict() for cell in self.cells], "chosen": self.chosen.as_dict(), "then": then}
        return {**asdict(self), **told, "seconds": sum(cell.seconds for cell in self.cells)}


def calibrate(
    model: DiffusionModel,
    real: RealData,
    plan: Plan,
    candidates: Candidates,
    judge: Judge,
    *,
    fraction: float = FRACTION,
    seeds: Sequence[int] = (0,),
    budget: int = BUDGET,
    tolerance: float = 0.0,
    record: Path | None = None,
    facts: Mapping[str, Any] | None = None,
    cache: Path | None = None,
    tell: Callable[[Cell], None] | None = None,
) -> Calibration:
    """Try every candidate and choose the one with the best mean held-out accuracy.

    Args:
        model: what is sampled.
        real: the training data; its test part is not looked at.
        plan: images per class, steps and sampler; candidates may change it. Seeds count from `plan.seed` + `FRESH`.
        candidates: the method and its settings.
        judge: see `held_out_accuracy`.
        fraction: of every class that is held out, keyed by `plan.seed`.
        seeds: sets sampled per setting, the same noise for all of them: a paired comparison.
        budget: the most settings that may be tried.
        tolerance: means closer than this to the best are ties.
        record: a JSON file of the cells, written after every one; cells found there are not tried again.
        facts: JSON-able facts of the judge: a record made under others is begun anew.
        cache: folder for encoded images.
        tell: told every new cell.

    Raises:
        ValueError: no candidate or more than the budget allows, no seed; or a class that is too small by then.
    """
    if not 1 <= len(candidates.settings) <= budget or not seeds:
        count = len(candidates.settings)
        raise ValueError(f"calibration tries 1..{budget} settings with 1 seed or more, got {count} and {len(seeds)}")
    rest, held_out = parted(real, plan.seed, fraction)
    known = Trials(record, _circumstances(model, rest, plan, candidates, seeds=seeds, facts=facts or {}))
    encoded: Encoded | None = None
    for setting in candidates.settings:
        if known.find(setting) is None:
            encoded = encode(model, rest, cache) if encoded is None else encoded
            cell = _tried(model, rest, encoded, plan, candidates, setting=setting, judge=judge, seeds=seeds)
            known.keep(cell)
            if tell is not None:
                tell(cell)
    cells = tuple(cell for setting in candidates.settings if (cell := known.find(setting)) is not None)
    best = chosen(cells, tolerance)
    return Calibration(candidates.method, cells, best, fraction, len(held_out), budget, tolerance)


def parted(real: RealData, seed: int, fraction: float = FRACTION) -> tuple[RealData, RealData]:
    """(rest, held out), stratified and keyed by `seed`; the test part of the rest are the held-out images."""
    rest, held_out = real.split(fraction, seed)
    rest.test = held_out
    return rest, held_out


def chosen(cells: Sequence[Cell], tolerance: float = 0.0) -> Cell:
    """The best mean; among those within `tolerance` of it the smallest push, then the first."""
    best = max(cell.mean for cell in cells)
    return min((cell for cell in cells if cell.mean >= best - tolerance - 1e-12), key=lambda cell: cell.push)


def held_out_accuracy(
    net: NetFactory,
    protocol: EvaluationProtocol,
    *,
    nets: int = 3,
    policy: Policy | None = None,
    cache: Path | None = None,
) -> Judge:
    """`nets` networks trained on a set under `protocol`, at its last epoch."""

    def judge(made: Distilled, rest: RealData) -> Sequence[float]:
        told = evaluate(
            made, rest, {"net": net}, protocol=protocol, seeds=range(nets), random_subsets=1, policy=policy, cache=cache
        )
        return told.nets["net"]["distilled"].values

    return judge


def _tried(
    model: DiffusionModel,
    rest: RealData,
    encoded: Encoded,
    plan: Plan,
    candidates: Candidates,
    *,
    setting: Setting,
    judge: Judge,
    seeds: Sequence[int],
) -> Cell:
    start, accuracies = time.perf_counter(), list[float]()
    for seed in seeds:
        how, steer = candidates.make(setting, model, encoded, replace(plan, seed=plan.seed + FRESH + seed))
        made = distilled(list(sample(model, how, steer)), rest, {"method": candidates.method, "seed": how.seed})
        accuracies += judge(made, rest)
    seconds = time.perf_counter() - start
    return Cell(dict(setting), candidates.push(setting), tuple(seeds), tuple(accuracies), seconds)


def _circumstances(
    model: DiffusionModel,
    rest: RealData,
    plan: Plan,
    candidates: Candidates,
    *,
    seeds: Sequence[int],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """What an accuracy depends on besides its setting, as far as it can be named."""
    return {
        "method": candidates.method,
        "shared": dict(candidates.facts),
        "data": [rest.fingerprint, None if rest.test is None else rest.test.fingerprint],
        "model": described(model),
        "judge": dict(facts),
        "plan": described(plan),
        "seeds": list(seeds),
    }
