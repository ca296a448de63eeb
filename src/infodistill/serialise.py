"""JSON, hashes and names as the artefact, the caches and the records write them."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, cast

from infodistill.files import write_atomically


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content` atomically, making its folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda partial: partial.write_bytes(content))


def canonical_json(content: object) -> str:
    """The one JSON text of a content: sorted keys, no spaces, no NaN. What hashes are taken of."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def pretty_json(content: object) -> bytes:
    """Indented JSON for people, in the order given."""
    return (json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the content is not one JSON object.
    """
    try:
        content: object = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is not readable JSON ({error}): it is truncated or was edited") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} must hold one JSON object, it holds a {type(content).__name__}")
    return cast("dict[str, Any]", content)


def safe_name(text: str) -> str:
    """A name that is safe as one path component: letters, digits, '.', '_' and '-', at most 80 characters."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")[:80] or "unnamed"
