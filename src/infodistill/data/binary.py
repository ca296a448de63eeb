"""Readers of the published files: IDX (MNIST), CIFAR binary, SVHN .mat, and archives of encoded images."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infodistill.data.archives import member_names, read_members
from infodistill.data.cache import file_sha256
from infodistill.data.decode import Item
from infodistill.data.reading import Part

_IDX_UINT8 = bytes((0, 0, 8))


def read_idx(path: Path) -> NDArray[np.uint8]:
    """A gzipped IDX file of unsigned bytes: magic 0 0 8 d, then d big-endian sizes, then the values."""
    try:
        raw = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path.name} is not a gzip file that can be read: {error}") from error
    dims = raw[3] if raw[:3] == _IDX_UINT8 and len(raw) > 3 else 0
    shape = [int.from_bytes(raw[4 + 4 * d : 8 + 4 * d], "big") for d in range(dims)]
    if not dims or len(raw) != 4 + 4 * dims + math.prod(shape):
        raise ValueError(f"{path.name} is not an IDX file of unsigned bytes, or is cut short")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dims).reshape(shape).copy()


def read_idx_pair(images: Path, labels: Path) -> Part:
    """MNIST's two files: images (n, h, w) and labels (n,)."""
    pictures, classes = read_idx(images), read_idx(labels)
    if pictures.ndim != 3 or classes.shape != pictures.shape[:1]:
        raise ValueError(f"{images.name} and {labels.name} do not fit: {pictures.shape} and {classes.shape}")
    return Part(pictures[:, None], classes.astype(np.int64))


def read_cifar(archive: Path, members: Sequence[str], label_bytes: int) -> Part:
    """CIFAR's binary records: `label_bytes` labels (the last is the finest), then 3x32x32 bytes, channel by channel."""
    found = {name.rsplit("/", 1)[-1]: raw for name, raw in read_members(archive, lambda n: n.endswith(tuple(members)))}
    record = label_bytes + 3 * 32 * 32
    for name in members:
        if len(found.get(name, b"")) == 0 or len(found[name]) % record:
            raise ValueError(f"{archive.name}: {name} is missing or is not made of {record}-byte records")
    rows = np.frombuffer(b"".join(found[name] for name in members), np.uint8).reshape(-1, record)
    return Part(rows[:, label_bytes:].reshape(-1, 3, 32, 32).copy(), rows[:, label_bytes - 1].astype(np.int64))


def read_lines(archive: Path, member: str) -> tuple[str, ...]:
    """The non-empty lines of a text member."""
    for _, raw in read_members(archive, lambda name: name.rsplit("/", 1)[-1] == member):
        return tuple(line.strip() for line in raw.decode("utf-8", "replace").splitlines() if line.strip())
    raise ValueError(f"{archive.name} has no member {member}")


def read_svhn(path: Path) -> Part:
    """SVHN's cropped digits: X (32, 32, 3, n) and y (n, 1), where 10 means the digit 0."""
    from scipy.io import loadmat  # slow to import, needed here only

    try:
        arrays: dict[str, Any] = loadmat(path, variable_names=["X", "y"])
        images, labels = arrays["X"], arrays["y"].reshape(-1).astype(np.int64) % 10
        return Part(np.ascontiguousarray(images.transpose(3, 2, 0, 1), np.uint8), labels)
    except Exception as error:  # scipy raises many kinds on damaged files
        raise ValueError(f"{path.name} is not SVHN's cropped .mat file, or is damaged: {error}") from error


@dataclass(frozen=True)
class ArchiveRows:
    """Encoded images inside an archive, labelled by a function of the member's name; None leaves a member out."""

    path: Path
    members: dict[str, int]

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[Item]:
        for name, raw in read_members(self.path, self.members.__contains__):
            yield Item(name, raw, self.members[name])

    def digest(self) -> str:
        return f"{file_sha256(self.path)} {sorted(self.members.items())}"


def archive_rows(path: Path, label_of: Callable[[str], int | None]) -> ArchiveRows:
    """The members of an archive that `label_of` gives a label."""
    labelled = {name: label_of(name) for name in member_names(path)}
    return ArchiveRows(path, {name: label for name, label in labelled.items() if label is not None})
