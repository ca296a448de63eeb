"""Which class of a model is meant by the name of a class of the data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from infodistill.serialise import read_object

REMEDY = 'give class ids by name, {"name": id}, as a mapping or a JSON file'


def ids_by_name(
    class_names: Sequence[str], labels: Mapping[int, str], given: Mapping[str, int] | None = None, *, known: int
) -> tuple[int, ...]:
    """The model's id of every class of the data.

    A name given an id has it. Any other is looked up among the labels, each a comma-separated list of synonyms (as
    ImageNet has them), without regard to case and with underscores read as spaces.

    Args:
        class_names: of the data.
        labels: the model's, by id; {} where it names none.
        given: ids that names cannot say, of classes of the data.
        known: how many classes the model has: ids count 0..known - 1.

    Raises:
        ValueError: ids of classes the data has not, names that no label has, or several have, an id out of range, or
            two classes with one id.
    """
    given, found = dict(given or {}), _meanings(labels)
    if unasked := [name for name in given if name not in class_names]:
        raise ValueError(f"ids are given for {_few(unasked)}, no class of the data (it has {_few(class_names)})")
    asked = {name: {given[name]} if name in given else found.get(_plain(name), set()) for name in class_names}
    if lost := [name for name in class_names if not asked[name]]:
        theirs = f"it has {_few(labels.values())}" if labels else "it names no classes"
        raise ValueError(f"the model knows no class called {_few(lost)} ({theirs}): {REMEDY}")
    if twice := [name for name in class_names if len(asked[name]) > 1]:
        ids = " and ".join(str(one) for one in sorted(asked[twice[0]]))
        raise ValueError(f"{_few(twice)} may mean more than one class of the model (ids {ids}): {REMEDY}")
    ids = tuple(next(iter(asked[name])) for name in class_names)
    for name, one in zip(class_names, ids, strict=True):
        if not 0 <= one < known:
            raise ValueError(f"class {name!r} has id {one}, this model's classes count 0..{known - 1}")
        if ids.count(one) > 1:
            same = [other for other, its in zip(class_names, ids, strict=True) if its == one]
            raise ValueError(f"{_few(same)} are one class of the model (id {one}): {REMEDY}")
    return ids


def read_class_ids(path: Path) -> dict[str, int]:
    """Class ids by name from a JSON file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not one object of integers.
    """
    content: dict[str, Any] = read_object(path)
    if odd := [name for name, one in content.items() if type(one) is not int]:
        raise ValueError(f"{path.name} must map class names to integer ids, {odd[0]!r} has {content[odd[0]]!r}")
    return content


def _meanings(labels: Mapping[int, str]) -> dict[str, set[int]]:
    """Every synonym, and every whole label, with the ids that have it."""
    found: defaultdict[str, set[int]] = defaultdict(set)
    for one, label in labels.items():
        for synonym in (label, *label.split(",")):
            found[_plain(synonym)].add(one)
    return found


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())


def _few(names: Iterable[str]) -> str:
    listed = [repr(name) for name in names]
    return ", ".join(listed[:4]) + (f", … ({len(listed)} in all)" if len(listed) > 4 else "")
