"""`train/CLASS/00000.png` with `train/metadata.jsonl`: what torchvision's ImageFolder and Hugging Face's read."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from infodistill.distilled import Distilled
from infodistill.publishing.form import Form, eight_bit, of_pixels
from infodistill.publishing.names import folder_names
from infodistill.serialise import write_bytes
from infodistill.types import ValueSpace

CLASS = "class_name"
"""The entry of metadata.jsonl with the name of the class as it is, which its folder may not be able to have."""

FRONT = {
    "configs": [
        {"config_name": name, "default": name == "default", "data_files": [{"split": "train", "path": path}]}
        for name, path in (("default", "train/**/*.png"), ("metadata", "train/**"))
    ]
}
"""Where `datasets` sees a metadata file it takes its label numbers and forgets the folders, so that is a choice."""

READING = """\
```python
from torchvision.datasets import ImageFolder
dataset = ImageFolder("train")  # hard labels: the folders sort as the classes are numbered

from datasets import load_dataset
dataset = load_dataset(".")  # image, label (ClassLabel)
dataset = load_dataset(".", "metadata")  # image, class_name, label (its number) and, where there are some, soft_label
```
"""

GREY = """
The images are grey, and torchvision's ImageFolder gives every image three equal channels: turn them into one again
before mean and std, `ImageFolder("train", transform=torchvision.transforms.Grayscale())`.
"""


def imagefolder(distilled: Distilled, space: ValueSpace) -> Form:
    """PNG files in class folders. `space`: mean and std readers are told to normalise by.

    `metadata.jsonl` has a line {"file_name", "class_name", "label", "soft_label"} per image; `soft_label` where there
    are some. A folder is called like its class, or number and name where the names would not sort as the classes are
    numbered; letters that are not safe in a path become '-'.

    Raises:
        ValueError: a class without an image (no reader sees an empty folder, so every later class would get another
            number), or images of neither 1 nor 3 channels.
    """
    _refuse_gaps(distilled)
    stored = eight_bit(distilled.images, distilled.space)
    form, losses = of_pixels(distilled, stored, space)
    hidden = () if form.soft_labels is None else ("soft labels are only in metadata.jsonl, which torchvision ignores",)

    renamed = _renamed(distilled.class_names)

    def fill(folder: Path) -> None:
        names = folder_names(distilled.class_names)
        lines: list[str] = []
        for row, label in enumerate(form.y.tolist()):
            name = f"{names[label]}/{row:05d}.png"
            write_bytes(folder / "train" / name, png(stored.pixels[row]))
            lines.append(json.dumps({"file_name": name, CLASS: form.class_names[label], **label_entries(form, row)}))
        write_bytes(folder / "train" / "metadata.jsonl", ("\n".join(lines) + "\n").encode())

    return Form(form, (*losses, *hidden, *renamed), READING + (GREY if distilled.shape[0] == 1 else ""), fill, FRONT)


def _renamed(classes: Sequence[str]) -> tuple[str, ...]:
    """What becomes of names that no folder can have."""
    odd = [(name, folder) for name, folder in zip(classes, folder_names(classes), strict=True) if name not in folder]
    if not odd:
        return ()
    name, folder = odd[0]
    return (
        f"{len(odd)} of {len(classes)} class names hold letters that folders are not given, {name!r} is {folder}: the "
        "names are in metadata.jsonl, which torchvision ignores",
    )


def _refuse_gaps(distilled: Distilled) -> None:
    counts = distilled.y.bincount(minlength=distilled.num_classes).tolist()
    missing = [repr(name) for name, count in zip(distilled.class_names, counts, strict=True) if count == 0]
    if missing:
        few = ", ".join(missing[:6]) + (f" and {len(missing) - 6} more" if len(missing) > 6 else "")
        raise ValueError(
            f"image folders number the classes that have images, and {len(missing)} of {distilled.num_classes} have "
            f"none ({few}): --to parquet keeps the numbers"
        )


def png(pixels: Tensor) -> bytes:
    """One image, uint8 (c, h, w) with 1 or 3 channels (`eight_bit` sees to that), as a PNG file."""
    array = pixels[0].numpy() if len(pixels) == 1 else pixels.permute(1, 2, 0).numpy()
    raw = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(raw, "PNG", optimize=True)
    return raw.getvalue()


def label_entries(form: Distilled, row: int) -> dict[str, Any]:
    """The label columns of one image."""
    entries: dict[str, Any] = {"label": int(form.y[row])}
    if form.soft_labels is not None:
        entries["soft_label"] = [float(value) for value in form.soft_labels[row]]
    return entries
