"""Published files of tensors, read without trust: the pairs that DC, MTT, IDC, DATM, DD-Ranking and others leave.

`torch.load(weights_only=True)` is the only way in: a file that holds more than tensors, numbers and plain containers
is refused, whatever it promises. NumPy scalars are let in because DC and DM store their accuracies as such.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from infodistill.importing.plain import plain

SUFFIXES = (".pt", ".pth")
IMAGES = ("images", "image", "data", "x", "syn_images", "image_syn", "images_syn")
LABELS = ("labels", "label", "targets", "target", "y", "syn_labels", "label_syn", "labels_syn")
RATES = ("lr", "syn_lr", "lr_syn")
"""The names of the three parts in dictionaries and in file names."""

DEEPEST = 8
"""Containers in containers; published files have three, and one that holds itself has no end."""


@dataclass(frozen=True)
class Found:
    """What a file holds: images as stored, labels as stored or None, a learned rate or None, files, what was chosen.

    `rows` are label rows of images whose classes are known without them, from the folders they lie in. `named`: the
    file names its classes, so labels and rows are in the order of the data already.
    """

    images: Tensor
    labels: Tensor | None
    rate: float | None
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    rows: Tensor | None = None
    named: bool = False


def read_tensors(path: Path, labels: Path | None = None, which: int = 0) -> Found:
    """Read a file, or a folder with one `images*.pt`. Labels and rate lie in it, beside it, or in the file `labels`.

    Args:
        path: the file with the images, or its folder.
        labels: the file with the labels, if its name does not tell (`images_best.pt` -> `labels_best.pt`).
        which: the set to take where a file holds several (DC stores one for every repetition).

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not such a pair; the sentence says what it is.
    """
    file = _images_file(path) if path.is_dir() else path
    content = load_untrusted(file)
    notes: list[str] = []
    first, second, third = _parts(content, file.name, which, notes)
    files = [file]
    beside = labels or (_beside(file, LABELS) if second is None else None)
    if beside is not None:
        second, files = _tensor(load_untrusted(beside), beside.name), [*files, beside]
    lr = _beside(file, RATES) if third is None else None
    if lr is not None:
        third, files = load_untrusted(lr), [*files, lr]
    return Found(first, second, _rate(third), tuple(files), tuple(notes))


def load_untrusted(path: Path) -> Any:
    """The content of a `.pt` file, tensors on the CPU.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, or one that holds code or other objects.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file '{path}'")
    try:
        with torch.serialization.safe_globals(_numbers()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old files: remarks for whoever wrote them
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"'{path.name}' was not read: {_reason(str(error))}") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"'{path.name}' is not a readable .pt file: {first[:160]}") from None


def _numbers() -> list[Any]:
    """NumPy's scalars, by their names of NumPy 1 and 2, and the few types they have here."""
    make: Any = np.float64(0).__reduce__()[0]
    kinds = (np.float64, np.float32, np.int64, np.int32, np.bool_)
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    return [*((make, name) for name in names), np.dtype, *(type(np.dtype(kind)) for kind in kinds)]


def _reason(text: str) -> str:
    """What the reader said, as one sentence about the file."""
    words = text.split("GLOBAL ")
    if len(words) > 1:
        return f"it holds the object {words[1].split()[0]}, which could run code; only tensors, numbers and lists can"
    return "it holds more than tensors, numbers and lists, or is damaged"


def _images_file(folder: Path) -> Path:
    """The file with the images in a folder of `.pt` files."""
    files = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES)
    for stem in ("images", "images_best", "data"):
        if found := [file for file in files if file.stem == stem]:
            return found[0]
    named = [file for file in files if "images" in file.stem]
    if len(named) != 1:
        seen = ", ".join(file.name for file in named or files) or "no .pt file"
        raise ValueError(f"'{folder}' should hold images.pt and labels.pt, it holds {seen}: name the file instead")
    return named[0]


def _beside(file: Path, words: Sequence[str]) -> Path | None:
    """The file beside that is called like this one, with another word for `images`."""
    for own in ("images", "image"):
        if own in file.stem:
            made = (file.with_name(file.stem.replace(own, word) + file.suffix) for word in words)
            return next((path for path in made if path.is_file()), None)
    return None


Three = tuple[Tensor, "Tensor | None", Any]


def _parts(content: Any, name: str, which: int, notes: list[str], depth: int = 0) -> Three:
    """Images, labels and rate of a tensor, a pair, a triple, a dictionary, or one of a list of these."""
    if depth > DEEPEST:
        raise ValueError(f"'{name}' holds containers in containers, {DEEPEST} deep and more; wanted images and labels")
    if isinstance(content, Tensor):
        return content, None, None
    if isinstance(content, Mapping):
        named = cast("Mapping[str, Any]", content)
        images = _entry(named, IMAGES)
        if images is None:
            keys = ", ".join(str(key) for key in list(named)[:8])
            raise ValueError(f"'{name}' is a dictionary with {keys or 'nothing'}; wanted one of {', '.join(IMAGES)}")
        if not isinstance(images, Tensor):
            return _parts(images, name, which, notes, depth + 1)
        labels = _entry(named, LABELS)
        return images, None if labels is None else _tensor(labels, name), _entry(named, RATES)
    if isinstance(content, list | tuple) and content:
        return _listed(cast("Sequence[Any]", content), name, which, notes, depth + 1)
    raise ValueError(f"'{name}' holds a {type(content).__name__}; wanted a tensor, (images, labels) or a dictionary")


def _listed(content: Sequence[Any], name: str, which: int, notes: list[str], depth: int) -> Three:
    if isinstance(content[0], Tensor):
        if len(content) not in (2, 3):
            raise ValueError(f"'{name}' holds {len(content)} tensors; wanted images and labels, and perhaps a rate")
        return content[0], _tensor(content[1], name), content[2] if len(content) == 3 else None
    if not -len(content) <= which < len(content):
        raise ValueError(f"'{name}' holds {len(content)} sets, numbered from 0; there is no set {which}")
    if len(content) > 1:
        notes.append(f"'{name}' holds {len(content)} sets: set {which % len(content)} was taken (--which)")
    chosen = content[which]
    if not isinstance(chosen, Tensor | Mapping) and not (isinstance(chosen, list | tuple) and _pair(chosen)):
        raise ValueError(f"'{name}' holds a list of {type(chosen).__name__}; wanted pairs of images and labels")
    return _parts(chosen, name, 0, notes, depth)


def _pair(content: Any) -> bool:
    return len(content) > 0 and isinstance(content[0], Tensor)


def _entry(content: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((content[name] for name in names if content.get(name) is not None), None)


def _tensor(value: Any, name: str) -> Tensor:
    if not isinstance(value, Tensor):
        raise ValueError(f"the labels in '{name}' are a {type(value).__name__}; wanted a tensor")
    return value


def _rate(value: Any) -> float | None:
    """A learned step size, if it is one number.

    Raises:
        ValueError: several numbers, or one that is not positive and finite.
    """
    if value is None:
        return None
    if not isinstance(value, Tensor | int | float):
        raise ValueError(f"the learned rate is a {type(value).__name__}; wanted one number")
    count = plain(value, "the learned rates").numel() if isinstance(value, Tensor) else 1
    if count != 1:
        raise ValueError(f"there are {count} learned rates; wanted one (give it as --lr)")
    try:
        rate = float(value)
    except OverflowError:  # Python's integers have no end
        rate = float("inf")
    if not 0 < rate < float("inf"):
        raise ValueError(f"the learned rate is {rate:g}; wanted a positive number")
    return rate
