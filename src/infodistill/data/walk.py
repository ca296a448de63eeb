"""The image files of one class folder, and an account of everything else that lies there."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from infodistill.data.images import SUFFIXES

HARMLESS = "hidden or text"
_TEXT = frozenset({".csv", ".db", ".html", ".ini", ".json", ".log", ".md", ".tsv", ".txt", ".xml", ".yaml", ".yml"})


@dataclass
class Found:
    """Images by path; other files by ending; links to folders that were followed, and that were not (loops)."""

    images: list[Path] = field(default_factory=list[Path])
    others: Counter[str] = field(default_factory=Counter[str])
    linked: int = 0
    loops: int = 0


def images_in(folder: Path) -> Found:
    """Image files at any depth, sorted by path. Links to folders are followed, every real folder is read once.

    A link to a folder that contains the one it lies in, or the class folder, would bring in other classes or never
    end: it is left out and counted. Real folders come before links, so that the paths do not depend on the listing.

    Raises:
        OSError: a folder cannot be read: its images would be missing without a word.
    """
    found, seen, waiting = Found(), set[Path](), [folder]
    for top in waiting:  # grows while it is gone through
        found.linked += top != folder and top.resolve() not in seen
        for parent, folders, files in os.walk(top, onerror=_closed):
            here = Path(parent).resolve()
            if here in seen:  # a link behind a link led here before
                folders.clear()
                continue
            seen.add(here)
            links = [Path(parent) / name for name in sorted(folders) if os.path.islink(os.path.join(parent, name))]
            folders[:] = [name for name in folders if not hidden(name)]
            followed = [link for link in links if not hidden(link.name) and not _loops(link, (here, folder.resolve()))]
            found.loops += sum(not hidden(link.name) for link in links) - len(followed)
            waiting += followed
            _sort_out(Path(parent), files, found)
    found.images.sort()
    return found


def _closed(error: OSError) -> None:
    raise error  # os.walk alone would pass the folder over


def _loops(link: Path, inside: tuple[Path, ...]) -> bool:
    return any(place.is_relative_to(link.resolve()) for place in inside)


def _sort_out(parent: Path, files: list[str], found: Found) -> None:
    for name in files:
        if is_image(name):
            found.images.append(parent / name)
        else:
            found.others[ending(name)] += 1


def hidden(name: str) -> bool:
    """Whether systems put such a file or folder there rather than people."""
    return name.startswith(".") or name == "__MACOSX"


def is_image(name: str) -> bool:
    return not hidden(name) and Path(name).suffix.lower() in SUFFIXES


def ending(name: str) -> str:
    """What a file that is not read is counted as."""
    suffix = Path(name).suffix.lower()
    return HARMLESS if hidden(name) or suffix in _TEXT else suffix or "without an ending"
