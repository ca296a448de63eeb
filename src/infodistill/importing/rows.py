"""Parquet in the Hugging Face image layout as a published set: 8-bit pixels, classes, perhaps soft labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from infodistill.data.decode import Item
from infodistill.data.parquet import TESTS, Columns, columns_of, items, parquet_files
from infodistill.importing.folders import soft_rows, stacked
from infodistill.importing.labels import in_class_order
from infodistill.importing.tensors import Found

SOFT = "soft_label"
_BATCH = 256


def read_rows(path: Path, classes: Sequence[str], channels: int, theirs: Sequence[str] | None = None) -> Found:
    """Read a Parquet file, or those of a folder but for its test splits: images uint8 (n, c, h, w), labels int64 (n,).

    Where the schema names the classes, these are found by name, else by `theirs`, else the numbers are the data's.

    Raises:
        ValueError: not Parquet, no images and labels, names that are not those of the data, an unreadable image.
    """
    found = [path] if path.is_file() else parquet_files(path)
    files = [file for file in found if file.stem.split("-")[0].lower() not in TESTS]
    if not files:
        raise ValueError(f"'{path}' holds test data only ({found[0].name}): wanted train-*.parquet")
    try:
        schemas = [pq.read_schema(file) for file in files]
        columns = columns_of(schemas[0], files[0].name)
        encoded = [item for file in files for item in _items(file, columns)]
        soft = [row for file in files for row in _soft(file)] if SOFT in schemas[0].names else None
    except (pa.ArrowException, OSError, KeyError) as error:
        raise ValueError(f"cannot read Parquet data '{path.name}': {str(error).splitlines()[0]}") from None
    if not encoded:
        raise ValueError(f"'{path.name}' holds no images")
    images = stacked([(item.name, item.encoded) for item in encoded], channels)
    labels = torch.tensor([item.label for item in encoded])
    rows = None if soft is None else soft_rows(soft, files[0].name)
    if columns.names and theirs is not None:
        raise ValueError(f"--class-names is the order of numbers in a file: '{files[0].name}' names its classes itself")
    if names := columns.names or theirs:
        labels, rows = in_class_order(labels, rows, names, classes)
    note = (f"soft labels from the column {SOFT}",) if rows is not None else ()
    return Found(torch.from_numpy(images), labels, None, tuple(files), note, rows, named=bool(names))


def _items(file: Path, columns: Columns) -> list[Item]:
    with pq.ParquetFile(file) as opened:
        wanted = [columns.image, columns.label]
        return list(items(file.name, opened.iter_batches(_BATCH, columns=wanted), columns))


def _soft(file: Path) -> list[list[float] | None]:
    return pq.read_table(file, columns=[SOFT]).column(SOFT).to_pylist()
