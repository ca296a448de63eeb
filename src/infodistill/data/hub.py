"""`hf:NAME`: an image data set of the Hugging Face hub, through the optional `datasets` package."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from infodistill.data.decode import Item, Items
from infodistill.data.parquet import TESTS, Columns, class_names, columns_of, items
from infodistill.data.reading import Parts, Reading
from infodistill.data.store import decoded

_BATCH = 1024


@dataclass(frozen=True)
class HubRows:
    """The rows of one split of a `datasets.Dataset` whose images stay encoded."""

    split: Any
    source: str
    columns: Columns

    def __len__(self) -> int:
        return len(self.split)

    def __iter__(self) -> Iterator[Item]:
        table = self.split.with_format("arrow")
        batches = (batch for piece in table.iter(_BATCH) for batch in piece.to_batches())
        return items(self.source, batches, self.columns)

    def digest(self) -> str:
        total = hashlib.sha256(repr(self.columns).encode())
        for item in self:
            raw = item.encoded if isinstance(item.encoded, bytes) else b""
            total.update(b"%d:%d:" % (item.label, len(raw)) + raw)
        return total.hexdigest()


def read_hub(name: str, reading: Reading) -> Parts:
    """Download (or find in that package's cache) and read a data set with an image and a class-label column.

    Raises:
        ValueError: `datasets` is not installed, the data set cannot be loaded, or has no training split.
    """
    try:
        hub: Any = import_module("datasets")
    except ImportError as error:
        raise ValueError("hf:NAME needs the `datasets` package: pip install 'infodistill[hf]'") from error
    try:
        found = hub.load_dataset(name)
    except Exception as error:  # the package raises its own, the network's and the file system's errors
        raise ValueError(f"could not load hf:{name}: {(str(error) or type(error).__name__).splitlines()[0]}") from error
    if "train" not in found:
        raise ValueError(f"hf:{name} has the splits {', '.join(found)}; a train split is needed")
    held = next((split for split in TESTS if split in found), None)
    chosen = {"train": "train"} if held is None else {"train": "train", "test": held}
    encoded = {split: _left_encoded(hub, found[called]) for split, called in chosen.items()}
    columns = columns_of(encoded["train"].features.arrow_schema, f"hf:{name}")
    splits: dict[str, Items] = {
        split: HubRows(rows, f"hf:{name} {chosen[split]}", columns) for split, rows in encoded.items()
    }
    parts, notes = decoded(splits, reading)
    return Parts(f"hf:{name}", parts["train"], parts.get("test"), class_names(columns, parts["train"]), None, notes)


def _left_encoded(hub: Any, split: Any) -> Any:
    """The same split with image columns as bytes: this package decodes them itself."""
    for column, feature in split.features.items():
        if isinstance(feature, hub.Image):
            split = split.cast_column(column, hub.Image(decode=False))
    return split
