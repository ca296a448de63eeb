"""Evaluations as they are kept with a set: whose they are, what they were made under, and several beside each other.

results.json holds one evaluation a protocol, the last that was asked for. Those of the same protocol on other data,
with other settings or in another precision stand in it under `earlier`: nothing that was trained is lost, nor mixed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from infodistill.distilled import Distilled
from infodistill.evaluation.result import STAMP, Score, seeds_of, values_of
from infodistill.serialise import canonical_json, sha256

EARLIER = "earlier"
BY_SEED = ("distilled", "distilled_hard")
"""Columns whose i-th number is that of the i-th seed; the others are numbered from 0."""


@dataclass(frozen=True)
class Conditions:
    """What two evaluations must share to stand side by side, data and settings as JSON; None: any will do."""

    data: str | None = None
    protocol: str | None = None
    precision: str | None = None

    def allow(self, other: Conditions) -> bool:
        """Whether an evaluation under `other` is one of these."""
        wanted = ((self.data, other.data), (self.protocol, other.protocol), (self.precision, other.precision))
        return all(mine is None or mine == theirs for mine, theirs in wanted)


def conditions_of(data: Sequence[str | None] | None, protocol: Mapping[str, Any], precision: str) -> Conditions:
    """Of the fingerprints of training and test data (None: any), a protocol in full and a precision."""
    settings = {name: value for name, value in protocol.items() if name != "note"}
    return Conditions(None if data is None else canonical_json(list(data)), canonical_json(settings), precision)


def conditions(record: Mapping[str, Any]) -> Conditions:
    """What a recorded evaluation was made under."""
    settings: Mapping[str, Any] = record.get("settings", {})
    data = [settings.get("fingerprint"), settings.get("test_fingerprint")]
    precision = str(dict(settings.get("policy", {})).get("precision", "float32"))
    return conditions_of(data, dict(record.get("protocol_settings", {})), precision)


def told_apart(found: Sequence[Conditions]) -> list[str]:
    """Words for each of several conditions that names what differs between them; empty where all are the same."""
    data, settings = len({one.data for one in found}) > 1, len({one.protocol for one in found}) > 1
    precision = len({one.precision for one in found}) > 1
    return [
        ", ".join(
            [
                *([str(one.precision)] if precision else []),
                *([f"data {_fingerprints(one.data)}"] if data else []),
                *([f"settings {_short(one.protocol)}"] if settings else []),
            ]
        )
        for one in found
    ]


def _fingerprints(data: str | None) -> str:
    """The first digits of those of training and test data, which results.json has in full."""
    return "/".join(str(one)[:8] for one in json.loads(data or "[]") if one is not None)


def _short(text: str | None) -> str:
    return sha256(str(text).encode())[:8]


def evaluations(record: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """What is stored under one protocol, condition by condition, the last that was asked for first."""
    if not record:
        return []
    return [{name: value for name, value in record.items() if name != EARLIER}, *record.get(EARLIER, [])]


def stored(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> dict[str, Any]:
    """What to store under a protocol: an evaluation joined to that of its conditions, those of others as `earlier`."""
    known, here = evaluations(before), conditions(now)
    same = next((one for one in known if conditions(one) == here), None)
    others = [dict(one) for one in known if one is not same]
    return {**joined(same, now), **({EARLIER: others} if others else {})}


def joined(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded evaluation and an earlier one of the same set and conditions: all networks of both.

    A network that both trained keeps the seeds of either. `seconds` become those of all networks where it is known
    what each took (evaluated on its own), else they are those of all that was ever trained. An earlier one of other
    conditions, or that does not tell its own, is not used.
    """
    alone = {name: now["seconds"] for name in now["nets"] if len(now["nets"]) == 1 and "seconds" in now}
    took, seeds = {**now.get("net_seconds", {}), **alone}, {name: seeds_of(now, name) for name in now["nets"]}
    if before is None or "settings" not in before or conditions(before) != conditions(now):
        return {**now, "net_seeds": seeds, "net_seconds": took}
    kept = [name for name in before["nets"] if name not in now["nets"]]
    known = {name: value for name, value in before.get("net_seconds", {}).items() if name in kept}
    earlier = sum(known.values()) if len(known) == len(kept) else before["seconds"]
    known |= {name: told for name in now["nets"] if (told := _took(before, name, took.get(name), seeds[name]))}
    both = {name: _by_seed(before, now, name) for name in now["nets"] if name in before["nets"]}
    nets = {**before["nets"], **now["nets"], **{name: one["nets"] for name, one in both.items()}}
    return {
        **now,
        "nets": nets,
        "values": {**before.get("values", {}), **now.get("values", {}), **{n: o["values"] for n, o in both.items()}},
        "robust": {**before.get("robust", {}), **now.get("robust", {})},
        "net_seeds": {name: both[name]["seeds"] if name in both else _seeds(before, now, name) for name in nets},
        "net_seconds": known,
        "seconds": round(sum(known.values()) if len(known) == len(nets) else now["seconds"] + earlier, 3),
    }


def _seeds(before: Mapping[str, Any], now: Mapping[str, Any], net: str) -> list[int]:
    return seeds_of(now if net in now["nets"] else before, net)


def _took(before: Mapping[str, Any], net: str, seconds: float | None, seeds: Sequence[int]) -> float | None:
    """Seconds of all seeds of a network: of now where these are all, of before where those were, else of both."""
    earlier = before.get("net_seconds", {}).get(net)
    known = set(seeds_of(before, net)) if net in before["nets"] else set[int]()
    if seconds is None or earlier is None:
        return earlier if set(seeds) <= known else seconds
    if known <= set(seeds):
        return seconds
    return earlier if set(seeds) <= known else round(earlier + seconds, 3)


def _by_seed(before: Mapping[str, Any], now: Mapping[str, Any], net: str) -> dict[str, Any]:
    """One network of two evaluations: its columns, every accuracy and the seeds. Those of now where they cannot meet.

    Networks are functions of their seed, so the numbers of a seed are the same whenever it is trained.
    """
    told = [(seeds_of(one, net), one.get("values", {}).get(net, {}), one["nets"][net]) for one in (before, now)]
    (old_seeds, old, old_columns), (seeds, new, columns) = told
    if any(len(values_of(one, net, "distilled")) != len(seeds_of(one, net)) for one in (before, now)):
        return {"nets": columns, "values": new, "seeds": seeds}
    union = sorted({*old_seeds, *seeds})
    values: dict[str, list[float]] = {}
    for column in dict.fromkeys([*old, *new]):
        if column in BY_SEED:
            numbers = dict(zip(old_seeds, old.get(column, []), strict=False))
            numbers |= dict(zip(seeds, new.get(column, []), strict=False))
            values[column] = [numbers[seed] for seed in union if seed in numbers]
        else:
            latest = list(new.get(column, []))
            values[column] = latest + list(old.get(column, []))[len(latest) :]
    scores = {name: _score(name, found) for name, found in values.items() if found}
    reason = None if "full" in scores else columns.get("full_reason")
    told_reason = {"full_reason": reason} if "full_reason" in columns else {}
    return {"nets": {**old_columns, **columns, **scores, **told_reason}, "values": values, "seeds": union}


def _score(column: str, values: Sequence[float]) -> dict[str, Any]:
    return Score(tuple(values), len(values) if column.startswith("random") else 1).as_dict()


def require_own(name: str, distilled: Distilled, result: Mapping[str, Any], tensors: str | None) -> None:
    """Refuse an evaluation of another set than that in the folder `name`, whose tensors have the sha256 `tensors`.

    Raises:
        ValueError: it tells of other tensors, or of other images per class, classes or bytes.
    """
    stamp = result.get(STAMP, tensors)
    if stamp != tensors:
        raise ValueError(
            f"the set in '{name}' is not the one that was evaluated (its tensors have sha256 {str(tensors)[:12]}…, "
            f"those evaluated had {str(stamp)[:12]}…): nothing was stored, evaluate it again"
        )
    classes = dict(result.get("settings", {})).get("classes")
    facts = {
        "images per class": (result.get("ipc"), distilled.stored_ipc),
        "classes": (classes, distilled.num_classes),
        "bytes of images": (result.get("images_bytes"), distilled.images_bytes),
        "bytes of labels": (result.get("labels_bytes"), distilled.labels_bytes),
    }
    for what, (theirs, ours) in facts.items():
        if theirs is not None and theirs != ours:
            raise ValueError(f"this evaluation is of a set with {theirs:,} {what}, the set in '{name}' has {ours:,}")


@dataclass(frozen=True)
class _Column:
    mean: float
    std: float
    n: int


@dataclass(frozen=True)
class _Stored:
    """What readers of an evaluation rely on."""

    nets: dict[str, dict[str, _Column | str | None]]
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict[str, dict[str, list[float]]])
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    protocol_settings: dict[str, Any] = field(default_factory=dict[str, Any])
    net_seeds: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    net_seconds: dict[str, float] = field(default_factory=dict[str, float])
    robust: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    seconds: float = 0.0
    earlier: list[_Stored] = field(default_factory=list["_Stored"])


def require_evaluations(folder: str, found: Mapping[str, Any]) -> None:
    """Refuse results that nobody's evaluations can be.

    Raises:
        ValueError: what is stored under a protocol is no evaluation.
    """
    from pydantic import TypeAdapter, ValidationError  # slow to import, and most sets are read without results

    try:
        TypeAdapter(dict[str, _Stored]).validate_python(dict(found))
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise ValueError(f"results.json in '{folder}' holds no evaluations: {place} is wrong") from None
