"""The profile: every number with its interval, its controls, its direction and its note; JSON-able."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from infodistill.measures.controls import shuffled
from infodistill.measures.naming import Quantity, label_entropy, quantities
from infodistill.measures.reading import Reading, Undefined, interval, summary
from infodistill.measures.seen import Ground, Seen, plain_bytes
from infodistill.types import Batch

Told = Callable[[str, int, int], None]
"""progress(what, done, total)."""


@dataclass(frozen=True)
class Effort:
    """How many controls and resamples a profile takes.

    Args:
        subsets: random real subsets of the same size.
        shuffles: orders of the set's labels.
        resamples: draws behind every interval; below 2 there are none.
    """

    subsets: int = 3
    shuffles: int = 2
    resamples: int = 100

    def __post_init__(self) -> None:
        if min(self.subsets, self.shuffles, self.resamples) < 0:
            raise ValueError(f"subsets, shuffles and resamples must not be negative, got {self}")


USUAL = Effort()
ALONE = Effort(0, 0, 0)
"""The numbers only."""


@torch.no_grad()
def information_profile(
    batch: Batch,
    ground: Ground,
    *,
    stored: int | None = None,
    effort: Effort = USUAL,
    progress: Told | None = None,
) -> dict[str, Any]:
    """Every quantity of `naming` by name, and `set_bytes`, `label_entropy`.

    An entry: `mean` (the value, None with a `reason` where it is not defined), `interval` (low, high) and `over` (what
    was drawn again for it), `bound`, `ceiling`, `share` (value / H(Y), for what H(Y) bounds), `unit`, `title`, `note`,
    and the controls `random` (None with a `random_reason` where the data have no subset of this size) and `shuffled`
    (None with a `shuffled_reason` where labels cannot be wrong): mean, sample standard deviation and number over sets.

    Args:
        batch: the set, on the device of the data.
        ground: the real side.
        stored: its bytes; those of its images as float32 with hard labels when None.
        effort: controls and resamples; `ALONE` reads the numbers only.
        progress: told after every set that was read.
    """
    seed, asked = ground.seed, quantities(ground)
    others, missing = _subsets(batch, ground, effort.subsets)
    mixed, unmixed = _mixed(batch, seed, effort.shuffles)
    total, size = 1 + len(others) + len(mixed), plain_bytes(batch) if stored is None else stored
    if progress is not None:
        progress("sets read", 0, total)
    seen = Seen(batch, ground, size)
    own = _read(seen, asked)
    told: list[Mapping[str, float | None]] = []
    for index, other in enumerate([*others, *mixed]):
        if progress is not None:
            progress("sets read", index + 1, total)
        control = Seen(other, ground, size if index >= len(others) else plain_bytes(other))
        told.append({name: _value(found) for name, (found, _) in _read(control, asked).items()})
    if progress is not None:
        progress("sets read", total, total)
    random, disordered = told[: len(others)], told[len(others) :]
    entries = {
        name: {
            **_entry(quantity, own[name], seen, name=name, resamples=effort.resamples),
            "random": summary([one[name] for one in random]),
            "random_reason": missing,
            "shuffled": summary([one[name] for one in disordered]),
            "shuffled_reason": unmixed,
            "note": quantity.note,
        }
        for name, quantity in asked.items()
    }
    return {"set_bytes": size, "label_entropy": ground.label_entropy, **entries}


def _subsets(batch: Batch, ground: Ground, count: int) -> tuple[list[Batch], str | None]:
    """Random real subsets as large as the set's largest class, the draws of `set_information`; else none, and why."""
    real, ipc = ground.real, int(batch.y.bincount().max())
    try:
        return [real.rows(real.sample(ground.seed + 1 + i, ipc)) for i in range(count)], None
    except ValueError as error:
        return [], f"there are no random subsets of this size: {error}"


def _mixed(batch: Batch, seed: int, count: int) -> tuple[list[Batch], str | None]:
    """The set under wrong labels; else none, and why."""
    try:
        return [shuffled(batch, seed, i) for i in range(count)], None
    except Undefined as error:
        return [], str(error)


Found = tuple[Reading | None, str | None]
"""A reading, or the reason why there is none."""


def _read(seen: Seen, asked: Mapping[str, Quantity]) -> dict[str, Found]:
    return {name: _attempt(seen, quantity) for name, quantity in asked.items()}


def _attempt(seen: Seen, quantity: Quantity) -> Found:
    """One number that does not exist must not take the others down; any other failure must."""
    try:
        reading = quantity.read(seen)
    except ValueError as error:
        return None, " ".join(str(error).split()) or type(error).__name__
    if not math.isfinite(reading.value):
        return None, f"it came out as {reading.value}"
    return reading, None


def _value(reading: Reading | None) -> float | None:
    return None if reading is None else reading.value


def _entry(quantity: Quantity, found: Found, seen: Seen, *, name: str, resamples: int) -> dict[str, Any]:
    reading, reason = found
    between = None if reading is None else _interval(reading, seen.ground.seed, name, resamples)
    real, held_out = seen.ground.real, "held-out" in quantity.over
    share = reading.value / seen.ground.label_entropy if reading and quantity.ceiling is label_entropy else None
    return {
        "title": quantity.title,
        "mean": _value(reading),
        "interval": None if between is None else list(between),
        "over": quantity.over,
        "bound": "none" if held_out and real.test is None else quantity.bound,
        "ceiling": quantity.ceiling(seen),
        "share": share,
        "unit": quantity.unit,
        "reason": reason,
    }


def _interval(reading: Reading, seed: int, name: str, resamples: int) -> tuple[float, float] | None:
    try:
        return interval(reading, seed=seed, owner=name, resamples=resamples)
    except ValueError:
        return None
