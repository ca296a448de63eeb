"""Small labelled images in every form `load_data` reads."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image

from infodistill.real import RealData
from infodistill.types import ValueSpace

NAMES = ("ant", "bee", "cat")


def tiny_real(counts: Sequence[int] = (7, 5, 9), channels: int = 3, side: int = 8) -> RealData:
    """Classes of the given sizes, rows interleaved by a fixed permutation; every image is different."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    labels = labels[torch.randperm(len(labels), generator=generator)]
    images = torch.randint(0, 256, (len(labels), channels, side, side), generator=generator, dtype=torch.uint8)
    space = ValueSpace((0.4, 0.5, 0.6)[:channels], (0.2, 0.25, 0.3)[:channels])
    return RealData(images, labels, [f"class {c}" for c in range(len(counts))], space, "tiny")


def noise(row: int, height: int = 8, width: int = 8, channels: int = 3) -> NDArray[np.uint8]:
    """A random image (h, w, c), or (h, w) for one channel, that depends on `row` only."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(row).integers(0, 256, shape, np.uint8)


def picture(row: int, height: int = 8, width: int = 8, channels: int = 3) -> Image.Image:
    return Image.fromarray(noise(row, height, width, channels))


def png(row: int, channels: int = 1) -> bytes:
    raw = io.BytesIO()
    picture(row, channels=channels).save(raw, "png")
    return raw.getvalue()


def write_classes(
    root: Path, counts: Mapping[str, int], make: Callable[[int], Image.Image] = picture, first: int = 0
) -> Path:
    """Class folders of PNG files; image numbers count on from `first`."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for row in range(count):
            make(first + row).save(root / name / f"{row:03d}.png")
        first += count
    return root


def write_parquet(
    path: Path, images: Sequence[bytes | None], labels: Sequence[int | None], names: Sequence[str] | None = NAMES
) -> Path:
    """The Hugging Face image layout."""
    path.parent.mkdir(parents=True, exist_ok=True)
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = pa.array([{"bytes": image, "path": None} for image in images], struct)
    table = pa.table({"image": rows, "label": pa.array(labels, pa.int64())})
    if names is not None:
        features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=4)
    return path


def tiny_parquet(root: Path, train: int = 9, test: int = 3) -> Path:
    """A folder with train.parquet and test.parquet; row r of a split is the grey `noise` r or 50 + r."""
    write_parquet(root / "train.parquet", [png(row) for row in range(train)], [row % 3 for row in range(train)])
    write_parquet(root / "test.parquet", [png(50 + row) for row in range(test)], [row % 3 for row in range(test)])
    return root
