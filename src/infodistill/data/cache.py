"""The cache folder: decoded images and downloads. Deleting it loses nothing but time."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

_STALE_SECONDS = 24 * 3600.0


def cache_dir() -> Path:
    """`$INFODISTILL_CACHE`, or the platform's cache folder for this program. Not created here."""
    if chosen := os.environ.get("INFODISTILL_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "infodistill"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "infodistill" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "infodistill"


def file_sha256(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fill_once(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make `folder` by letting `fill` write into a temporary one beside it, renamed when complete.

    Readers see the folder whole or not at all; of two processes filling it at once the first one wins.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
    try:
        fill(partial)
        for path in partial.iterdir():
            with path.open("r+b") as stream:
                os.fsync(stream.fileno())
        partial.rename(folder)
    except OSError:
        if not folder.exists():  # else another process was faster
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Remove what killed processes left behind."""
    for partial in parent.glob(".*.partial"):
        if time.time() - partial.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(partial, ignore_errors=True)
