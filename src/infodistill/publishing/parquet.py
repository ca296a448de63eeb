"""Parquet in the Hugging Face image layout: `image: struct{bytes, path}`, `label`, class names in the schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from infodistill.distilled import Distilled
from infodistill.files import write_atomically
from infodistill.publishing.form import Form, eight_bit, of_pixels
from infodistill.publishing.imagefolder import label_entries, png
from infodistill.types import ValueSpace

FILE = "data/train-00000-of-00001.parquet"

READING = """\
```python
from datasets import load_dataset
dataset = load_dataset(".")  # or load_dataset("parquet", data_files="data/*.parquet"): image, label with its names
```
"""


def parquet(distilled: Distilled, space: ValueSpace) -> Form:
    """One Parquet file of PNG images. `space`: mean and std readers are told to normalise by."""
    stored = eight_bit(distilled.images, distilled.space)
    form, losses = of_pixels(distilled, stored, space)

    def fill(folder: Path) -> None:
        images = [{"bytes": png(image), "path": f"{row:05d}.png"} for row, image in enumerate(stored.pixels)]
        columns = [label_entries(form, row) for row in range(len(form))]
        rows = [{"image": image, **labels} for image, labels in zip(images, columns, strict=True)]
        table = pa.Table.from_pylist(rows, schema=schema(form))
        write_atomically(folder / FILE, lambda partial: pq.write_table(table, partial))

    return Form(form, losses, READING, fill, front(form))


def schema(form: Distilled) -> Any:
    """The Arrow schema with the feature types as `datasets` stores them."""
    fields: list[Any] = [
        pa.field("image", pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])),
        pa.field("label", pa.int64()),
    ]
    features: dict[str, Any] = {
        "image": {"_type": "Image"},
        "label": {"names": list(form.class_names), "_type": "ClassLabel"},
    }
    if form.soft_labels is not None:
        fields.append(pa.field("soft_label", pa.list_(pa.float32())))
        # Sequence is what old releases of `datasets` write and all of them read
        features["soft_label"] = {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "Sequence"}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def front(form: Distilled) -> dict[str, Any]:
    """The header of a dataset card that gives the columns their types: an image, a class with names, probabilities."""
    names = {str(number): name for number, name in enumerate(form.class_names)}
    features: list[dict[str, Any]] = [
        {"name": "image", "dtype": "image"},
        {"name": "label", "dtype": {"class_label": {"names": names}}},
    ]
    if form.soft_labels is not None:
        features.append({"name": "soft_label", "list": "float32"})
    split = {"split": "train", "path": "data/*.parquet"}
    return {
        "configs": [{"config_name": "default", "data_files": [split]}],
        "dataset_info": {"features": features},
    }
