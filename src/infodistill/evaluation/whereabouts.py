"""Where the data of an artefact lies: as its maker gave it, or beside the artefact, whatever folder one works in.

`source.data` is the path as it was typed, which holds for the folder it was typed in. `source.beside` leads from the
artefact to the same data, so a folder that holds both can be moved, shared and entered. It names no folder that the
typed path does not name: nothing of the machine a set was made on goes with the set.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from infodistill.distilled import Distilled

BESIDE = "beside"


def beside(data: str, folder: Path) -> str | None:
    """The way from an artefact in `folder` to the data given as the path `data`, with '/' between its parts.

    None for data that has a name, is not there, or whose way names a folder that `data` does not name (another disk,
    another person's home).
    """
    given = Path(data).expanduser()
    if not given.exists() or _named(data):
        return None
    try:
        way = Path(os.path.relpath(given.parent.resolve() / given.name, folder.resolve()))
    except ValueError:  # drives of Windows have no way between them
        return None
    down = tuple(part for part in way.parts if part != "..")
    typed = given.parts[len(given.parts) - len(down) :]
    return way.as_posix() if down == typed else None


def placed(distilled: Distilled, folder: Path) -> Distilled:
    """The set with the way to its data from `folder`, where it will lie; one that no longer leads there goes."""
    source = _source(distilled)
    way = beside(str(source["data"]), folder) if "data" in source else None
    kept = source.get(BESIDE)
    if way is None and isinstance(kept, str) and (folder / kept).exists():
        way = kept
    if way == kept:
        return distilled
    rest = {name: value for name, value in source.items() if name != BESIDE}
    return distilled.with_meta(source={**rest, **({} if way is None else {BESIDE: way})})


def located(distilled: Distilled, folder: Path) -> Distilled:
    """The set read from `folder` with the path of its data as it holds here: as typed, else beside the artefact.

    For use at once, not to be stored. Data that is in neither place stays as typed, for the sentence that says so.
    """
    source = _source(distilled)
    data, way = source.get("data"), source.get(BESIDE)
    if not isinstance(data, str) or not isinstance(way, str) or Path(data).expanduser().exists() or _named(data):
        return distilled
    there = Path(os.path.normpath(folder.resolve() / way))
    return distilled.with_meta(source={**source, "data": str(there)}) if there.exists() else distilled


def _named(data: str) -> bool:
    from infodistill.data import NAMES  # slow to import, and few sets are of a path

    return data in NAMES or data.startswith("hf:")


def _source(distilled: Distilled) -> dict[str, Any]:
    return dict(distilled.meta.get("source") or {})
