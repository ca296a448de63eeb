"""A folder of class folders of images as a published set: 8-bit pixels, soft labels where `metadata.jsonl` has them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from infodistill.data.images import SUFFIXES, Encoded, pixels, strict_decoder
from infodistill.importing.labels import in_class_order
from infodistill.importing.tensors import Found
from infodistill.publishing.imagefolder import CLASS
from infodistill.publishing.names import folder_names

METADATA = "metadata.jsonl"


def read_images(root: Path, classes: Sequence[str], channels: int, theirs: Sequence[str] | None = None) -> Found:
    """Read `root/train/CLASS/*.png` or `root/CLASS/*.png`: images uint8 (n, c, h, w), labels int64, perhaps rows.

    A folder may be called like its class, or as `infodistill export` calls it; where `metadata.jsonl` has a
    `class_name` of the data for its images, that is its class, and soft labels are brought into the order of the data;
    not where the caller has names for their columns (`theirs`), and orders them. Files that do not end like images,
    and hidden ones, are left out.

    Raises:
        ValueError: a folder that is no class, no image at all, an unreadable one, or images of several sizes.
    """
    train = root / "train" if (root / "train").is_dir() else root
    entries = _metadata(train / METADATA)
    known = {**{name: i for i, name in enumerate(folder_names(classes))}, **{name: i for i, name in enumerate(classes)}}
    known |= {name.split("/")[0]: classes.index(one) for name, one in _named(entries).items() if one in classes}
    folders = sorted(path for path in train.iterdir() if path.is_dir() and not path.name.startswith("."))
    if odd := [path.name for path in folders if path.name not in known]:
        few = ", ".join(classes[:6]) + (", …" if len(classes) > 6 else "")
        raise ValueError(f"the folder '{odd[0]}' in '{train.name}' is no class of the data, which has {few}")
    files = [(path, known[folder.name]) for folder in folders for path in _images(folder)]
    if not files:
        raise ValueError(f"'{root}' holds no images: expected {train.name}/CLASS/image.png")
    images = torch.from_numpy(stacked([(f"{path.parent.name}/{path.name}", path) for path, _ in files], channels))
    rows = _soft([path.relative_to(train).as_posix() for path, _ in files], entries)
    labels, order = torch.tensor([label for _, label in files]), _order(entries)
    named = theirs is None and sorted(order) == sorted(classes)
    if rows is not None and named:
        rows = in_class_order(labels, rows, order, classes)[1]
    note = (f"soft labels from {METADATA}",) if rows is not None else ()
    return Found(images, labels, None, tuple(path for path, _ in files), note, rows, named)


def _images(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))


def stacked(images: Sequence[tuple[str, Encoded]], channels: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Named encoded images of one size as uint8 (n, c, h, w).

    Raises:
        ValueError: one cannot be read, or has another size than the first.
    """
    arrays: list[Any] = []
    with strict_decoder():
        for name, encoded in images:
            try:
                arrays.append(pixels(encoded, channels, None))
            except Exception as error:  # decoders raise anything on damaged bytes
                raise ValueError(f"the image {name} cannot be read: {error}") from None
            if arrays[-1].shape != arrays[0].shape:
                seen = f"{arrays[0].shape[1:]} and {arrays[-1].shape[1:]}"
                raise ValueError(f"the images must be of one size, found {seen} ({name})")
    return np.stack(arrays)


def _metadata(file: Path) -> dict[str, Mapping[str, Any]]:
    """The entries of the files, by file name; empty where there is no metadata."""
    entries: dict[str, Mapping[str, Any]] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines() if file.is_file() else [], 1):
        try:
            entry = cast("Mapping[str, Any]", json.loads(line))
            entries[str(entry["file_name"])] = dict(entry)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(f"line {number} of {file.name} is no JSON object with a file_name") from None
    return entries


def _named(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The class name of every file that has one."""
    return {name: str(entry[CLASS]) for name, entry in entries.items() if CLASS in entry}


def _order(entries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The class names in the order of their numbers, which is that of the columns of soft labels."""
    numbered = [one for one in entries.values() if CLASS in one and isinstance(one.get("label"), int)]
    names = {int(one["label"]): str(one[CLASS]) for one in numbered}
    return [names[number] for number in sorted(names)] if sorted(names) == list(range(len(names))) else []


def _soft(names: Sequence[str], entries: Mapping[str, Mapping[str, Any]]) -> Tensor | None:
    """The soft labels of the files, in their order, or None if the metadata has none."""
    found = [entries.get(name, {}).get("soft_label") for name in names]
    return None if all(row is None for row in found) else soft_rows(found, METADATA)


def soft_rows(found: Sequence[Any], source: str) -> Tensor:
    """Lists of numbers as a tensor (n, k).

    Raises:
        ValueError: one is missing, or they are of several lengths.
    """
    try:
        return torch.tensor(found, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"the soft labels in {source} are not one list of numbers of one length per image") from None
