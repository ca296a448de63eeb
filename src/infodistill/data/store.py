"""Decoded images that outlive the process: one cache folder per content, mapped or loaded on the next use."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import PIL
from PIL import features

from infodistill.data.cache import cache_dir, fill_once
from infodistill.data.decode import Items, decode
from infodistill.data.images import Pixels
from infodistill.data.reading import Part, Reading

_FORMAT = 1
Decoded = tuple[dict[str, Part], dict[str, Any]]


def decoded(splits: Mapping[str, Items], reading: Reading) -> Decoded:
    """`decode`, or its result from the cache: (parts by split, notes).

    The key is the content of the source, what was asked for and the decoder's version. Images of more than
    `reading.memory` bytes stay memory-mapped. Without a writable cache everything is decoded in memory.
    """
    folder = cache_dir() / "decoded" / _key(splits, reading)
    found = _load(folder, reading)
    if found is not None:
        return found
    try:
        fill_once(folder, lambda partial: _write(partial, splits, reading))
    except OSError as error:
        parts, notes = decode(splits, reading, lambda _, shape: np.empty(shape, np.uint8))
        return parts, {**notes, "cache": f"not written: {error}"}
    found = _load(folder, reading)
    if found is None:
        raise ValueError(f"the decoded images in {folder} cannot be read back; delete that folder and try again")
    return found


def _key(splits: Mapping[str, Items], reading: Reading) -> str:
    versions = (_FORMAT, PIL.__version__, features.version("jpg"), features.version("libjpeg_turbo"))
    content = [(split, items.digest()) for split, items in splits.items()]
    return hashlib.sha256(repr((versions, reading.size, reading.skip_corrupt, content)).encode()).hexdigest()[:40]


def _write(folder: Path, splits: Mapping[str, Items], reading: Reading) -> None:
    def allocate(split: str, shape: tuple[int, ...]) -> Pixels:
        mapped = np.lib.format.open_memmap(folder / f"{split}.images.npy", mode="w+", dtype=np.uint8, shape=shape)
        return mapped.view(np.ndarray)  # plain indexing: the memmap class is slow row by row

    parts, notes = decode(splits, reading, allocate)
    for split, part in parts.items():
        np.save(folder / f"{split}.labels.npy", part.labels)
        if part.rows is not None:
            np.save(folder / f"{split}.rows.npy", part.rows)
    (folder / "notes.json").write_text(json.dumps({"splits": list(splits), "notes": notes}, indent=1))


def _load(folder: Path, reading: Reading) -> Decoded | None:
    """What is in the cache; None if nothing is, or if it is damaged, in which case it is removed."""
    try:
        text = (folder / "notes.json").read_bytes()
    except OSError:  # not there yet, perhaps; another process may be about to put it there
        return None
    try:
        about = cast(dict[str, Any], json.loads(text))
        return {split: _part(folder, split, reading) for split in about["splits"]}, about["notes"]
    except (ValueError, KeyError, TypeError, EOFError, OSError):
        shutil.rmtree(folder, ignore_errors=True)
        return None


def _part(folder: Path, split: str, reading: Reading) -> Part:
    images: Pixels = np.load(
        folder / f"{split}.images.npy", mmap_mode="c"
    )  # private copy on write; the file never changes
    labels = np.load(folder / f"{split}.labels.npy")
    rows = np.load(folder / f"{split}.rows.npy") if (folder / f"{split}.rows.npy").exists() else None
    return Part(images if images.nbytes > reading.memory else np.array(images), labels, rows)
