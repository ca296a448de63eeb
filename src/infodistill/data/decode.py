"""Many encoded images to uint8 arrays in bounded memory.

Two passes: the first reads headers (which sizes? all grey?), the second decodes into an array the caller provides,
which may be a memory-mapped file.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, TypeVar

import numpy as np
from PIL import UnidentifiedImageError

from infodistill.data.images import Encoded, Pixels, header, pixels, strict_decoder
from infodistill.data.reading import Part, Reading

MIXED_SIZE = 32
"""Side given to images of different sizes when nobody asked for one."""

_CHUNK = 256
_NAMED = 10
_SHOWN = 3
_SMALL = 48 * 48

Given = TypeVar("Given")
Made = TypeVar("Made")
Allocate = Callable[[str, tuple[int, ...]], Pixels]
"""allocate(split, shape) -> the uint8 array that split is decoded into."""


@dataclass(frozen=True)
class Item:
    """An encoded image, what to call it in a message, and its label."""

    name: str
    encoded: Encoded
    label: int


class Items(Protocol):
    """The images of one split; may be gone through more than once, always in the same order."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Item]: ...
    def digest(self) -> str:
        """A hash of the content: of every encoded byte and label."""
        ...


@dataclass
class Scan:
    """What the headers of one split say; `faults` has a sentence for every unreadable row."""

    labels: list[int]
    sizes: Counter[tuple[int, int]]
    faults: dict[int, str]
    grey: bool = True


@dataclass(frozen=True)
class Plan:
    """The (c, h, w) everything is decoded to; `square` is None when all images have that size already."""

    shape: tuple[int, int, int]
    square: int | None
    note: str


def decode(splits: Mapping[str, Items], reading: Reading, allocate: Allocate) -> tuple[dict[str, Part], dict[str, Any]]:
    """Decode every split to one common shape: (parts by split, notes).

    One channel only if every image is grey. Size: `reading.size`; else the one all images share; else 32.

    Raises:
        ValueError: unreadable images, counted and the first of them named, unless `reading.skip_corrupt`; a split
            without a readable image.
    """
    with strict_decoder():
        scans = {split: _scan(split, items, reading) for split, items in splits.items()}
        plan = _plan(list(scans.values()), reading.size)
        parts: dict[str, Part] = {}
        for split, items in splits.items():
            images = allocate(split, (len(items) - len(scans[split].faults), *plan.shape))
            parts[split] = _decoded(items, scans[split], plan, images, (reading, split))
    faults = [scan.faults[row] for scan in scans.values() for row in sorted(scan.faults)]
    if faults and not reading.skip_corrupt:  # after everything was tried: whoever repairs them wants all of them
        raise ValueError(_unreadable(faults))
    skipped = {"skipped_corrupt": len(faults), "skipped_corrupt_first": faults[:_NAMED]} if faults else {}
    return parts, {"size": plan.note, **skipped}


def _scan(split: str, items: Items, reading: Reading) -> Scan:
    scan = Scan([], Counter(), {})
    for row, item in enumerate(items):
        scan.labels.append(item.label)
        try:
            found = header(item.encoded)
        except Exception as error:  # decoders raise anything on damaged bytes
            scan.faults[row] = _fault(item, error)
            continue
        scan.sizes[found.size] += 1
        scan.grey &= found.grey
        if row % _CHUNK == 0:
            reading.progress(f"scan {split}", row, len(items))
    if not scan.sizes:
        first = f", the first: {scan.faults[0]}" if scan.faults else ""
        raise ValueError(f"the {split} split has no readable image among {len(items)}{first}")
    return scan


def _plan(scans: list[Scan], wanted: int | None) -> Plan:
    channels = 1 if all(scan.grey for scan in scans) else 3
    sizes = sum((scan.sizes for scan in scans), Counter[tuple[int, int]]())
    if len(sizes) == 1 and set(sizes) <= {next(iter(sizes)) if wanted is None else (wanted, wanted)}:
        height, width = next(iter(sizes))
        return Plan((channels, height, width), None, f"all images are {height}x{width}")
    square = wanted or MIXED_SIZE
    chosen = "as asked" if wanted else "the default for mixed sizes, --size changes it"
    note = f"{len(sizes)} sizes brought to {square}x{square} ({chosen}): shorter side resized bicubic, centre kept"
    return Plan((channels, square, square), square, note)


def _decoded(items: Items, scan: Scan, plan: Plan, images: Pixels, told: tuple[Reading, str]) -> Part:
    """Decode the rows that have a header, into consecutive slots of `images`."""
    reading, split = told
    rows = [row for row in range(len(items)) if row not in scan.faults]
    slots = enumerate(item for row, item in enumerate(items) if row not in scan.faults)
    lost: list[int] = []

    def work(chunk: list[tuple[int, Item]]) -> list[tuple[int, Item, Exception]]:
        return [(slot, item, error) for slot, item in chunk if (error := _decode_one(item, plan, images[slot]))]

    # tiny images spend their time in the interpreter, where threads only get in each other's way
    workers = 1 if max(h * w for h, w in scan.sizes) <= _SMALL else min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        for done, failed in enumerate(_bounded(pool, work, _chunks(slots)), 1):
            for slot, item, error in failed:
                scan.faults[rows[slot]] = _fault(item, error)
                lost.append(slot)
            reading.progress(f"decode {split}", min(done * _CHUNK, len(rows)), len(rows))
    labels = np.array([scan.labels[row] for row in rows], np.int64)
    if not lost:
        return Part(images, labels)
    kept = np.delete(np.arange(len(rows)), lost)
    return Part(images, labels[kept], kept)


def _decode_one(item: Item, plan: Plan, out: Pixels) -> Exception | None:
    try:
        out[...] = pixels(item.encoded, plan.shape[0], plan.square)
    except Exception as error:  # decoders raise anything on damaged bytes
        return error
    return None


def _fault(item: Item, error: Exception) -> str:
    """The sentence about an unreadable image."""
    why = "not an image, or its header is damaged" if isinstance(error, UnidentifiedImageError) else str(error)
    return f"{item.name}: {why}"


def _unreadable(faults: Sequence[str]) -> str:
    """The sentence about all of them; the first few by name."""
    which = "image" if len(faults) == 1 else f"{len(faults)} images, the first:"
    shown = "; ".join(faults[:_SHOWN]) + ("; ..." if len(faults) > _SHOWN else "")
    return f"cannot read {which} {shown} (--skip-corrupt leaves such images out)"


def _chunks(slots: Iterator[tuple[int, Item]]) -> Iterator[list[tuple[int, Item]]]:
    while chunk := list(islice(slots, _CHUNK)):
        yield chunk


def _bounded(pool: ThreadPoolExecutor, work: Callable[[Given], Made], inputs: Iterable[Given]) -> Iterator[Made]:
    """`map` in order that reads `inputs` only a few ahead of the results."""
    waiting: deque[Future[Made]] = deque()
    for given in inputs:
        waiting.append(pool.submit(work, given))
        if len(waiting) > 16:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
