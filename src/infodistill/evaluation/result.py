"""What an evaluation found: scores by network and column, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

from rich.table import Table

from infodistill.evaluation.protocols import EvaluationProtocol

STAMP = "tensors_sha256"
"""Under this key an evaluation or a measure names the tensors it is about."""

COLUMNS = ("random", "random_same_bytes", "distilled", "distilled_hard", "full")
"""Every column a result can have, in the order people read them."""


@dataclass(frozen=True)
class Score:
    """Test accuracies in [0, 1] of `sets` training sets, the same number of networks each, listed set by set."""

    values: tuple[float, ...]
    sets: int = 1

    def __post_init__(self) -> None:
        if not self.values or len(self.values) % self.sets:
            raise ValueError(f"a score needs the same number of accuracies per set, got {len(self.values)}/{self.sets}")

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def nets_per_set(self) -> int:
        return self.n // self.sets

    @property
    def mean(self) -> float:
        return fmean(self.values)

    @property
    def std(self) -> float:
        """Sample standard deviation (n - 1) over sets x networks; 0 for one network."""
        return stdev(self.values) if self.n > 1 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The contract's {"mean", "std", "n", "sets", "nets_per_set"}."""
        return {
            "mean": self.mean,
            "std": self.std,
            "n": self.n,
            "sets": self.sets,
            "nets_per_set": self.nets_per_set,
        }

    def text(self) -> str:
        return in_words(self.as_dict())


@dataclass(frozen=True)
class Result:
    """One evaluation under one protocol.

    `nets` maps a network name to its columns; `full` may be missing, and `full_reasons` says why. Bytes are those of
    one set as stored. `settings` is recorded with the numbers but is no part of the JSON contract; so is `tensors`, the
    sha256 of the tensors that were read, where they came from a folder.
    """

    protocol: EvaluationProtocol
    ipc: int
    nets: Mapping[str, Mapping[str, Score]]
    full_reasons: Mapping[str, str | None]
    images_bytes: int
    labels_bytes: int
    seconds: float
    device: str
    settings: Mapping[str, Any]
    tensors: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """What `evaluate --json` prints: {"protocol", "ipc", "nets", bytes, "seconds", "device"}; accuracies in 0-1."""
        return {
            "protocol": self.protocol.name,
            "ipc": self.ipc,
            "nets": {name: self._net(name) for name in self.nets},
            "images_bytes": self.images_bytes,
            "labels_bytes": self.labels_bytes,
            "seconds": round(self.seconds, 3),
            "device": self.device,
        }

    def record(self) -> dict[str, Any]:
        """`as_dict` with every accuracy, the protocol in full and the settings: what an artefact stores."""
        values = {
            name: {column: list(score.values) for column, score in columns.items()}
            for name, columns in self.nets.items()
        }
        how: dict[str, Any] = {"protocol_settings": self.protocol.as_dict(), "settings": dict(self.settings)}
        how |= {STAMP: self.tensors} if self.tensors is not None else {}
        return {**self.as_dict(), "values": values, **how}

    def table(self) -> Table:
        """Accuracies in per cent, mean ± sample std where there are several, one row a network."""
        used = [column for column in COLUMNS if any(column in columns for columns in self.nets.values())]
        table = Table(title=f"protocol {self.protocol.name}, {self.ipc} images per class, accuracy in %")
        for heading in ("network", *used):
            table.add_column(heading.replace("_", " "), justify="left" if heading == "network" else "right")
        for name, columns in self.nets.items():
            table.add_row(name, *(f"{columns[c].text()} (n={columns[c].n})" if c in columns else "–" for c in used))
        return table

    def _net(self, name: str) -> dict[str, Any]:
        columns: dict[str, Any] = {column: score.as_dict() for column, score in self.nets[name].items()}
        columns.setdefault("full", None)
        columns["full_reason"] = self.full_reasons.get(name)
        return columns


def in_words(score: Mapping[str, Any]) -> str:
    """Mean ± std of a score, accuracies in [0, 1] as per cent; one number has no spread, and none is shown."""
    spread = "" if score.get("n") == 1 else f" ± {100 * score['std']:.1f}"
    return f"{100 * score['mean']:.1f}{spread}"


def seeds_of(record: Mapping[str, Any], net: str) -> list[int]:
    """The seeds of the networks of one architecture in a recorded evaluation."""
    settings: Mapping[str, Any] = record.get("settings", {})
    return list(record.get("net_seeds", {}).get(net, settings.get("seeds", [])))


def values_of(record: Mapping[str, Any], net: str, column: str) -> list[float]:
    """Every accuracy of one cell of a recorded evaluation, set by set; empty where none was recorded."""
    return list(record.get("values", {}).get(net, {}).get(column, []))


def combined(results: Sequence[Result]) -> Result:
    """Evaluations of one set, network after network, as one."""
    return replace(
        results[0],
        nets={name: columns for result in results for name, columns in result.nets.items()},
        full_reasons={name: reason for result in results for name, reason in result.full_reasons.items()},
        seconds=sum(result.seconds for result in results),
    )
