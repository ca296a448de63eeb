"""A folder of class folders, with or without `train/` and `test/` (or `training/`, `testing/`, `val/`, ...)."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infodistill.data.cache import file_sha256
from infodistill.data.decode import Item, Items
from infodistill.data.reading import Parts, Reading
from infodistill.data.store import decoded
from infodistill.data.walk import Found, ending, hidden, images_in, is_image

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


@dataclass
class Strays:
    """What lies in a split and was not read, or was reached by a link."""

    others: Counter[str] = field(default_factory=Counter[str])
    outside: int = 0
    linked: int = 0
    loops: int = 0

    def add(self, found: Found) -> None:
        self.others.update(found.others)
        self.linked, self.loops = self.linked + found.linked, self.loops + found.loops

    def notes(self) -> dict[str, Any]:
        """Of everything there is at least one of."""
        told = {
            "ignored_files": self.others.total(),
            "ignored_endings": dict(sorted(self.others.items())),
            "images_outside_classes": self.outside,
            "linked_folders": self.linked,
            "ignored_links": self.loops,
        }
        return {name: value for name, value in told.items() if value}


def read_folder(root: Path, reading: Reading) -> Parts:
    """Read class folders: `root/CLASS/...` or `root/train/CLASS/...` with an optional `root/test/CLASS/...`.

    Classes are the folder names in alphabetical order; images may lie deeper, and behind links (`walk.images_in`).
    Hidden files, and files that do not end like an image, are ignored and counted by ending; so are folders beside
    those of the splits. A Tiny-ImageNet `val/` (one folder, one annotation file) is understood.

    Raises:
        ValueError: no class folder, folders that look like splits and not like classes, a test class that has no
            training folder, a class folder without images, unreadable images.
        OSError: a folder that may not be read.
    """
    train = next((root / name for name in _TRAINS if (root / name).is_dir()), root)
    names = tuple(folder.name for folder in _folders(train))
    if not names:
        raise ValueError(f"{root} holds no class folders: expected {root.name}/CLASS/image.png, or train/ and test/")
    if train == root:
        _check_no_splits(root, names)
    strays = Strays()
    splits: dict[str, Items] = {"train": _listed(train, names, root, strays)}
    _check_no_empty(train, names, splits["train"])
    notes: dict[str, Any] = {"layout": "class folders"}
    if train != root:
        test = _test_folder(root)
        if test is not None:
            splits["test"] = _annotated(test, names, root) or _listed(test, names, root, strays)
            notes["test"] = f"the folder {test.name}/"
        if unread := [f.name for f in _folders(root) if f not in (train, test) and any(f.iterdir())]:
            notes["unread_folders"] = unread
    parts, decoding = decoded(splits, reading)
    notes |= {**strays.notes(), **decoding}
    return Parts(root.resolve().name, parts["train"], parts.get("test"), names, None, notes)


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


def _check_no_empty(train: Path, names: Sequence[str], listed: Items) -> None:
    filled = {item.label for item in listed}
    empty = next((name for label, name in enumerate(names) if label not in filled), None)
    if empty is None:
        return
    others = images_in(train / empty).others
    held = ", ".join(f"{name} {count}" for name, count in others.most_common(3))
    files = "1 file that is no image" if others.total() == 1 else f"{others.total()} files that are no images"
    holds = f" (it holds {files} this reads: {held})" if held else ""
    wanted = f"put images into {train / empty}, or delete that folder"
    raise ValueError(f"class {empty!r} of {train} has no training images{holds}: {wanted}")


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:4])) + (", ..." if len(names) > 4 else "")


def _folders(parent: Path) -> list[Path]:
    return sorted(p for p in parent.iterdir() if p.is_dir() and not hidden(p.name))


def _test_folder(root: Path) -> Path | None:
    return next((root / name for name in _TESTS if (root / name).is_dir() and any((root / name).iterdir())), None)


def _listed(folder: Path, names: Sequence[str], root: Path, strays: Strays) -> Files:
    """The images of every class folder; what else lies among them is added to `strays`."""
    present = [f.name for f in _folders(folder)]
    if unknown := sorted(set(present) - set(names)):
        raise ValueError(f"{folder} has a class that train/ lacks: {unknown[0]!r}")
    beside = [path.name for path in folder.iterdir() if path.is_file()]
    strays.outside += sum(map(is_image, beside))
    strays.others.update(ending(name) for name in beside if not is_image(name))
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        found = images_in(folder / name) if name in present else Found()
        strays.add(found)
        paths, labels = paths + found.images, labels + [label] * len(found.images)
    return Files(root, tuple(paths), tuple(labels))


def _annotated(folder: Path, names: Sequence[str], root: Path) -> Files | None:
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
    return Files(root, tuple(paths), tuple(labels))
