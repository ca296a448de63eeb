"""Folder names of classes: safe on every file system, distinct, and sorted as the classes are numbered.

Readers of image folders number classes by the alphabetical order of their folders, so that order has to be ours.
"""

from __future__ import annotations

from collections.abc import Sequence

from infodistill.serialise import safe_name


def folder_names(classes: Sequence[str]) -> tuple[str, ...]:
    """A folder for every class: its name, made safe; with its number in front where names would sort or merge wrongly.

    `('0', '1')` stay, `('9', '10')` become `0-9`, `1-10`; `('../a', 'a')` become `0-a`, `1-a`.
    """
    plain = [safe_name(name) for name in classes]
    if len({name.lower() for name in plain}) == len(plain) and plain == sorted(plain):
        return tuple(plain)
    width = len(str(len(plain) - 1))
    return tuple(f"{number:0{width}d}-{name}" for number, name in enumerate(plain))
