"""Choosing strengths on a part of the training data that is held out for it; test data never chooses anything."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infodistill.building import jobs
from infodistill.building.jobs import Strength
from infodistill.evaluation.evaluating import evaluate
from infodistill.evaluation.result import Score
from infodistill.files import write_atomically
from infodistill.real import RealData
from infodistill.running.runfolder import follow

if TYPE_CHECKING:
    from infodistill.running.conduct import Prepared

NETS = 3
"""Networks behind each held-out accuracy."""


def candidates(grid: Mapping[str, tuple[Strength, ...]]) -> list[dict[str, Strength]]:
    """Every combination of the strengths, with 0 in every term's grid, once and first."""
    choices = [
        dict.fromkeys((Strength(strengths[0].kind, 0.0), *(one for one in strengths if one.value > 0)), None)
        for strengths in grid.values()
    ]
    return [dict(zip(grid, combination, strict=True)) for combination in itertools.product(*choices)]


def choose(prepared: Prepared, folder: Path, fraction: float) -> tuple[dict[str, Strength], dict[str, Any]]:
    """Distil from the rest with every candidate, score it on the held-out part, and return the best with its record.

    Each candidate is a run of its own in `folder` and resumes like one; scores that are known are not made again.
    Ties go to the earlier candidate, so a term has to earn its place over 0.
    """
    path = folder / "choice.json"
    if path.exists():  # a run keeps its choice, also when it is made longer
        known = json.loads(path.read_text(encoding="utf-8"))
        prepared.say(words(known["record"]))
        return {name: Strength(**told) for name, told in known["strengths"].items()}, known["record"]
    rest, held_out = prepared.real.split(fraction, prepared.request.seed)
    rest.test = held_out
    tried: list[tuple[Score, str, dict[str, Strength]]] = []
    for candidate in candidates(prepared.grid):
        label = ", ".join(f"{name}={strength}" for name, strength in candidate.items()) or "plain"
        score = _score(prepared, rest, candidate, folder / label.replace(":", "-").replace(", ", "+"))
        prepared.say(f"held-out accuracy {score.text()} % with {label}")
        tried.append((score, label, candidate))
    best = max(tried, key=lambda entry: entry[0].mean)
    record = {
        "fraction": fraction,
        "held_out_images": len(held_out),
        "nets": NETS,
        "scores": {label: score.mean for score, label, _ in tried},
        "accuracies": {label: list(score.values) for score, label, _ in tried},
        "chosen": best[1],
        "then": "re-run on all training data",
    }
    told = {"strengths": {name: jobs.described(strength) for name, strength in best[2].items()}, "record": record}
    write_atomically(path, lambda partial: partial.write_text(json.dumps(told, indent=1), encoding="utf-8"))
    prepared.say(words(record))
    return best[2], record


def words(record: Mapping[str, Any]) -> str:
    """What was chosen, on how much, and over what; settings with the same mean are said to tie."""
    label, scores = record["chosen"], record["scores"]
    reached = Score(tuple(record.get("accuracies", {}).get(label, [scores[label]]))).text()
    seen = f"{record['held_out_images']} images, {record['nets']} networks"
    others = [f"{name} {100 * score:.1f}" for name, score in scores.items() if name != label]
    tied = [name for name, score in scores.items() if name != label and score >= scores[label]]
    text = f"chosen: {label} (held-out accuracy {reached} %, {seen})"
    text += f"; tried {', '.join(others)}" if others else ""
    return text + (f"; it ties with {' and '.join(tied)}, and the first is taken" if tied else "")


def _score(prepared: Prepared, rest: RealData, candidate: Mapping[str, Strength], folder: Path) -> Score:
    """Held-out accuracies of one candidate."""
    path = folder / "score.json"
    wanted = {"steps": prepared.recipe.steps, "data": rest.fingerprint}
    if path.exists() and (known := json.loads(path.read_text()))["of"] == wanted:
        return Score(tuple(known.get("accuracies", [known["accuracy"]])))
    folder.mkdir(parents=True, exist_ok=True)
    job = prepared.job(rest, candidate)
    follow(job, folder, prepared.recipe.steps, tell=prepared.tell, what=f"validate {folder.name}")
    recipe = prepared.recipe
    protocol = jobs.protocol(recipe, rest)
    nets = {recipe.net: jobs.network(recipe.net, rest.shape)}
    result = evaluate(
        job.export(),
        rest,
        nets,
        protocol=protocol,
        seeds=range(NETS),
        random_subsets=1,
        policy=prepared.policy,
        cache=prepared.cache,
        progress=prepared.tell,
    )
    score = result.nets[recipe.net]["distilled"]
    text = json.dumps({"accuracy": score.mean, "accuracies": score.values, "of": wanted})
    write_atomically(path, lambda partial: partial.write_text(text, encoding="utf-8"))
    return score
