"""A folder of class folders of images as a published set: 8-bit pixels, soft labels where `metadata.jsonl` has them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from infodistill.data.images import SUFFIXES, pixels, strict_decoder
from infodistill.importing.tensors import Found
from infodistill.publishing.names import folder_names

METADATA = "metadata.jsonl"


def read_images(root: Path, classes: Sequence[str], channels: int) -> Found:
    """Read `root/train/CLASS/*.png` or `root/CLASS/*.png`: images uint8 (n, c, h, w), labels int64, perhaps rows.

    A folder may be called like its class, or as `infodistill export` calls it. Files that do not end like images, and
    hidden ones, are left out.

    Raises:
        ValueError: a folder that is no class, no image at all, an unreadable one, or images of several sizes.
    """
    train = root / "train" if (root / "train").is_dir() else root
    known = {**{name: i for i, name in enumerate(folder_names(classes))}, **{name: i for i, name in enumerate(classes)}}
    folders = sorted(path for path in train.iterdir() if path.is_dir() and not path.name.startswith("."))
    if odd := [path.name for path in folders if path.name not in known]:
        few = ", ".join(classes[:6]) + (", …" if len(classes) > 6 else "")
        raise ValueError(f"the folder '{odd[0]}' in '{train.name}' is no class of the data, which has {few}")
    files = [(path, known[folder.name]) for folder in folders for path in _images(folder)]
    if not files:
        raise ValueError(f"'{root}' holds no images: expected {train.name}/CLASS/image.png")
    images = torch.from_numpy(_stacked([path for path, _ in files], channels))
    rows = _soft([path.relative_to(train).as_posix() for path, _ in files], train / METADATA)
    labels = torch.tensor([label for _, label in files])
    note = (f"soft labels from {METADATA}",) if rows is not None else ()
    return Found(images, labels, None, tuple(path for path, _ in files), note, rows)


def _images(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))


def _stacked(files: Sequence[Path], channels: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    arrays: list[Any] = []
    with strict_decoder():
        for path in files:
            try:
                arrays.append(pixels(path, channels, None))
            except Exception as error:  # decoders raise anything on damaged bytes
                raise ValueError(f"the image {path.parent.name}/{path.name} cannot be read: {error}") from None
            if arrays[-1].shape != arrays[0].shape:
                seen = f"{arrays[0].shape[1:]} and {arrays[-1].shape[1:]}"
                raise ValueError(f"the images must be of one size, found {seen} ({path.parent.name}/{path.name})")
    return np.stack(arrays)


def _soft(names: Sequence[str], metadata: Path) -> Tensor | None:
    """The soft labels of the files, in their order, or None if the metadata has none."""
    if not metadata.is_file():
        return None
    rows: dict[str, Any] = {}
    for number, line in enumerate(metadata.read_text(encoding="utf-8").splitlines(), 1):
        try:
            entry = cast("Mapping[str, Any]", json.loads(line))
            rows[str(entry["file_name"])] = entry.get("soft_label")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(f"line {number} of {metadata.name} is no JSON object with a file_name") from None
    found = [rows.get(name) for name in names]
    if all(row is None for row in found):
        return None
    try:
        return torch.tensor(found, dtype=torch.float32)
    except (TypeError, ValueError):
        raise ValueError(
            f"the soft labels in {metadata.name} are not one list of numbers of one length per image"
        ) from None
