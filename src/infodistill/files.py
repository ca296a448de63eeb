"""Writing files so that a reader never sees half of one, and knowing beforehand that a folder takes them."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""A full disk and a used-up quota."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place: temp file, fsync, rename, fsync folder.

    Raises:
        OSError: what the operating system refused, with `path`, also where a library tells it in words of its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(partial)
        _sync(partial)
        partial.replace(path)
        _sync(path.parent)
    except Exception as error:
        number, place = system_error(error), getattr(error, "filename", None)
        if number is None or (place is not None and str(place) != str(partial)):
            raise
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def system_error(error: Exception) -> int | None:
    """The operating system's number of an error, also of one that only has it in its text, as safetensors writes it."""
    if isinstance(error, OSError):
        return error.errno
    told = re.search(r"\(os error (\d+)\)", str(error))
    return int(told[1]) if told else None


def require_writable(*places: Path) -> None:
    """See that each place, a folder or a file in one, can be written to, or made; nothing is left there.

    For commands that compute for long and store at the end.

    Raises:
        OSError: one of them takes no file, in one sentence; where it is full with the number of that.
    """
    for place in places:
        folder = next(one for one in (place, *place.absolute().parents) if one.exists())
        folder = folder if folder.is_dir() or folder != place else folder.parent
        try:
            with TemporaryFile(dir=folder) as probe:  # it has no name to be left behind under
                probe.write(b"0")
                probe.flush()
        except OSError as error:
            if error.errno in NO_SPACE:
                raise OSError(error.errno, error.strerror, str(place)) from None
            raise PermissionError(
                f"'{place}' cannot be written to ({error.strerror}), so nothing was computed: "
                "choose or copy to a folder that can"
            ) from None


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
