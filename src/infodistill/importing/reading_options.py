"""Lists as people type them on a command line."""

from __future__ import annotations

import json
from pathlib import Path


def numbers_of(text: str | None, option: str) -> tuple[float, ...] | None:
    """`0.49,0.48,0.45` as numbers.

    Raises:
        ValueError: one of them is no number.
    """
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{option} wants numbers with commas between them, got '{text}'") from None


def names_of(text: str | None) -> tuple[str, ...] | None:
    """`ant,bee`, or a file with one name a line, or with a JSON list of names."""
    if text is None:
        return None
    path = Path(text)
    if not _is_file(path):
        return tuple(part.strip() for part in text.split(","))
    content = path.read_text(encoding="utf-8").strip()
    if content.startswith("["):
        return tuple(str(name) for name in json.loads(content))
    return tuple(line.strip() for line in content.splitlines() if line.strip())


def _is_file(path: Path) -> bool:
    """Whether there is such a file; a text that is too long for the name of one is none."""
    try:
        return path.is_file()
    except OSError:
        return False
