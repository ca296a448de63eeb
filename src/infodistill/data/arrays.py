"""Data that is arrays already: scikit-learn's digits and `.npz` files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from infodistill.data.constants import DIGITS
from infodistill.data.images import Pixels, resized
from infodistill.data.reading import Part, Parts, Reading

DIGITS_TEST_PER_CLASS = 50
_PAIRS = ((("x_train", "y_train"), ("x_test", "y_test")), (("x", "y"), ("", "")), (("images", "labels"), ("", "")))


def read_digits(reading: Reading) -> Parts:
    """The 1797 bundled 8x8 digits: 0..16 becomes 0..255, and the split 1297/500 is fixed for ever.

    The test rows are the 50 of every class whose row number has the smallest blake2b hash: no generator is involved.
    """
    from sklearn.datasets import load_digits  # slow to import, needed here only

    bunch: Any = load_digits()
    labels = np.asarray(bunch.target, np.int64)
    images = np.rint(np.asarray(bunch.images)[:, None] * (255 / 16)).astype(np.uint8)
    rows = digits_test_rows(labels)
    held = np.zeros(len(labels), bool)
    held[rows] = True
    train, test = (Part(images[part], labels[part]) for part in (~held, held))
    notes = {"test": "fixed split, 1297 training and 500 test images"}
    return squared(Parts("digits", train, test, DIGITS, None, notes), reading.size)


def digits_test_rows(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The fixed test rows of the digits, ascending, (500,)."""

    def rank(row: int) -> bytes:
        return hashlib.blake2b(f"infodistill.digits:{row}".encode(), digest_size=16).digest()

    chosen = [sorted(np.flatnonzero(labels == c).tolist(), key=rank)[:DIGITS_TEST_PER_CLASS] for c in range(10)]
    return np.sort(np.concatenate(chosen))


def read_npz(path: Path, reading: Reading) -> Parts:
    """Arrays x_train, y_train (x_test, y_test), or x, y, or images, labels, and optionally class_names.

    Images (n, h, w), (n, h, w, c) or (n, c, h, w) with 1 or 3 channels (both possible: channels last), integers in
    0..255 or floats in [0, 1]; labels (n,) whole numbers from 0.

    Raises:
        ValueError: keys, shapes, ranges or labels that are not so; a file that is no `.npz` or holds pickles.
    """
    arrays = _loaded(path)
    pair = next((pair for pair in _PAIRS if set(pair[0]) <= set(arrays)), None)
    if pair is None:
        wanted = "x_train and y_train, x and y, or images and labels"
        raise ValueError(f"{path.name} has the arrays {', '.join(arrays) or '(none)'}; wanted {wanted}")
    most = arrays[pair[0][1]].size
    train = _part(arrays, pair[0], path.name, most)
    test = _part(arrays, pair[1], path.name, most) if set(pair[1]) <= set(arrays) else None
    given = arrays.get("class_names", np.arange(int(train.labels.max()) + 1))
    if given.ndim != 1:
        raise ValueError(f"class_names of {path.name} must be of shape (k,), got {given.shape}")
    names = [str(name) for name in given.tolist()]
    return squared(Parts(path.stem, train, test, tuple(names)), reading.size)


def squared(parts: Parts, size: int | None) -> Parts:
    """The same parts at another image size, by the rule for encoded images."""
    if size is None:
        return parts
    before = "x".join(str(side) for side in parts.train.images.shape[2:])
    splits = [
        None if part is None else Part(resized(part.images, size), part.labels) for part in (parts.train, parts.test)
    ]
    note = {"size": f"{before} brought to {size}x{size} (as asked): shorter side resized bicubic, centre kept"}
    return Parts(parts.name, cast(Part, splits[0]), splits[1], parts.class_names, parts.space, {**parts.notes, **note})


def _loaded(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except Exception as error:  # numpy, zipfile and zlib raise many kinds on damaged files
        raise ValueError(f"cannot read {path.name} as a .npz of plain arrays: {error}") from error


def _part(arrays: Mapping[str, NDArray[Any]], keys: tuple[str, str], source: str, most: int) -> Part:
    images, labels = arrays[keys[0]], arrays[keys[1]]
    part = Part(_images(images, f"{keys[0]} of {source}"), _labels(labels, f"{keys[1]} of {source}", most))
    if len(part.images) != len(part.labels) or not len(part.labels):
        raise ValueError(f"{source} has {len(images)} images in {keys[0]} and {len(labels)} labels in {keys[1]}")
    return part


def _images(array: NDArray[Any], source: str) -> Pixels:
    """Any accepted layout and type to uint8 (n, c, h, w)."""
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3) or not array.size:
        raise ValueError(
            f"{source} must be (n, h, w), (n, h, w, c) or (n, c, h, w) with 1 or 3 channels, got {array.shape}"
        )
    if array.dtype.kind not in "uif":
        raise ValueError(f"{source} must hold integers or floats, got {array.dtype}")
    low, high, top = float(array.min()), float(array.max()), 1 if array.dtype.kind == "f" else 255
    if not 0 <= low <= high <= top:  # also false for NaN
        raise ValueError(f"{source} holds {array.dtype} and must lie in 0..{top}, found {low:g}..{high:g}")
    if array.dtype.kind == "f":
        array = np.rint(array * 255)
    return np.ascontiguousarray(array, np.uint8)


def _labels(array: NDArray[Any], source: str, most: int) -> NDArray[np.int64]:
    """Labels as int64; `most` is the number of training images, which no class number can reach."""
    flat = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    whole = flat.dtype.kind in "ui" or (flat.dtype.kind == "f" and bool(np.equal(flat, np.trunc(flat)).all()))
    if flat.ndim != 1 or not whole:
        raise ValueError(f"{source} must be whole numbers of shape (n,), got {array.dtype} {array.shape}")
    if len(flat) and not 0 <= flat.min() <= flat.max() < most:
        raise ValueError(f"{source} must be class numbers from 0, found {flat.min()}..{flat.max()}")
    return flat.astype(np.int64)
