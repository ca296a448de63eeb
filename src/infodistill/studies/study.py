"""What a study is: contenders, sizes, budgets; and the jobs that follow from it and from what is done.

A contender makes a set of a size at a setting from a seed. Its settings are compared on held-out training images, the
best is tested once on the test images, with fresh seeds: test data choose nothing. Every contender that has settings
has equally many, at most `BUDGET`, so that none is tuned harder than another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from infodistill.diffusion.running.calibration import BUDGET, FRESH, Setting
from infodistill.distilled import Distilled
from infodistill.serialise import canonical_json

if TYPE_CHECKING:
    from infodistill.diffusion.model import DiffusionModel
    from infodistill.studies.bench import Bench

Make = Callable[["Bench", int, Setting, int], Distilled]
"""make(bench, images per class, setting, seed)."""


@dataclass(frozen=True)
class Contender:
    """A column of the table.

    Attributes:
        name: its name.
        note: what it is, in a line.
        make: samples or selects one set.
        settings: by images per class, from the mildest: a tie goes to the earlier one. One setting is no choice.
    """

    name: str
    note: str
    make: Make
    settings: Callable[[int], tuple[Setting, ...]]


def untuned(ipc: int) -> tuple[Setting, ...]:
    """Nothing to choose."""
    del ipc
    return ({},)


@dataclass(frozen=True)
class Budget:
    """How often a cell is measured: (seeds of the set, networks of each), when choosing and when testing."""

    validation: tuple[int, int] = (2, 1)
    test: tuple[int, int] = (5, 3)


@dataclass(frozen=True)
class Study:
    """A comparison that can be run again.

    Attributes:
        name: as `infodistill reproduce` calls it.
        title: a line for people.
        data: what `load_data` takes.
        net: the network every set is judged by.
        protocol: how it is trained.
        held: the fraction of the training images that settings are chosen on.
        sizes: images per class, with how often their cells are measured.
        contenders: the columns.
        against: names of the contenders all others are compared with, seed by seed.
        claims: names of the contenders whose gain over `against[0]` is the question.
        prepare: what has to be trained before, wave after wave, by name; what it leaves is found again.
        generator: the model they left.
        facts: further JSON-able facts of the definition.
        reading: further arguments of `load_data`.
    """

    name: str
    title: str
    data: str
    net: str
    protocol: str
    held: float
    sizes: Mapping[int, Budget]
    contenders: tuple[Contender, ...]
    against: tuple[str, ...]
    claims: tuple[str, ...]
    prepare: tuple[Mapping[str, Callable[[Bench], None]], ...]
    generator: Callable[[Bench], DiffusionModel]
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    reading: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        for ipc in self.sizes:
            counts = {c.name: len(c.settings(ipc)) for c in self.contenders}
            tuned = {count for count in counts.values() if count > 1}
            if len(tuned) > 1 or max(counts.values()) > BUDGET:
                raise ValueError(f"every tuned contender needs equally many settings, at most {BUDGET}, got {counts}")

    def contender(self, name: str) -> Contender:
        return next(one for one in self.contenders if one.name == name)

    def definition(self) -> dict[str, Any]:
        """Everything a number depends on besides the code, the images and the machine; JSON-able."""
        told = {
            "study": self.name,
            "data": self.data,
            "net": self.net,
            "protocol": self.protocol,
            "held": self.held,
            "reading": dict(self.reading),
            "sizes": {str(ipc): asdict(budget) for ipc, budget in self.sizes.items()},
            "settings": {
                one.name: {str(ipc): [dict(s) for s in one.settings(ipc)] for ipc in self.sizes}
                for one in self.contenders
            },
            **self.facts,
        }
        return json.loads(canonical_json(told))


@dataclass(frozen=True)
class Job:
    """One piece of work, and the name of the file it leaves: a preparation, or one set sampled and judged."""

    phase: str
    contender: str
    ipc: int = 0
    number: int = 0
    seed: int = 0
    nets: int = 0

    @property
    def name(self) -> str:
        if self.phase == "prepare":
            return f"prepare-{self.contender}"
        return f"{self.phase}-ipc{self.ipc}-{self.contender.replace(' ', '-')}-{self.number}-seed{self.seed}"

    @property
    def net_seeds(self) -> range:
        """Networks of their own for every seed, the same for every contender: differences are paired."""
        return range(self.seed * self.nets, (self.seed + 1) * self.nets)

    @property
    def cost(self) -> float:
        """Work in units of a network on a small set, to divide labour by; nothing else depends on it."""
        return 60.0 if self.phase == "prepare" else (self.nets + 0.5) * (1 + self.ipc / 6)


Records = Mapping[str, Mapping[str, Any]]
"""What jobs left, by the name of the job."""


def due(study: Study, records: Records) -> list[Job]:
    """The jobs of the first stage that is not complete, those that are done included; none when all are.

    Stages: what has to be trained; validation, and tests of what has no settings; tests at the settings chosen.
    """
    waves = [[Job("prepare", name) for name in wave] for wave in study.prepare]
    fixed = [job for job in _tests(study, {}) if job.contender not in _tuned(study, job.ipc)]
    for stage in (*waves, _validations(study) + fixed):
        if any(job.name not in records for job in stage):
            return stage
    tests = _tests(study, {(name, ipc): chosen(study, name, ipc, records) for name, ipc in _cells(study)})
    return tests if any(job.name not in records for job in tests) else []


def total(study: Study) -> int:
    """Jobs in all."""
    return sum(map(len, study.prepare)) + len(_validations(study)) + len(_tests(study, {}))


def chosen(study: Study, name: str, ipc: int, records: Records) -> int:
    """The number of the setting with the best mean validation accuracy; of equal ones the first."""
    scores = validation_scores(study, name, ipc, records)
    return max(range(len(scores)), key=lambda number: (scores[number], -number))


def validation_scores(study: Study, name: str, ipc: int, records: Records) -> list[float]:
    """Mean validation accuracy of every setting of a cell."""
    count = len(study.contender(name).settings(ipc))
    if count == 1:
        return [0.0]
    jobs = [job for job in _validations(study) if (job.contender, job.ipc) == (name, ipc)]
    return [fmean(fmean(records[job.name]["accuracies"]) for job in jobs if job.number == n) for n in range(count)]


def shares(jobs: list[Job], parts: int) -> list[list[Job]]:
    """The jobs divided among `parts` processes, the dearest first, each to whoever has least to do."""
    loads, divided = [0.0] * parts, [list[Job]() for _ in range(parts)]
    for job in sorted(jobs, key=lambda job: -job.cost):  # stable: the same division in every process
        lightest = loads.index(min(loads))
        divided[lightest].append(job)
        loads[lightest] += job.cost
    return divided


def tests_of(study: Study, name: str, ipc: int, number: int) -> list[Job]:
    """The tests of one cell at one of its settings."""
    seeds, nets = study.sizes[ipc].test
    return [Job("test", name, ipc, number, seed, nets) for seed in range(seeds)]


def _tests(study: Study, numbers: Mapping[tuple[str, int], int]) -> list[Job]:
    return [job for name, ipc in _cells(study) for job in tests_of(study, name, ipc, numbers.get((name, ipc), 0))]


def _validations(study: Study) -> list[Job]:
    jobs: list[Job] = []
    for name, ipc in _cells(study):
        seeds, nets = study.sizes[ipc].validation
        numbers = range(len(study.contender(name).settings(ipc))) if name in _tuned(study, ipc) else ()
        jobs += [Job("validation", name, ipc, n, FRESH + seed, nets) for n in numbers for seed in range(seeds)]
    return jobs


def _cells(study: Study) -> list[tuple[str, int]]:
    return [(one.name, ipc) for ipc in study.sizes for one in study.contenders]


def _tuned(study: Study, ipc: int) -> set[str]:
    return {one.name for one in study.contenders if len(one.settings(ipc)) > 1}
