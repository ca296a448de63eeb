"""The networks an evaluation trains, one by one: what each of them is, and how several workers train them.

Columns are made by asking for one accuracy after another. With workers the same columns are made twice: first to learn
which accuracies will be asked for, then with the answers of the workers, which come in that order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infodistill.distilled import Distilled
from infodistill.evaluation.job import Job
from infodistill.evaluation.references import References
from infodistill.serialise import canonical_json
from infodistill.types import NetFactory

RANDOM, DISTILLED, HARD, FULL = "random", "distilled", "distilled, hard", "full data"
"""What a network is trained on."""


@dataclass(frozen=True)
class Trial:
    """One network to train and test.

    `seed` keys its weights and batches, and the subset of a random one, of `ipc` images per class; `place` says which
    of several distilled sets.
    """

    net: str
    what: str
    seed: int
    ipc: int = 0
    place: int = 0


@dataclass(frozen=True)
class Bench:
    """What all trials of an evaluation share: the job, networks by name, the sets."""

    job: Job
    nets: Mapping[str, NetFactory]
    sets: Sequence[Distilled]


Ask = Callable[[Trial], float]
"""ask(trial) -> its test accuracy."""


class Looked(References):
    """Reference columns that are read from their folder and never written to it."""

    def _store(self, key: Mapping[str, Any], values: list[float]) -> None:
        self.known[canonical_json(dict(key))] = list(values)


def planned(columns: Callable[[References, Ask], object], references: References) -> list[Trial]:
    """The trials that `columns` asks for, in order; nothing is trained, nothing written."""
    asked: list[Trial] = []

    def ask(trial: Trial) -> float:
        asked.append(trial)
        return 0.0

    columns(Looked(references.folder), ask)
    return asked


def answered(trials: Iterable[Trial], accuracies: Iterable[float], otherwise: Ask) -> Ask:
    """What gives each trial its accuracy, in the order of `trials`.

    Another process may have completed a reference column since: then some are not asked for, and passed over. Should a
    column have vanished instead, `otherwise` is asked.
    """
    pairs = zip(trials, accuracies, strict=True)

    def ask(trial: Trial) -> float:
        found = next((value for known, value in pairs if known == trial), None)
        return otherwise(trial) if found is None else found

    return ask
