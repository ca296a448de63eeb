"""What a study found: a record of every accuracy, means with errors over seeds, paired differences, and its text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import Any

from infodistill.studies.study import Records, Study, chosen, tests_of, total, validation_scores


@dataclass(frozen=True)
class Estimate:
    """Mean over seeds, its standard error, and how many seeds."""

    mean: float
    error: float
    n: int

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The t-interval of n - 1 degrees of freedom; the point itself for one seed."""
        from scipy.stats import t as student

        half = float(student.ppf((1 + level) / 2, self.n - 1)) * self.error if self.n > 1 else 0.0
        return self.mean - half, self.mean + half

    def as_dict(self) -> dict[str, Any]:
        return {"mean": self.mean, "error": self.error, "n": self.n, "interval": list(self.interval())}


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and standard error, s / sqrt(n) with n - 1 in s."""
    return Estimate(fmean(values), stdev(values) / sqrt(len(values)) if len(values) > 1 else 0.0, len(values))


def cell(study: Study, name: str, ipc: int, records: Records) -> dict[str, Any]:
    """One cell: what was tried, what was chosen, its tests; accuracies seed by seed, networks of a seed in a row."""
    contender, number = study.contender(name), chosen(study, name, ipc, records)
    settings = contender.settings(ipc)
    scores = validation_scores(study, name, ipc, records)
    tests = [records[job.name] for job in tests_of(study, name, ipc, number)]
    return {
        "contender": name,
        "ipc": ipc,
        "tried": [{"setting": dict(s), "validation": v} for s, v in zip(settings, scores, strict=True)]
        if len(settings) > 1
        else [],
        "setting": dict(settings[number]),
        "seeds": [test["seed"] for test in tests],
        "net_seeds": [test["net_seeds"] for test in tests],
        "accuracies": [test["accuracies"] for test in tests],
        "measured": [test["measured"] for test in tests],
        "making_seconds": fmean(test["making_seconds"] for test in tests),
        **estimate(_by_seed(tests)).as_dict(),
    }


def record(study: Study, records: Records, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Everything a complete study found; JSON-able."""
    cells = [cell(study, one.name, ipc, records) for ipc in study.sizes for one in study.contenders]
    spent = [float(found["processor_seconds"]) for found in records.values()]
    return {
        "study": study.name,
        "title": study.title,
        "definition": study.definition(),
        "notes": {one.name: one.note for one in study.contenders},
        "machine": dict(facts),
        "against": list(study.against),
        "claims": list(study.claims),
        "jobs": total(study),
        "processor_seconds": round(sum(spent), 1),
        "prepared": {found["what"]: found["processor_seconds"] for found in records.values() if "what" in found},
        "cells": cells,
        "paired": list(_paired(study, cells)),
        "validation": [
            {key: found[key] for key in ("contender", "ipc", "setting", "seed", "accuracies")}
            for found in records.values()
            if found["phase"] == "validation"
        ],
    }


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> Estimate:
    """Of two cells of a size, seed by seed: the same noise, where there is any, and the same initial networks."""
    pairs = zip(one["accuracies"], other["accuracies"], strict=True)
    return estimate([fmean(a) - fmean(b) for a, b in pairs])


def _paired(study: Study, cells: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    by_place = {(found["contender"], found["ipc"]): found for found in cells}
    for found in cells:
        for other in study.against:
            if other != found["contender"]:
                gap = difference(found, by_place[other, found["ipc"]])
                yield {"contender": found["contender"], "against": other, "ipc": found["ipc"], **gap.as_dict()}


def _by_seed(tests: Sequence[Mapping[str, Any]]) -> list[float]:
    return [fmean(test["accuracies"]) for test in tests]


def table(found: Mapping[str, Any]) -> str:
    """Accuracies in per cent, mean ± standard error over seeds, a Markdown table with a column a size."""
    sizes = list(dict.fromkeys(one["ipc"] for one in found["cells"]))
    lines = [_line("set", *(f"IPC {ipc}" for ipc in sizes)), _line("---", *["---"] * len(sizes))]
    for name in dict.fromkeys(one["contender"] for one in found["cells"]):
        mine = {one["ipc"]: one for one in found["cells"] if one["contender"] == name}
        lines.append(_line(name, *(_percent(mine[ipc]) for ipc in sizes)))
    return "\n".join(lines)


def differences(found: Mapping[str, Any], against: str) -> str:
    """Paired differences in points, mean ± standard error; bold where beyond two standard errors."""
    rows = [one for one in found["paired"] if one["against"] == against]
    sizes = list(dict.fromkeys(one["ipc"] for one in rows))
    lines = [_line(f"minus {against}", *(f"IPC {ipc}" for ipc in sizes)), _line("---", *["---"] * len(sizes))]
    for name in dict.fromkeys(one["contender"] for one in rows):
        mine = {one["ipc"]: one for one in rows if one["contender"] == name}
        lines.append(_line(name, *(_points(mine[ipc]) for ipc in sizes)))
    return "\n".join(lines)


def settings_table(found: Mapping[str, Any]) -> str:
    """What validation chose."""
    sizes = list(dict.fromkeys(one["ipc"] for one in found["cells"]))
    lines = [_line("chosen", *(f"IPC {ipc}" for ipc in sizes)), _line("---", *["---"] * len(sizes))]
    for name in dict.fromkeys(one["contender"] for one in found["cells"] if one["tried"]):
        mine = {one["ipc"]: one for one in found["cells"] if one["contender"] == name}
        told = [" ".join(f"{key} {value:g}" for key, value in mine[ipc]["setting"].items()) for ipc in sizes]
        lines.append(_line(name, *told))
    return "\n".join(lines)


def verdicts(found: Mapping[str, Any]) -> list[str]:
    """The study's question answered in sentences: its claims against every reference, size by size."""
    sentences: list[str] = []
    for row in found["paired"]:
        if row["contender"] in found["claims"]:
            sign = "above" if row["mean"] > 0 else "below"
            told = f"{sign} {row['against']} beyond" if beyond(row) else f"not told from {row['against']} by"
            sentences.append(f"IPC {row['ipc']}: {row['contender']} is {told} two standard errors ({_points(row)})")
    return sentences


def beyond(row: Mapping[str, Any]) -> bool:
    """Whether a difference is more than two standard errors from 0."""
    return abs(row["mean"]) > 2 * row["error"] and row["n"] > 1


def _percent(found: Mapping[str, Any]) -> str:
    return f"{100 * found['mean']:.1f} ± {100 * found['error']:.1f}"


def _points(row: Mapping[str, Any]) -> str:
    text = f"{100 * row['mean']:+.1f} ± {100 * row['error']:.1f}"
    return f"**{text}**" if beyond(row) else text


def _line(*entries: str) -> str:
    return "| " + " | ".join(entries) + " |"
