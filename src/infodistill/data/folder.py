"""A folder of class folders, with or without `train/` and `test/` (or `training/`, `testing/`, `val/`, ...)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infodistill.data.cache import file_sha256
from infodistill.data.decode import Item, Items
from infodistill.data.images import SUFFIXES
from infodistill.data.reading import Parts, Reading
from infodistill.data.store import decoded

_TRAINS = ("train", "training")
_TESTS = ("test", "testing", "val", "valid", "validation")
_ANNOTATIONS = "val_annotations.txt"


@dataclass(frozen=True)
class Files:
    """Image files with labels; names are relative to `root`."""

    root: Path
    paths: tuple[Path, ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Item]:
        for path, label in zip(self.paths, self.labels, strict=True):
            yield Item(path.relative_to(self.root).as_posix(), path, label)

    def digest(self) -> str:
        total = hashlib.sha256()
        for item, path in zip(self, self.paths, strict=True):
            total.update(repr((item.name, item.label, _content(path))).encode())
        return total.hexdigest()


def read_folder(root: Path, reading: Reading) -> Parts:
    """Read class folders: `root/CLASS/...` or `root/train/CLASS/...` with an optional `root/test/CLASS/...`.

    Classes are the folder names in alphabetical order; images may lie deeper. Hidden files, and files that do not
    end like an image, are ignored and counted. A Tiny-ImageNet `val/` (one folder, one annotation file) is understood.

    Raises:
        ValueError: no class folder, folders that look like splits and not like classes, a test class that has no
            training folder, an unreadable image.
    """
    train = next((root / name for name in _TRAINS if (root / name).is_dir()), root)
    names = tuple(folder.name for folder in _folders(train))
    if not names:
        raise ValueError(f"{root} holds no class folders: expected {root.name}/CLASS/image.png, or train/ and test/")
    if train == root:
        _check_no_splits(root, names)
    listed, strays = _listed(train, names, root)
    splits = {"train": listed}
    notes: dict[str, Any] = {"layout": "class folders"}
    if train != root and (test := _test_folder(root)) is not None:
        splits["test"], more = _annotated(test, names, root) or _listed(test, names, root)
        strays, notes["test"] = strays + more, f"the folder {test.name}/"
    if strays:
        notes["ignored_files"] = strays
    parts, decoding = decoded(splits, reading)
    return Parts(root.resolve().name, parts["train"], parts.get("test"), names, None, {**notes, **decoding})


def _content(path: Path) -> str:
    """The file's hash; one that cannot be opened is reported when it is decoded."""
    try:
        return file_sha256(path)
    except OSError as error:
        return str(error)


def _check_no_splits(root: Path, names: Sequence[str]) -> None:
    """Refuse to take splits or folds for classes; classes that are called so can be put into a folder train/."""
    inside = {frozenset(folder.name for folder in _folders(root / name)) for name in names}
    alike = len(names) > 1 and len(inside) == 1 and len(min(inside)) > 1
    odd = [name for name in names if name.lower() in (*_TRAINS, *_TESTS)]
    if odd or alike:
        why = f"{odd[0]!r} is the name of a split" if odd else "all of them hold the same folders"
        wanted = "expected train/CLASS/ and test/CLASS/"
        raise ValueError(f"the folders {_few(names)} of {root} do not look like classes, {why}: {wanted}")


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:4])) + (", ..." if len(names) > 4 else "")


def _folders(parent: Path) -> list[Path]:
    return sorted(p for p in parent.iterdir() if p.is_dir() and not _hidden(p.name))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _test_folder(root: Path) -> Path | None:
    return next((root / name for name in _TESTS if (root / name).is_dir() and any((root / name).iterdir())), None)


def _listed(folder: Path, names: Sequence[str], root: Path) -> tuple[Items, int]:
    """The images of every class folder, and how many other files lie among them."""
    found = [f.name for f in _folders(folder)]
    if unknown := sorted(set(found) - set(names)):
        raise ValueError(f"{folder} has a class that train/ lacks: {unknown[0]!r}")
    paths: list[Path] = []
    labels: list[int] = []
    strays = sum(path.is_file() for path in folder.iterdir())
    for label, name in enumerate(names):
        images, others = _images(folder / name) if name in found else ([], 0)
        paths, labels, strays = paths + images, labels + [label] * len(images), strays + others
    return Files(root, tuple(paths), tuple(labels)), strays


def _images(folder: Path) -> tuple[list[Path], int]:
    """Image files at any depth, sorted by path, and the number of other files."""
    images: list[Path] = []
    others = 0
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not _hidden(name)]
        chosen = [name for name in files if not _hidden(name) and Path(name).suffix.lower() in SUFFIXES]
        images += [Path(parent) / name for name in chosen]
        others += len(files) - len(chosen)
    return sorted(images), others


def _annotated(folder: Path, names: Sequence[str], root: Path) -> tuple[Items, int] | None:
    """Tiny-ImageNet's validation images: labels in a tab-separated file, images in one folder."""
    if not (folder / _ANNOTATIONS).is_file():
        return None
    label_of = {name: label for label, name in enumerate(names)}
    paths: list[Path] = []
    labels: list[int] = []
    for line in (folder / _ANNOTATIONS).read_text().splitlines():
        file, name, *_ = [*line.split("\t"), ""]
        if name not in label_of:
            raise ValueError(f"{folder / _ANNOTATIONS} names a class that train/ lacks: {name!r}")
        paths.append(folder / "images" / Path(file).name)
        labels.append(label_of[name])
    return Files(root, tuple(paths), tuple(labels)), 0
