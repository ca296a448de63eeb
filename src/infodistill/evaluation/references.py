"""The reference columns: how many real images a set is compared with, and the cache of their accuracies.

Random subsets and the full data are trained once, not once per distilled set.

An entry is a list of accuracies, network by network, under a key that names everything they depend on. It is saved
after every network, so an interrupted evaluation continues where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from infodistill.distilled import Distilled
from infodistill.real import RealData
from infodistill.serialise import canonical_json, pretty_json, read_object, safe_name, sha256, write_bytes

VERSION = 1


@dataclass
class References:
    """Accuracies by key, in memory and, given a folder, on disk (one JSON file a key)."""

    folder: Path | None = None
    known: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def get(self, key: Mapping[str, Any]) -> list[float]:
        """What is known under the key; an unreadable or foreign file counts as nothing."""
        text = canonical_json(dict(key))
        if text not in self.known:
            self.known[text] = self._read(key)
        return list(self.known[text])

    def complete(self, key: Mapping[str, Any], count: int, train: Callable[[int], float]) -> tuple[float, ...]:
        """The first `count` accuracies; `train(i)` makes the i-th where it is missing."""
        values = self.get(key)
        for number in range(len(values), count):
            values.append(train(number))
            self._store(key, values)
        return tuple(values[:count])

    def _store(self, key: Mapping[str, Any], values: list[float]) -> None:
        self.known[canonical_json(dict(key))] = list(values)
        if self.folder is not None:
            write_bytes(self._path(self.folder, key), pretty_json({"key": dict(key), "accuracies": values}))

    def _read(self, key: Mapping[str, Any]) -> list[float]:
        if self.folder is None or not self._path(self.folder, key).is_file():
            return []
        try:
            content = read_object(self._path(self.folder, key))
        except ValueError:
            return []
        if canonical_json(content.get("key")) != canonical_json(dict(key)):
            return []
        return [float(value) for value in cast("list[float]", content.get("accuracies", []))]

    @staticmethod
    def _path(folder: Path, key: Mapping[str, Any]) -> Path:
        digest = sha256(canonical_json({"version": VERSION, **key}).encode())[:20]
        return folder / f"{safe_name(str(key.get('kind')))}-{safe_name(str(key.get('net')))}-{digest}.json"


def random_ipc(distilled: Distilled, real: RealData) -> int:
    """Real images per class of the `random` column: the set's own number, as they are stored.

    Images that are made of factors may be more than the smallest class has; then it is what that class has.
    """
    own = distilled.stored_ipc
    return min(own, int(real.counts.min())) if distilled.factors else own


def same_bytes_ipc(distilled: Distilled, real: RealData) -> int:
    """Real images per class that the bytes of the set buy, each stored as float32 values with one hard label.

    At least the set's own ipc, unless its images are made of factors: then at least 1. Never more than the smallest
    class has. Every decoded tile counts its label, which favours the real images. A set of fewer images than classes is
    thus compared with more bytes than it has.
    """
    total = distilled.images_bytes + distilled.labels_bytes + distilled.scalars_bytes
    one = distilled.images[0].numel() * distilled.images.element_size() + 8
    least = 1 if distilled.factors else distilled.ipc
    return min(max(least, total // (one * distilled.num_classes)), int(real.counts.min()))
