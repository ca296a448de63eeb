"""Parquet in the Hugging Face image layout: `image: struct{bytes, path}`, `label: int64`, class names in the schema."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from infodistill.data.cache import file_sha256
from infodistill.data.constants import PARQUET_SPACES
from infodistill.data.decode import Item, Items
from infodistill.data.reading import Part, Parts, Reading
from infodistill.data.store import decoded

TESTS = ("test", "validation", "valid", "val")
"""Names of splits that are test data, the preferred first."""

_BATCH = 1024
_LABELS = ("label", "labels", "fine_label")


@dataclass(frozen=True)
class Columns:
    """Which columns hold the images and the labels, and the class names if the schema has them."""

    image: str
    label: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class ParquetRows:
    """The rows of one split, in file order."""

    files: tuple[Path, ...]
    columns: Columns

    def __len__(self) -> int:
        return sum(pq.read_metadata(path).num_rows for path in self.files)

    def __iter__(self) -> Iterator[Item]:
        for path in self.files:
            with pq.ParquetFile(path) as file:
                wanted = [self.columns.image, self.columns.label]
                yield from items(path.name, file.iter_batches(_BATCH, columns=wanted), self.columns)

    def digest(self) -> str:
        return hashlib.sha256(repr((self.columns, [file_sha256(path) for path in self.files])).encode()).hexdigest()


def parquet_files(folder: Path) -> list[Path]:
    """The Parquet files in a folder and in its immediate subfolders (`data/`, `train/`), hidden ones excepted."""
    found = sorted([*folder.glob("*.parquet"), *folder.glob("*/*.parquet")])
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def read_parquet(path: Path, reading: Reading) -> Parts:
    """Read one file, or a folder with `train.parquet` and `test.parquet` (or `train-00000-of-00003.parquet`, ...).

    Files that name no split are training data. Images are decoded in bounded memory and cached by content.
    The folders named `mnist` and `cifar10-jpeg` get the published mean and standard deviation (see `constants`);
    `notes["space"]` says so. All others are measured.

    Raises:
        ValueError: not Parquet, no image or label column, labels that are not integers, an unreadable image.
    """
    try:
        files = {"train": [path]} if path.is_file() else _by_split(path)
        columns = columns_of(pq.read_schema(files["train"][0]), path.name)
        splits: dict[str, Items] = {split: ParquetRows(tuple(names), columns) for split, names in files.items()}
        parts, notes = decoded(splits, reading)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"cannot read Parquet data {path}: {str(error).splitlines()[0]}") from error
    name = path.resolve().stem if path.is_file() else path.resolve().name
    space = PARQUET_SPACES.get(name) if path.is_dir() else None
    if space is not None:
        notes = {**notes, "space": f"published constants, because the folder is called {name}"}
    return Parts(name, parts["train"], parts.get("test"), class_names(columns, parts["train"]), space, notes)


def columns_of(schema: Any, source: str) -> Columns:
    """Find the image column (encoded bytes), the label column (integers) and the class names."""
    images = [field.name for field in schema if _holds_bytes(field.type)]
    integers = [field.name for field in schema if pa.types.is_integer(field.type)]
    labels = [name for name in _LABELS if name in integers] or (integers if len(integers) == 1 else [])
    if not images or not labels:
        wanted = "image: struct{bytes, path} and label: int64"
        raise ValueError(f"{source} has the columns {', '.join(schema.names)}; wanted {wanted}")
    raw = (schema.metadata or {}).get(b"huggingface", b"{}")
    features = cast(dict[str, Any], json.loads(raw)).get("info", {}).get("features", {})
    return Columns(images[0], labels[0], tuple(features.get(labels[0], {}).get("names") or ()))


def items(source: str, batches: Iterable[Any], columns: Columns) -> Iterator[Item]:
    """Rows of Arrow batches; an image without embedded bytes becomes an unreadable one."""
    row = 0
    for batch in batches:
        images = batch.column(columns.image)
        encoded = images.field("bytes") if pa.types.is_struct(images.type) else images
        for image, label in zip(encoded.to_pylist(), batch.column(columns.label).to_pylist(), strict=True):
            if label is None:
                raise ValueError(f"row {row} of {source} has no label")
            yield Item(f"row {row} of {source}", image or b"", label)
            row += 1


def class_names(columns: Columns, train: Part) -> tuple[str, ...]:
    """The names of the schema, else the label numbers."""
    return columns.names or tuple(str(label) for label in range(int(train.labels.max()) + 1))


def _holds_bytes(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _by_split(folder: Path) -> dict[str, list[Path]]:
    """Files of the training split and of the test split, told by file or folder names."""
    files = parquet_files(folder)
    split_of = {path: _split(path.relative_to(folder)) for path in files}
    train = [path for path in files if split_of[path] in ("train", None)]
    if not train:
        raise ValueError(f"{folder} has no training file: expected train.parquet or train-*.parquet")
    held = next((name for name in TESTS if name in split_of.values()), None)
    return {"train": train} if held is None else {"train": train, "test": [p for p in files if split_of[p] == held]}


def _split(relative: Path) -> str | None:
    """The split a file belongs to: `test` for test.parquet, test-00000-of-00001.parquet and test/0000.parquet."""
    words = [*relative.parts[:-1], relative.stem.replace("_", "-").split("-")[0]]
    return next((word for word in reversed(words) if word == "train" or word in TESTS), None)
