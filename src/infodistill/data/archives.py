"""Archives read in memory: no member is ever written to disk under a name the archive chose.

Every member is checked before it is read: absolute paths, `..`, drive letters, links, devices and pipes are refused,
and so are archives that declare an absurd size (no more than is declared is ever read).
"""

from __future__ import annotations

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

Wanted = Callable[[str], bool]
"""wanted(member name) -> whether to read it."""


@dataclass(frozen=True)
class Limits:
    """The most an archive may hold: members, bytes of one member, bytes of all, uncompressed."""

    members: int = 500_000
    member_bytes: int = 512 * 2**20
    total_bytes: int = 16 * 2**30


LIMITS = Limits()
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, zlib.error, lzma.LZMAError, RuntimeError)


def read_members(path: Path, wanted: Wanted, limits: Limits = LIMITS) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the wanted regular files of a tar (any compression) or zip, in archive order.

    Raises:
        ValueError: a member that is not safe, more than the limits allow, a damaged archive.
    """
    members = _zip_members if zipfile.is_zipfile(path) else _tar_members
    try:
        yield from members(path, wanted, limits)
    except _DAMAGE as error:
        raise ValueError(f"{path.name} is not an archive that can be read: {error}") from error


def member_names(path: Path) -> list[str]:
    """Names of all regular files, checked like `read_members`, in archive order."""
    names: list[str] = []

    def note(name: str) -> bool:
        names.append(name)
        return False

    list(read_members(path, note))
    return names


def _zip_members(path: Path, wanted: Wanted, limits: Limits) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        tally = _Tally(path.name, limits)
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            tally.admit(info.filename, info.file_size, kind in (0, stat.S_IFREG, stat.S_IFDIR))
        for info in archive.infolist():
            if not info.is_dir() and wanted(info.filename):
                yield info.filename, archive.read(info)


def _tar_members(path: Path, wanted: Wanted, limits: Limits) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path, "r:*") as archive:
        tally = _Tally(path.name, limits)
        for info in archive:
            tally.admit(info.name, info.size, info.isreg() or info.isdir())
            content = archive.extractfile(info) if info.isreg() and wanted(info.name) else None
            if content is not None:
                yield info.name, content.read()


class _Tally:
    """Counts what an archive declares and refuses what is not safe."""

    def __init__(self, archive: str, limits: Limits) -> None:
        self.archive, self.limits, self.members, self.bytes = archive, limits, 0, 0

    def admit(self, name: str, size: int, plain: bool) -> None:
        self.members, self.bytes = self.members + 1, self.bytes + size
        if not plain:
            raise ValueError(f"{self.archive} holds a link or device, {name!r}: refused")
        if _escapes(name):
            raise ValueError(f"{self.archive} holds a member that leaves its folder, {name!r}: refused")
        limits = self.limits
        if self.members > limits.members or size > limits.member_bytes or self.bytes > limits.total_bytes:
            raise ValueError(f"{self.archive} is larger than an image archive may be, at member {name!r}: refused")


def _escapes(name: str) -> bool:
    windows = PureWindowsPath(name)
    return PurePosixPath(name).is_absolute() or bool(windows.anchor) or ".." in windows.parts or "\x00" in name
