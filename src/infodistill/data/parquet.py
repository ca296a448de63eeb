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

TESTS = ("test", "testing", "validation", "valid", "val")
"""Names of splits that are test data, the preferred first."""

_TRAINS = ("train", "training")
_BATCH = 1024
_LARGEST = 2**63 - 1
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
        ValueError: not Parquet, no image or label column, labels that are no class numbers, an unreadable image.
    """
    try:
        files = {"train": [path]} if path.is_file() else _by_split(path)
        columns = _common_columns(files, path.name)
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
    return Columns(images[0], labels[0], _names((schema.metadata or {}).get(b"huggingface", b"{}"), labels[0], source))


def items(source: str, batches: Iterable[Any], columns: Columns) -> Iterator[Item]:
    """Rows of Arrow batches; an image without embedded bytes becomes an unreadable one."""
    row = 0
    for batch in batches:
        images = batch.column(columns.image)
        encoded = images.field("bytes") if pa.types.is_struct(images.type) else images
        for image, label in zip(encoded.to_pylist(), batch.column(columns.label).to_pylist(), strict=True):
            if label is None:
                raise ValueError(f"row {row} of {source} has no label")
            if label > _LARGEST:
                raise ValueError(f"row {row} of {source} has the label {label}; wanted a class number from 0")
            yield Item(f"row {row} of {source}", image or b"", label)
            row += 1


def class_names(columns: Columns, train: Part) -> tuple[str, ...]:
    """The names of the schema, else the label numbers.

    Raises:
        ValueError: there are no names, and a label that is no class number of so few images.
    """
    if columns.names or not len(train.labels):
        return columns.names
    if not 0 <= train.labels.min() <= train.labels.max() < len(train.labels):
        found = f"found {train.labels.min()}..{train.labels.max()} in {len(train.labels)} images"
        raise ValueError(f"the column {columns.label} must hold class numbers from 0, {found}")
    return tuple(str(label) for label in range(int(train.labels.max()) + 1))


def _common_columns(files: dict[str, list[Path]], source: str) -> Columns:
    """The columns of the first training file, which every file must have."""
    columns = columns_of(pq.read_schema(files["train"][0]), source)
    for path in (path for paths in files.values() for path in paths):
        found = columns_of(pq.read_schema(path), path.name)
        if (found.image, found.label) != (columns.image, columns.label):
            wanted = f"{columns.image} and {columns.label} as in {files['train'][0].name}"
            raise ValueError(f"{path.name} has the columns {found.image} and {found.label}; wanted {wanted}")
    return columns


def _names(raw: bytes, label: str, source: str) -> tuple[str, ...]:
    """The class names in the schema's Hugging Face metadata, if it has some."""
    try:
        features = cast(dict[str, Any], json.loads(raw)).get("info", {}).get("features", {})
        return tuple(str(name) for name in features.get(label, {}).get("names") or ())
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"the class names in the schema of {source} cannot be read: {error}") from None


def _holds_bytes(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _by_split(folder: Path) -> dict[str, list[Path]]:
    """Files of the training split and of the test split, told by file or folder names."""
    files = parquet_files(folder)
    split_of = {path: _split(path.relative_to(folder)) for path in files}
    train = [path for path in files if split_of[path] in (*_TRAINS, None)]
    if not train:
        raise ValueError(f"{folder} has no training file: expected train.parquet or train-*.parquet")
    held = next((name for name in TESTS if name in split_of.values()), None)
    return {"train": train} if held is None else {"train": train, "test": [p for p in files if split_of[p] == held]}


def _split(relative: Path) -> str | None:
    """The split a file belongs to: `test` for test.parquet, test-00000-of-00001.parquet and test/0000.parquet."""
    words = [word.lower() for word in (*relative.parts[:-1], relative.stem.replace("_", "-").split("-")[0])]
    return next((word for word in reversed(words) if word in _TRAINS or word in TESTS), None)
