"""Values typed on a command line or read from a file, before they become fields of a record: types, finite numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, cast

KINDS: Mapping[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}
WORDS: Mapping[str, str] = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false"}
"""By the annotation of a field; others are not looked at."""


def check_values(record: Any, values: Mapping[str, Any], prefix: str = "") -> None:
    """See that values may become fields of a dataclass; names that are no field of it are passed over.

    Raises:
        ValueError: a value of another type than the field's, or a number that is not finite.
    """
    for entry in fields(record):
        parts = [part.strip() for part in str(entry.type).split("|")]
        named = [part for part in parts if part in KINDS]
        if entry.name not in values or len(named) + ("None" in parts) < len(parts):
            continue
        value = values[entry.name]
        if value is None and "None" in parts:
            continue
        kinds = tuple(kind for part in named for kind in KINDS[part])
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise ValueError(f"{prefix}{entry.name} wants {' or '.join(WORDS[part] for part in named)}, got {value!r}")
    check_finite(values, prefix)


def check_finite(values: Mapping[str, Any], prefix: str = "") -> None:
    """See that no number is NaN or infinite, in lists and mappings either.

    Raises:
        ValueError: one is.
    """
    for name, value in values.items():
        if odd := [number for number in _numbers(value) if not math.isfinite(number)]:
            raise ValueError(f"{prefix}{name} wants finite numbers, got {odd[0]}")


def whole(value: object, least: int) -> bool:
    """Whether it is a whole number of at least `least`; True and False are none."""
    return type(value) is int and value >= least


def _numbers(value: object) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, list | tuple):
        for inner in cast("list[object]", value):
            yield from _numbers(inner)
    elif isinstance(value, Mapping):
        yield from _numbers(list(cast("Mapping[str, object]", value).values()))
