"""How data is read, and what reading gives: the two records every reader of `infodistill.data` shares."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infodistill.data.images import Pixels
from infodistill.types import ValueSpace

Progress = Callable[[str, int, int], None]
"""progress(stage, done, total); stages are "download NAME" (bytes), "scan SPLIT" and "decode SPLIT" (images)."""


def silent(stage: str, done: int, total: int) -> None:
    """Report nothing."""
    del stage, done, total


def memory_budget() -> int:
    """Bytes of decoded images to hold in memory before they are memory-mapped instead: a quarter of the machine's."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return 2 * 2**30


@dataclass(frozen=True)
class Reading:
    """What the caller asked for.

    Args:
        size: side of the square images in pixels; None leaves it to the data.
        skip_corrupt: leave unreadable images out and count them, instead of refusing the data.
        seed: of the stratified 20 % that becomes test data where there is none.
        memory: bytes above which decoded images are memory-mapped from the cache.
        progress: told how far reading is.
    """

    size: int | None = None
    skip_corrupt: bool = False
    seed: int = 0
    memory: int = field(default_factory=memory_budget)
    progress: Progress = silent

    def __post_init__(self) -> None:
        if self.size is not None and not 1 <= self.size <= 4096:
            raise ValueError(f"size must be a number of pixels from 1 to 4096, got {self.size}")


@dataclass(frozen=True)
class Part:
    """One split: images uint8 (stored, c, h, w) in memory or mapped, labels int64 (n,), stored row of each or None."""

    images: Pixels
    labels: NDArray[np.int64]
    rows: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Parts:
    """A data set as a reader found it; `space` None means: measure it on the training images."""

    name: str
    train: Part
    test: Part | None
    class_names: tuple[str, ...]
    space: ValueSpace | None = None
    notes: Mapping[str, Any] = field(default_factory=dict[str, Any])
