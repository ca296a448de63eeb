"""The sets of the scatter: distilled on short budgets, chosen from real images, or taken over from finished studies."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

import infodistill
from infodistill import recipe as recipes
from infodistill.building import jobs
from infodistill.building.strengths import Strength
from infodistill.compute import Policy
from infodistill.distilled import ALL_ROWS, Distilled
from infodistill.methods import nearest, selection
from infodistill.real import RealData
from infodistill.seeding import key
from infodistill.types import LabelKind

METHODS = ("dm", "dc", "dsa", "idc", "idm", "ncfm", "iid", "dcc", "cafe", "dm+cmi", "dm+mim", "ld", "frepo")
GROWN = ("dm", "dc", "dsa", "dm+mim")
"""Methods whose sets after a tenth of the budget are kept too."""

NOT_ALONE = ("dm+cmi", "iid", "herding")
"""Not for one image per class: a term is constant, or the choice is that of k-centre."""

POLICY = Policy(threads=1)


@dataclass(frozen=True)
class Piece:
    """One set to be made: a method at a size from a seed; `budget` in processor seconds."""

    method: str
    ipc: int
    seed: int
    budget: float = 5.0

    def name(self, data: str, part: str = "") -> str:
        return f"{data}-{self.method}-ipc{self.ipc}-seed{self.seed}{part}"


def pieces(sizes: tuple[int, ...], seeds: int, subsets: int, budget: float) -> list[Piece]:
    """Everything made here: the first seed of every kind, more random subsets, other seeds; a run may be cut short."""
    found: list[Piece] = []
    for seed in range(max(seeds, subsets)):
        for ipc in sizes:
            found += [Piece("random", ipc, seed)] if seed < subsets else []
            found += [Piece(name, ipc, seed) for name in CHOSEN if name != "random" and seed < seeds]
            found += [Piece(name, ipc, seed, budget) for name in METHODS if seed < seeds]
    found = [piece for piece in found if piece.ipc > 1 or piece.method not in NOT_ALONE]
    return sorted(found, key=lambda piece: 0 if not piece.seed else 1 + (piece.method != "random"))


def made(piece: Piece, real: RealData, cache: Path) -> Iterator[tuple[str, Distilled]]:
    """(suffix of the name, set): the finished one last, before it what a tenth of the budget gave, for some methods."""
    if piece.method in CHOSEN:
        yield "", CHOSEN[piece.method](real, piece, cache)
        return
    base, _, term = piece.method.partition("+")
    recipe = jobs.fitted(recipes.parse(recipes.find(real.name, base, piece.ipc)[1]), real)
    add = {term: Strength("ratio", 0.03)} if term else {}
    job = jobs.build(recipe, real, seed=piece.seed, policy=POLICY, add=add, cache=cache)
    grown = piece.method in GROWN and piece.seed == 0
    start = time.process_time()
    for _ in job.run(recipe.steps):
        spent = time.process_time() - start
        if grown and spent >= piece.budget / 10:
            grown = False
            paused = time.process_time()
            yield "-tenth", plain(job.export(method=piece.method))
            start += time.process_time() - paused  # whoever takes the set may judge it at once
        if spent >= piece.budget:
            break
    yield "", plain(job.export(method=piece.method, notes={"stopped_at": job.step, "of": recipe.steps}))


def plain(distilled: Distilled) -> Distilled:
    """As the common protocol takes it: the whole set at once, scores (FRePo) replaced by the classes."""
    hard = distilled.hard() if distilled.label_kind is LabelKind.SCORES else distilled
    return replace(hard, plan=(ALL_ROWS,))


def _view(real: RealData, piece: Piece, cache: Path) -> Any:
    recipe = recipes.parse(recipes.find(real.name, "dm", piece.ipc)[1])
    views = jobs.teachers_for(recipe, real, policy=POLICY, cache=cache).views
    return views[piece.seed % len(views)]


CHOSEN: Mapping[str, Callable[[RealData, Piece, Path], Distilled]] = {
    "random": lambda real, p, cache: selection.random(real, p.ipc, seed=p.seed),
    "nearest": lambda real, p, cache: nearest(real, p.ipc, seed=p.seed, n_init=1),
    "k-centre": lambda real, p, cache: selection.k_centre(real, _view(real, p, cache), p.ipc, seed=p.seed),
    "herding": lambda real, p, cache: selection.herding(real, _view(real, p, cache), p.ipc, seed=p.seed),
}


def sampled(folder: Path, real: RealData, sizes: tuple[int, ...]) -> Iterator[tuple[str, Distilled]]:
    """(name, set) of the sets that a study of sampling kept: one per contender and size."""
    for cell in sorted((folder / "cells").glob("test-*-seed0.json")):
        told = json.loads(cell.read_text())
        stored = folder / "sets" / f"{cell.stem.replace(' ', '-')}.safetensors"
        if told["ipc"] not in sizes or told["contender"] in ("random", "nearest") or not stored.exists():
            continue
        tensors = load_file(stored)
        x = real.space.from_pixels(tensors["pixels"].float() / 255)
        method = f"sampled {told['contender']}"
        meta = {"data": real.name, "fingerprint": real.fingerprint, "method": method, "seed": 0}
        name = f"{real.name}-{method.replace(' ', '-')}-ipc{told['ipc']}-seed0"
        yield name, Distilled(x, tensors["y"], real.space, real.class_names, meta=meta)


def recorded(results: Path, sets: Path, real: RealData) -> Iterator[tuple[str, Distilled, dict[str, Any]]]:
    """(name, set, score) of a benchmark of methods (`family.py`) under its common protocol, its references included.

    The random subsets are made again from their keys; each was the training set of one network.
    """
    for path in sorted(results.glob("*-seed*.json")):
        if not (sets / path.stem).exists():
            continue
        told = json.loads(path.read_text())["evaluations"]["own"]
        (score,) = told["nets"].values()
        distilled = plain(infodistill.load(sets / path.stem))
        one = {word: score["distilled"][word] for word in ("mean", "std", "n")}
        yield f"{real.name}-{path.stem}", distilled, {**one, "protocol": told["protocol"]}
    for path in sorted(sets.parent.glob("random-*-convnet*.json")):
        told, ipc = json.loads(path.read_text()), int(path.name.split("-")[1])
        for number, value in enumerate(told["accuracies"]):
            subset = selection.random(real, ipc, seed=key(number, "evaluate.random"))
            score = {"mean": value, "std": None, "n": 1, "values": [value], "protocol": "as the others"}
            yield f"{real.name}-random-ipc{ipc}-seed{number}", subset, score
