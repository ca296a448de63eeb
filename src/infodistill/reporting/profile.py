"""The information profile for people: rows of the report's section, with bars against the controls, and plain lines."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infodistill.progress import counted
from infodistill.reporting.colours import VARIABLES, Look
from infodistill.running.runs import Run

DIRECTIONS = {"lower": "at least", "upper": "at most", "none": "estimate"}
"""What a bound says of the quantity it bounds, in words."""

ROUNDING = 1e-12
"""What float64 leaves of a zero."""

ROWS = (("mean", "this set"), ("random", "random real images"), ("shuffled", "wrong labels"))

Row = dict[str, Any]


def profile_sections(runs: Sequence[Run], drawn_as: Mapping[str, Look]) -> Iterator[Row]:
    """For every run that was measured: what it was read on, and a row a number."""
    for run in runs:
        if run.measure and run.measure.get("profile"):
            yield {
                "label": run.label,
                "colour": VARIABLES[drawn_as[run.label].colour],
                "about": about(run.measure),
                "rows": list(rows_of(run.measure["profile"])),
            }


def other_facts(facts: Mapping[str, Any] | None) -> dict[str, Any]:
    """What was measured beside the profile; what it was read against is told with the profile."""
    return {name: value for name, value in (facts or {}).items() if name not in ("profile", "against")}


def about(facts: Mapping[str, Any]) -> str:
    """What was read, and against what."""
    told, against = facts["profile"], facts.get("against") or {}
    teachers = against.get("teachers") or {}
    return (
        f"{facts['images']} images in {told['set_bytes']:,} bytes, read on {facts['held_out']}{_data(against)}, "
        f"through {counted(facts['networks'], teachers.get('net', '') + ' teacher')}{_made(against)}. "
        f"The label of a real image holds H(Y) = {told['label_entropy']:.2f} nats."
    ).replace("  ", " ")


def _data(against: Mapping[str, Any]) -> str:
    if not against:
        return ""
    test = against["test_fingerprint"]
    seen = f"{against['fingerprint'][:8]}{'' if test is None else f', its test part {test[:8]}'}"
    return f" of {against['data']} (fingerprint {seen})"


def _made(against: Mapping[str, Any]) -> str:
    """How a profile was made, where it says so."""
    if not against:
        return ""
    effort, version = against["effort"], against["versions"]
    own = " of measure's own" if against.get("teachers") else ""
    return (
        f"{own}; seed {against['seed']}, {effort['subsets']} random subsets, {effort['shuffles']} sets with wrong "
        f"labels, {effort['resamples']} resamples; infodistill {version['infodistill']}, torch {version['torch']}"
    )


def rows_of(told: Mapping[str, Any]) -> Iterator[Row]:
    """A row a number: its value in words, a bar each for the set and its controls, and its note."""
    before = None
    for name, entry in told.items():
        if isinstance(entry, Mapping):
            note, before = "Read as above." if entry["note"] == before else entry["note"], entry["note"]
            yield {
                "name": name,
                "title": entry["title"],
                "value": value_words(entry),
                "direction": DIRECTIONS[entry["bound"]],
                "bars": _bars(entry),
                "reason": entry["reason"],
                "random_reason": entry.get("random_reason"),
                "shuffled_reason": entry.get("shuffled_reason"),
                "note": f"{note}{_interval_words(entry)}",
            }


def value_words(entry: Mapping[str, Any]) -> str:
    """`2.16 nats, 94 % of H(Y)`."""
    if entry["mean"] is None:
        return "not defined"
    share = "" if entry.get("share") is None else f", {100 * entry['share']:.0f} % of H(Y)"
    return f"{shown(entry['mean'])} {entry['unit']}{share}"


def shown(value: float) -> str:
    """Three digits or so, in a form people read; two of what is small, and 0 for what is rounding only."""
    text = f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}" if abs(value) >= 0.01 else f"{value:.2g}"
    return text.replace("-", "−") if abs(value) > ROUNDING else "0"


def profile_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """The profile as text: a line of numbers, then what it can and cannot say."""
    yield about(facts)
    for row in rows_of(facts["profile"]):
        beside = "; ".join(f"{bar['label']} {bar['text']}" for bar in row["bars"][1:])
        reason = f" ({row['reason']})" if row["reason"] else ""
        first = row["bars"][0]["text"] if row["bars"] and not row["reason"] else ""
        interval = f" {first.partition(' ')[2]}" if " " in first else ""
        yield ""
        yield f"{row['title']}: {row['direction']} {row['value']}{interval}{reason}"
        if beside:
            yield f"    beside it: {beside}"
        for key in ("random_reason", "shuffled_reason"):
            if row[key]:
                yield f"    {row[key]}"
        yield from textwrap.wrap(row["note"], 100, initial_indent="    ", subsequent_indent="    ")


def _interval_words(entry: Mapping[str, Any]) -> str:
    if entry["interval"] is None:
        return (
            "" if entry["mean"] is None else " No interval: there were too few rows to draw again, or none was asked."
        )
    return f" The interval (95 %) is over {entry['over']}."


def _bars(entry: Mapping[str, Any]) -> list[Row]:
    """Shares of the row's axis, in percent: from the smaller of 0 and the lowest value, to ceiling or highest."""
    found = [(key, label, _number(entry, key), _between(entry, key)) for key, label in ROWS]
    known = [end for _, _, value, between in found if value is not None for end in (value, *(between or ()))]
    if not known:
        return []
    ceiling = entry.get("ceiling")
    low, high = min(0.0, *known), max(0.0, *known, *([] if ceiling is None else [ceiling]))
    span = (high - low) or 1.0

    def at(value: float) -> float:
        return round(100 * (value - low) / span, 2)

    return [
        {
            "kind": key,
            "label": label,
            "start": at(min(0.0, value)),
            "width": round(100 * abs(value) / span, 2),
            "whisker": None if between is None else (at(between[0]), at(between[1])),
            "ceiling": None if ceiling is None else at(ceiling),
            "text": f"{shown(value)}{_spread(entry, key, between)}",
        }
        for key, label, value, between in found
        if value is not None
    ]


def _number(entry: Mapping[str, Any], key: str) -> float | None:
    found = entry.get(key)
    return found["mean"] if isinstance(found, Mapping) else found


def _between(entry: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    """The interval of the set; one standard deviation over sets for a control."""
    if key == "mean":
        return None if entry["interval"] is None else (entry["interval"][0], entry["interval"][1])
    found = entry.get(key)
    return None if not found else (found["mean"] - found["std"], found["mean"] + found["std"])


def _spread(entry: Mapping[str, Any], key: str, between: tuple[float, float] | None) -> str:
    if between is None:
        return ""
    if key == "mean":
        return f" [{shown(between[0])}, {shown(between[1])}]"
    found = entry[key]
    return (f" ± {shown(found['std'])}" if found["n"] > 1 else "") + f" (n={found['n']})"
