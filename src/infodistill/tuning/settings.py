"""Choosing settings on held-out training images, within a stated budget: strengths, steps, images per class, beta.

Every setting is a run of its own on the rest of the training images; fresh networks trained on its set are tested on
the held-out part, with the same initial weights under the same protocol for every setting. Test images are not looked
at. The rule: of all settings whose mean is within one standard error of the best, the first, so what is listed first
(0, fewer steps, fewer images) need not be beaten by luck, and a dearer setting has to earn its place. One network has
no standard error: then the best mean is taken, the first of equal ones. Of several axes the last one varies fastest.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from infodistill.distilled import Distilled
from infodistill.files import write_atomically
from infodistill.seeding import stream
from infodistill.serialise import canonical_json, sha256

Setting = Mapping[str, Any]
Make = Callable[[Setting, Path], Distilled]
"""make(setting, folder): the set of a setting, from the rest of the training images; resumes in its folder."""

Judge = Callable[[Distilled], Sequence[float]]
"""judge(set): held-out accuracies, one for each network."""


@dataclass(frozen=True)
class Trial:
    """One setting, the held-out accuracy of every network, and what it cost."""

    setting: dict[str, Any]
    accuracies: tuple[float, ...]
    seconds: float
    images_bytes: int

    @property
    def mean(self) -> float:
        return fmean(self.accuracies)

    @property
    def error(self) -> float:
        """Standard error over networks; of a single one 0."""
        n = len(self.accuracies)
        return stdev(self.accuracies) / sqrt(n) if n > 1 else 0.0


@dataclass(frozen=True)
class Budget:
    """What may be spent: `settings` tried at most, and `seconds` after which no further one is begun."""

    settings: int = 12
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.settings < 2:
            raise ValueError(f"choosing takes a budget of at least 2 settings, got {self.settings}")
        if self.seconds is not None and not self.seconds > 0:
            raise ValueError(f"the budget in seconds must be positive, got {self.seconds}")


def grid(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination, the last axis fastest.

    Raises:
        ValueError: no axis, or one with a single value or the same value twice.
    """
    for name, values in axes.items():
        if len({canonical_json(value) for value in values}) < max(2, len(values)):
            raise ValueError(f"--try {name} wants at least two different values, got {list(values)}")
    if not axes:
        raise ValueError("nothing to choose: give --try key=value,value")
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def within(settings: Sequence[Setting], most: int, seed: int) -> list[Setting]:
    """All settings, or the first and a keyed draw of the others, in their order."""
    if len(settings) <= most:
        return list(settings)
    import torch

    drawn = torch.randperm(len(settings) - 1, generator=stream(seed, "tune"))[: most - 1] + 1
    return [settings[0], *(settings[int(number)] for number in drawn.sort().values)]


def chosen(trials: Sequence[Trial]) -> Trial:
    """The first trial within one standard error of the best (that of the best)."""
    best = max(trials, key=lambda trial: trial.mean)
    return next(trial for trial in trials if trial.mean >= best.mean - best.error - 1e-12)


def rule(networks: int) -> str:
    """How `chosen` chooses, in words."""
    if networks == 1:
        return "the best mean, the first of equal ones, as one network has no standard error"
    return "the first setting within one standard error of the best"


def name_of(setting: Setting) -> str:
    """What a setting is called in a table."""
    return ", ".join(f"{key}={value}" for key, value in setting.items())


def tune(
    settings: Sequence[Setting],
    make: Make,
    judge: Judge,
    folder: Path,
    *,
    budget: Budget,
    circumstances: Mapping[str, Any],
    told: Callable[[Trial], None] = lambda trial: None,
) -> list[Trial]:
    """Try settings in order within the budget; those that `folder` knows are not tried again.

    Args:
        settings: see `within`.
        make: from setting to set.
        judge: from set to held-out accuracies.
        folder: `trials.json`, and a folder for each run below.
        budget: seconds count over all calls; of a trial that was stopped, since it was taken up again.
        circumstances: everything else a score depends on; JSON-able.
        told: is shown every new trial.

    Raises:
        ValueError: the folder holds trials under other circumstances.
    """
    known = _stored(folder, circumstances)
    for setting in settings:
        spent = sum(trial.seconds for trial in known.values())
        if key_of(setting) in known or (known and budget.seconds is not None and spent >= budget.seconds):
            continue
        start = time.perf_counter()
        made = make(setting, folder / key_of(setting))
        scores = tuple(float(score) for score in judge(made))
        trial = Trial(dict(setting), scores, time.perf_counter() - start, made.images_bytes)
        known[key_of(setting)] = trial
        _store(folder, circumstances, known)
        told(trial)
    return [known[key_of(setting)] for setting in settings if key_of(setting) in known]


def record(trials: Sequence[Trial], asked: int, budget: Budget, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What an artefact and `tune.json` tell of the choice; JSON-able."""
    best, taken = max(trials, key=lambda trial: trial.mean), chosen(trials)
    return {
        **facts,
        "rule": rule(len(best.accuracies)),
        "budget": {"settings": budget.settings, "seconds": budget.seconds},
        "settings_of_the_grid": asked,
        "settings_tried": len(trials),
        "seconds": round(sum(trial.seconds for trial in trials), 3),
        "trials": [{**asdict(trial), "mean": trial.mean, "error": trial.error} for trial in trials],
        "best": best.setting,
        "chosen": taken.setting,
    }


def key_of(setting: Setting) -> str:
    """What a setting's folder is called."""
    plain = "-".join(f"{key}-{value}" for key, value in setting.items()).replace(":", "-").replace("/", "-")
    return f"{plain[:60]}-{sha256(canonical_json(dict(setting)).encode())[:8]}"


def _stored(folder: Path, circumstances: Mapping[str, Any]) -> dict[str, Trial]:
    path = folder / "trials.json"
    if not path.exists():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    mine = json.loads(canonical_json(dict(circumstances)))
    if odd := [name for name in mine if content["of"].get(name) != mine[name]]:
        raise ValueError(f"'{folder}' holds trials with another {odd[0]}: choose another --out")
    return {
        key: Trial(told["setting"], tuple(told["accuracies"]), told["seconds"], told["images_bytes"])
        for key, told in content["trials"].items()
    }


def _store(folder: Path, circumstances: Mapping[str, Any], known: Mapping[str, Trial]) -> None:
    content = {"of": dict(circumstances), "trials": {key: asdict(trial) for key, trial in known.items()}}
    text = json.dumps(content, indent=1)
    write_atomically(folder / "trials.json", lambda path: path.write_text(text, encoding="utf-8"))
