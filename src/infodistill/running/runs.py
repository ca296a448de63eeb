"""Finished runs read back from their folders: what `report` and `compare` show."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, cast

from safetensors.torch import load as load_tensors
from torch import Tensor

from infodistill.artefact import companion_of, log_of, measure_of, results_of
from infodistill.distilled import Distilled, load
from infodistill.evaluation.recording import conditions
from infodistill.evaluation.result import seeds_of, values_of
from infodistill.manifest import GUIDANCE, TRAJECTORY

QUANTITIES = ("values", "weights", "norms")
"""What a line of metrics.jsonl holds for every term."""


@dataclass(frozen=True)
class Run:
    """An artefact with its log and evaluations. `metrics` are the lines of metrics.jsonl, `results` by protocol.

    `guidance` is what guided sampling did, image by image, see `diffusion.watching`; `trajectory` a picture of it.
    """

    label: str
    distilled: Distilled
    metrics: Sequence[Mapping[str, Any]] = ()
    results: Mapping[str, Any] | None = None
    measure: Mapping[str, Any] | None = None
    guidance: Mapping[str, Tensor] | None = None
    trajectory: bytes | None = None

    def terms(self) -> list[str]:
        """Names of the terms that were logged, in order of appearance."""
        return list(dict.fromkeys(name for line in self.metrics for name in line.get("values", {})))

    def curve(self, quantity: str, term: str, most: int = 500) -> tuple[list[float], list[float]]:
        """(steps, numbers) of one quantity of one term where it was logged, thinned to about `most` points."""
        points = [(float(line["step"]), line.get(quantity, {}).get(term)) for line in self.metrics]
        known = [(step, float(value)) for step, value in points if value is not None]
        kept = known[:: max(1, len(known) // most)]
        return [step for step, _ in kept], [value for _, value in kept]


@dataclass(frozen=True)
class Difference:
    """Mean paired difference of two accuracies, its standard error, and how many pairs."""

    mean: float
    error: float
    n: int


def read_run(folder: Path, label: str | None = None) -> Run:
    """Load one artefact folder.

    Raises:
        FileNotFoundError: it holds no artefact.
        ValueError: the artefact is damaged, or its log, results or measures are not those that were recorded.
    """
    distilled = load(folder)
    metrics = read_metrics((log_of(folder) or b"").decode("utf-8", "replace"))
    name = label or str(distilled.meta.get("label") or folder.resolve().name)
    guidance, trajectory = companion_of(folder, GUIDANCE), companion_of(folder, TRAJECTORY)
    watched = None if guidance is None else load_tensors(guidance)
    return Run(name, distilled, metrics, results_of(folder), measure_of(folder), watched, trajectory)


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Several runs with distinct labels: a label used twice gets the last two parts of its folder added."""
    runs = [read_run(folder) for folder in folders]
    labels = [run.label for run in runs]
    return [
        run if labels.count(run.label) == 1 else read_run(folder, f"{run.label} ({'/'.join(folder.parts[-2:])})")
        for run, folder in zip(runs, folders, strict=True)
    ]


def read_metrics(log: str) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; a last line cut by a crash is ignored.

    A step that appears twice (a run that was resumed) counts once, as logged last.
    """
    by_step: dict[float, dict[str, Any]] = {}
    for text in log.splitlines():
        try:
            line = cast("dict[str, Any]", json.loads(text))
            by_step[float(line["step"])] = line
        except (json.JSONDecodeError, KeyError, TypeError):
            continue
    return [by_step[step] for step in sorted(by_step)]


def paired_difference(ours: Mapping[str, Any], theirs: Mapping[str, Any], net: str) -> Difference | None:
    """`distilled` of one recorded evaluation minus another's, network by network.

    None unless both have the same seeds, data and protocol settings, and at least two networks.
    """
    a, b = (values_of(result, net, "distilled") for result in (ours, theirs))
    same = seeds_of(ours, net) == seeds_of(theirs, net) and conditions(ours) == conditions(theirs)
    if not same or len(a) != len(b) or len(a) < 2:
        return None
    gaps = [x - y for x, y in zip(a, b, strict=True)]
    return Difference(fmean(gaps), stdev(gaps) / sqrt(len(gaps)), len(gaps))
