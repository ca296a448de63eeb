"""Folders of artefacts as contenders: the sets of one method together, and who may stand beside whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from infodistill.comparison.differences import Scored
from infodistill.compute.peak import peak_of
from infodistill.evaluation.recording import Conditions, conditions, evaluations
from infodistill.evaluation.result import seeds_of, values_of
from infodistill.manifest import TENSORS, recorded
from infodistill.progress import counted
from infodistill.running.runs import Run, read_run
from infodistill.serialise import canonical_json

OF_ONE_SIZE = ("name", "ipc", "expected", "notes", "terms")
"""What recipes of one method for several sizes may differ in; `terms` are those it offers, the used ones are told."""


@dataclass(frozen=True)
class Entrant:
    """One artefact in its folder."""

    folder: Path
    run: Run

    @property
    def meta(self) -> Mapping[str, Any]:
        return self.run.distilled.meta

    @property
    def task(self) -> tuple[str, int]:
        """What must agree before accuracies may be compared: the data, by fingerprint, and images per class."""
        return str(self.meta.get("fingerprint", self.meta.get("data"))), self.run.distilled.stored_ipc

    @property
    def task_words(self) -> str:
        ipc = self.task[1]
        return f"{self.meta.get('data', 'unnamed data')}, {counted(ipc, 'image')} per class"

    @property
    def recipe(self) -> str:
        """Everything the set was made by except the seed and what was measured on the way: one text per method.

        A set that does not tell what made it (from the Python interface, or a file that was imported) is alone, or
        with the other sets of that file: sets that agree in what nobody wrote down need not be of one method.
        """
        return canonical_json([*self._made_by(dict(self.meta.get("recipe") or {})), list(self.task)])

    @property
    def line(self) -> str:
        """`recipe` for any number of images per class: what joins the sizes of a method."""
        kept = {k: v for k, v in dict(self.meta.get("recipe") or {}).items() if k not in OF_ONE_SIZE}
        return canonical_json([*self._made_by(kept), self.task[0]])

    def _made_by(self, recipe: Mapping[str, Any]) -> list[Any]:
        meta = self.meta
        terms = {
            name: {key: value for key, value in dict(told).items() if key != "last_weight"}
            for name, told in dict(meta.get("terms", {})).items()
        }
        asked = [dict(meta.get(name) or {}) for name in ("guidance", "generator", "imported")]
        parts = [recipe, *(meta.get(name) for name in ("label", "method", "net", "steps", "sampling", "added"))]
        file = asked[2].get("sha256")
        alone = None if file or meta.get("recipe") or meta.get("sampling") else recorded(self.folder, TENSORS)
        return [*parts, terms, asked[0].get("terms"), asked[1].get("from"), file, alone]

    def records(self, protocol: str) -> list[Mapping[str, Any]]:
        """Its evaluations under a protocol, one for each conditions, the last first."""
        return evaluations((self.run.results or {}).get(protocol))

    def record(self, protocol: str, under: Conditions) -> Mapping[str, Any]:
        """The last evaluation under these conditions; empty where there is none."""
        return next((one for one in self.records(protocol) if under.allow(conditions(one))), {})

    def scored(self, protocol: str, net: str, under: Conditions) -> Scored | None:
        """Its accuracies by network seed; None where it was not evaluated so."""
        record = self.record(protocol, under)
        values, seeds = values_of(record, net, "distilled"), seeds_of(record, net)
        if not values or len(values) != len(seeds):
            return None
        return Scored(self.meta.get("seed"), dict(zip(seeds, values, strict=True)))


@dataclass(frozen=True)
class Contender:
    """A method on one task: the sets it made from several seeds."""

    label: str
    entrants: tuple[Entrant, ...]

    @property
    def method(self) -> str:
        """Its label before it was made distinct: the name that other sizes of the method share."""
        return _label(self.entrants[0])

    @property
    def line(self) -> str:
        """What made it, but for the size: contenders of one line are one method at several sizes."""
        return self.entrants[0].line

    def scored(self, protocol: str, net: str, under: Conditions) -> list[Scored]:
        found = (one.scored(protocol, net, under) for one in self.entrants)
        return [scored for scored in found if scored is not None]

    def costs(self, protocol: str, under: Conditions) -> dict[str, float | int | str | None]:
        """Means over its sets: seconds of distilling and evaluating, bytes; the largest peak of memory, and of what.

        No peak where its sets were measured by different means: what an accelerator's allocator handed out is no part
        of a process's resident memory, and neither bounds the other.
        """
        sets = [one.run.distilled for one in self.entrants]
        records = [one.record(protocol, under) for one in self.entrants]
        peaks = [peak for one in self.entrants if (peak := peak_of(one.meta)) is not None]
        kinds = {kind for kind, _ in peaks}
        alike = len(kinds) == 1
        return {
            "seconds": _mean([one.meta.get("seconds") for one in self.entrants]),
            "peak_memory_bytes": max(value for _, value in peaks) if alike else None,
            "peak_memory_of": kinds.pop() if alike else None,
            "images_bytes": round(fmean(one.images_bytes for one in sets)),
            "labels_bytes": round(fmean(one.labels_bytes + one.scalars_bytes for one in sets)),
            "evaluation_seconds": _mean([record.get("seconds") for record in records]),
        }


def entrants(folders: Sequence[Path]) -> tuple[list[Entrant], list[str]]:
    """The artefacts of some folders, and sentences on folders that hold the same tensors, which count once.

    Raises:
        FileNotFoundError: a folder holds no artefact.
        ValueError: an artefact is damaged.
    """
    found: dict[str, Entrant] = {}
    notes: list[str] = []
    for folder in folders:
        entrant, digest = Entrant(folder, read_run(folder)), str(recorded(folder, TENSORS))
        kept = found.setdefault(digest, entrant)
        if kept is not entrant:
            # An import knows neither method nor seconds: the original speaks for both.
            first, copy = (
                (entrant, kept) if "imported" in kept.meta and "imported" not in entrant.meta else (kept, entrant)
            )
            found[digest] = first
            notes.append(f"{copy.folder} holds the very images of {first.folder} and counts once")
    return list(found.values()), notes


def contenders(found: Sequence[Entrant]) -> list[Contender]:
    """Sets of one recipe together, in order of appearance; labels are made distinct within a task."""
    by_recipe: dict[str, list[Entrant]] = {}
    for one in found:
        by_recipe.setdefault(one.recipe, []).append(one)
    plain = [Contender(_label(members[0]), tuple(members)) for members in by_recipe.values()]
    tasks = [one.entrants[0].task for one in plain]
    labels = distinct([(one, (one.label, task)) for one, task in zip(plain, tasks, strict=True)])
    return [replace(one, label=label) for one, label in zip(plain, labels, strict=True)]


def distinct(named: Sequence[tuple[Contender, tuple[str, object]]]) -> list[str]:
    """A label for each of (contender, (label, where it must be alone)): with its folder where another has it too.

    The folder's name where that tells them apart, else all of its path.
    """
    keys = [key for _, key in named]
    short = [(key, one.entrants[0].folder.name) for one, key in named]
    return [
        key[0]
        if keys.count(key) == 1
        else f"{key[0]} ({one.entrants[0].folder.name if short.count(names) == 1 else one.entrants[0].folder})"
        for (one, key), names in zip(named, short, strict=True)
    ]


def by_task(found: Sequence[Contender]) -> Iterator[tuple[str, list[Contender]]]:
    """(data and size in words, the contenders on it), the task of the first contender first."""
    tasks: dict[tuple[str, int], list[Contender]] = {}
    for one in found:
        tasks.setdefault(one.entrants[0].task, []).append(one)
    for members in tasks.values():
        yield members[0].entrants[0].task_words, members


def _label(entrant: Entrant) -> str:
    """The label it was given, or its method and the terms added to it."""
    meta = entrant.meta
    method = str(meta.get("method") or entrant.folder.resolve().name)
    return str(meta.get("label") or "+".join([method, *dict(meta.get("terms", {}))]))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(fmean(known), 3) if known else None
