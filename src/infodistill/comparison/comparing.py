"""Methods side by side on one task: what is missing is evaluated, what cannot be compared is said.

The first folder is the reference. All accuracies of a group share data, images per class, protocol settings, precision
and network seeds; the differences to the reference carry 95 % intervals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from rich.markup import escape
from rich.table import Table

from infodistill.comparison.completing import Asked, Complete, completed
from infodistill.comparison.contenders import Contender, Entrant, by_task, contenders, entrants
from infodistill.comparison.differences import Scored, gap
from infodistill.evaluation.protocols import EvaluationProtocol
from infodistill.evaluation.recording import Conditions
from infodistill.evaluation.result import values_of
from infodistill.reporting.pages import number, percent, points, size

FEWEST = 2
Place = tuple[str, str, Conditions]
"""(protocol, network, conditions)."""


@dataclass(frozen=True)
class Compared:
    """The JSON of a comparison; `groups` in it are those that may share a table."""

    record: Mapping[str, Any]

    def tables(self) -> Iterator[Table]:
        for group in self.record["groups"]:
            yield _accuracies(group)
            yield _costs(group)


def compare(
    folders: Sequence[Path],
    *,
    nets: Sequence[str] = (),
    protocol: str | None = None,
    seeds: int = 5,
    asked: Asked,
) -> Compared:
    """Compare artefacts: groups by data and images per class, sets of one method together.

    `nets` empty: those that every set was evaluated with already, or the network of the reference. A set counts as
    evaluated when it has the first `seeds` networks under the conditions that are `asked`, see `completing.completed`.

    Raises:
        FileNotFoundError: a folder holds no artefact.
        ValueError: fewer than two folders; an artefact is damaged; the artefacts carry different protocols and none was
            given; fewer than 2 seeds, which have no interval; the sets would be evaluated under other conditions.
    """
    if len(folders) < 2:
        raise ValueError(f"a comparison needs at least two artefact folders, got {len(folders)}")
    if seeds < FEWEST:
        raise ValueError(f"a comparison needs at least {FEWEST} networks a set for an interval, got --seeds {seeds}")
    found, notes = entrants(folders)
    name = protocol or _common_protocol(found)
    groups: list[dict[str, Any]] = []
    for words, members in by_task(contenders(found)):
        groups.append(_group(words, completed(members, name, nets, seeds, asked=asked), name, seeds))
    if len(groups) > 1:
        words = "; ".join(group["task"] for group in groups)
        notes.append(f"Accuracies on different data or images per class are not compared, each has a table: {words}")
    return Compared({"protocol": name, "seeds": seeds, "groups": groups, "notes": [*notes, *_cautions(groups)]})


def _cautions(groups: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What a reader of the intervals must know."""
    rows = [(group, row) for group in groups for row in group["contenders"]]
    gaps = [cell["difference"] for _, row in rows for cell in row["nets"].values() if cell["difference"]]
    if any(found["over"] == "networks" for found in gaps):
        yield (
            "Where a method has one set, its interval covers the networks and not the randomness of distilling: "
            "give sets of several --seed of one method for that"
        )
    if any(found["over"] == "sets, unpaired" for found in gaps):
        yield "Sets of other distillation seeds than the reference's are no pairs: those intervals are Welch's"
    if any(found["low"] is None and found["n"] > 1 for found in gaps):
        yield (
            "Where both of two differences are the same no interval is shown: a width of 0 over two says nothing, "
            "give more --seeds, or more sets"
        )
    for group in groups:
        if len(group["contenders"]) == 1:
            yield f"{group['task']}: one method ({group['reference']}), so there is no difference to show"


def _common_protocol(found: Sequence[Entrant]) -> str:
    """The protocol all artefacts carry."""
    carried: dict[str, list[str]] = {}
    for one in found:
        stored = one.meta.get("protocol", "dsa")
        name = stored if isinstance(stored, str) else EvaluationProtocol.from_dict(stored).name
        carried.setdefault(name, []).append(one.folder.name)
    if len(carried) > 1:
        told = ", ".join(f"'{name}' ({', '.join(folders)})" for name, folders in carried.items())
        raise ValueError(f"the artefacts carry different protocols, {told}: choose one with --protocol")
    return next(iter(carried))


def _group(task: str, found: Complete, protocol: str, seeds: int) -> dict[str, Any]:
    first, nets, here = found.members[0], found.nets, found.conditions
    rows = [
        {
            "label": one.label,
            "folders": [str(entrant.folder) for entrant in one.entrants],
            "sets": len(one.entrants),
            **one.costs(protocol, here),
            "nets": {net: _cell(one, None if one is first else first, (protocol, net, here), seeds) for net in nets},
        }
        for one in found.members
    ]
    how = {"protocol": protocol, "precision": here.precision}
    return {"task": task, **how, "reference": first.label, "nets": list(nets), "contenders": rows}


def _cell(one: Contender, reference: Contender | None, place: Place, seeds: int) -> dict[str, Any]:
    """Accuracy, random baseline and the difference to the reference, of the first `seeds` networks."""
    ours, (protocol, net, here) = _first(one, place, seeds), place
    values = [value for scored in ours for value in scored.networks.values()]
    random = values_of(one.entrants[0].record(protocol, here), net, "random")
    difference = None if reference is None else gap(ours, _first(reference, place, seeds)).as_dict()
    return {"distilled": _score(values), "random": _score(random), "difference": difference}


def _first(one: Contender, place: Place, seeds: int) -> list[Scored]:
    return [replace(s, networks={k: s.networks[k] for k in range(seeds)}) for s in one.scored(*place)]


def _score(values: Sequence[float]) -> dict[str, Any] | None:
    if not values:
        return None
    return {"mean": fmean(values), "std": stdev(values) if len(values) > 1 else 0.0, "n": len(values)}


def _accuracies(group: Mapping[str, Any]) -> Table:
    table = Table(
        title=escape(f"{group['task']}, protocol {group['protocol']}, {group['precision']}"),
        caption="accuracy in %, ± one standard deviation; difference in points, with its 95 % interval",
    )
    for heading in ("method", "network", "sets", "accuracy", "random", f"minus {escape(group['reference'])}"):
        table.add_column(heading, justify="left" if heading in ("method", "network") else "right")
    for row in group["contenders"]:
        for net, cell in row["nets"].items():
            name = escape(row["label"]), escape(net), str(row["sets"])
            table.add_row(*name, percent(cell["distilled"]), percent(cell["random"]), gap_words(cell["difference"]))
    return table


def _costs(group: Mapping[str, Any]) -> Table:
    table = Table(title=escape(f"{group['task']}, cost of a set"))
    for heading in ("method", "distilling, s", "peak memory", "images", "labels", "evaluating, s"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for row in group["contenders"]:
        bytes_ = [size(row[name]) for name in ("images_bytes", "labels_bytes")]
        peak = " ".join([size(row["peak_memory_bytes"]), row["peak_memory_of"] or ""]).strip()
        table.add_row(escape(row["label"]), number(row["seconds"]), peak, *bytes_, number(row["evaluation_seconds"]))
    return table


def gap_words(found: Mapping[str, Any] | None) -> str:
    """A difference with its interval as people read it."""
    if found is None:
        return "reference"
    if found["low"] is None:
        return points(found["mean"])
    return f"{points(found['mean'])} \\[{points(found['low'])}, {points(found['high'])}]"
