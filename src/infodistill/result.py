"""What an evaluation found: scores by network and column, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

from rich.table import Table

from infodistill.protocols import EvaluationProtocol
from infodistill.serialise import canonical_json

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
        return f"{100 * self.mean:.1f} ± {100 * self.std:.1f}"


@dataclass(frozen=True)
class Result:
    """One evaluation under one protocol.

    `nets` maps a network name to its columns; `full` may be missing, and `full_reasons` says why. Bytes are those of
    one set as stored. `settings` is recorded with the numbers but is no part of the JSON contract.
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
        how = {"protocol_settings": self.protocol.as_dict(), "settings": dict(self.settings)}
        return {**self.as_dict(), "values": values, **how}

    def table(self) -> Table:
        """Accuracies in per cent, mean ± sample std, one row a network."""
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


def seeds_of(record: Mapping[str, Any], net: str) -> list[int]:
    """The seeds of the networks of one architecture in a recorded evaluation."""
    settings: Mapping[str, Any] = record.get("settings", {})
    return list(record.get("net_seeds", {}).get(net, settings.get("seeds", [])))


def values_of(record: Mapping[str, Any], net: str, column: str) -> list[float]:
    """Every accuracy of one cell of a recorded evaluation, set by set; empty where none was recorded."""
    return list(record.get("values", {}).get(net, {}).get(column, []))


def conditions(record: Mapping[str, Any]) -> str:
    """What two recorded evaluations must share to stand side by side: data, protocol settings and precision."""
    settings: Mapping[str, Any] = record.get("settings", {})
    protocol = {name: value for name, value in dict(record.get("protocol_settings", {})).items() if name != "note"}
    data = [settings.get("fingerprint"), settings.get("test_fingerprint")]
    return canonical_json([data, protocol, dict(settings.get("policy", {})).get("precision", "float32")])


def joined(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded evaluation beside an earlier one of the same set: networks trained then and not now are kept.

    Only under the same conditions; otherwise the earlier one is replaced. `seconds` become those of both where it is
    known what the earlier networks took (each evaluated on its own), else they are those of all that was ever trained.
    """
    alone = {name: now["seconds"] for name in now["nets"] if len(now["nets"]) == 1 and "seconds" in now}
    took, seeds = {**now.get("net_seconds", {}), **alone}, {name: seeds_of(now, name) for name in now["nets"]}
    if before is None or "settings" not in before or conditions(before) != conditions(now):
        return {**now, "net_seeds": seeds, "net_seconds": took}
    kept = [name for name in before["nets"] if name not in now["nets"]]
    known = {name: value for name, value in before.get("net_seconds", {}).items() if name in kept}
    earlier = sum(known.values()) if len(known) == len(kept) else before["seconds"]
    return {
        **now,
        "nets": {**before["nets"], **now["nets"]},
        "values": {**before.get("values", {}), **now.get("values", {})},
        "robust": {**before.get("robust", {}), **now.get("robust", {})},
        "net_seeds": {**{name: seeds_of(before, name) for name in kept}, **seeds},
        "net_seconds": {**known, **took},
        "seconds": round(now["seconds"] + earlier, 3),
    }


def combined(results: Sequence[Result]) -> Result:
    """Evaluations of one set, network after network, as one."""
    return replace(
        results[0],
        nets={name: columns for result in results for name, columns in result.nets.items()},
        full_reasons={name: reason for result in results for name, reason in result.full_reasons.items()},
        seconds=sum(result.seconds for result in results),
    )
