"""A folder of artefacts as ranked tables and curves. Nothing is trained: what was not evaluated is listed as such.

Artefacts are ranked within what may be compared: the same data, images per class, network and protocol with all its
settings. Sets of one method (other seeds) are one contender. A rank is 1 + the number of methods that are surely
better, which takes more than two standard errors of the paired difference and a 95 % t-interval above 0; so methods
that the networks and sets at hand cannot tell apart share a rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from infodistill.comparison.contenders import Contender, Entrant, contenders, distinct, entrants
from infodistill.comparison.differences import NOTHING, Scored, gap, t_half_width
from infodistill.comparison.drawn import RANDOM
from infodistill.comparison.ranking import mean_error, shared_ranks
from infodistill.evaluation.recording import Conditions, conditions, told_apart
from infodistill.evaluation.result import values_of
from infodistill.manifest import MANIFEST

Row = dict[str, Any]
Key = tuple[tuple[str, int], str, str, Conditions]
"""(task, protocol, network, conditions)."""


def leaderboard(folder: Path) -> dict[str, Any]:
    """Boards, curves and what was left out, as JSON.

    Raises:
        FileNotFoundError: no such folder, or no artefact below it.
    """
    found, notes = _read(folder)
    evaluated = [one for one in found if one.run.results]
    unevaluated = [str(one.folder) for one in found if not one.run.results]
    members = contenders(evaluated)
    groups = _grouped(members)
    words = _words({key: _data(key, rows) for key, rows in groups.items()})
    return {
        "folder": str(folder),
        "artefacts": len(found),
        "boards": [_board(key, rows, words[key]) for key, rows in groups.items()],
        "curves": list(_curves(groups)),
        "unevaluated": unevaluated,
        "notes": notes,
    }


def _read(folder: Path) -> tuple[list[Entrant], list[str]]:
    """Every artefact below a folder; one that cannot be read is a note, not the end."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder '{folder}'")
    places = sorted(path.parent for path in folder.rglob(MANIFEST) if path.is_file())
    if not places:
        raise FileNotFoundError(f"'{folder}' and the folders below it hold no artefact ({MANIFEST})")
    good: list[Path] = []
    notes: list[str] = []
    for place in places:
        try:
            entrants([place])
            good.append(place)
        except (ValueError, OSError) as error:
            notes.append(f"Left out: {error}")
    found, twice = entrants(good)
    return found, [*notes, *twice]


def _grouped(members: Sequence[Contender]) -> dict[Key, list[Contender]]:
    """Contenders by what may be compared, those with one set evaluated so at least."""
    groups: dict[Key, list[Contender]] = {}
    for one in members:
        for key, sets in _evaluations(one).items():
            groups.setdefault(key, []).append(Contender(one.label, tuple(sets)))
    return dict(sorted(groups.items(), key=lambda item: (item[0][0], item[0][1], item[0][2])))


def _evaluations(one: Contender) -> dict[Key, list[Entrant]]:
    found: dict[Key, list[Entrant]] = {}
    for entrant in one.entrants:
        records = [(protocol, record) for protocol in entrant.run.results or {} for record in entrant.records(protocol)]
        for protocol, record in records:
            for net in record["nets"]:
                key = (entrant.task, protocol, net, conditions(record))
                if entrant.scored(*key[1:]) is not None:
                    found.setdefault(key, []).append(entrant)
    return found


def _data(key: Key, members: Sequence[Contender]) -> str:
    """The data a table's networks were tested on, which the sets need not have been made from."""
    _, protocol, _, here = key
    entrant = members[0].entrants[0]
    tested = dict(entrant.record(protocol, here).get("settings", {})).get("data")
    return str(tested or entrant.meta.get("data", "unnamed data"))


def _words(names: Mapping[Key, str]) -> dict[Key, str]:
    """What a heading adds where a task, protocol and network have several tables: the precision, the data, settings.

    `names` are those of the data, by which a heading begins: data of one name are told apart by the hash too.
    """
    found: dict[Key, str] = {}
    for key in names:
        alike = [other for other in names if other[:3] == key[:3]]
        clear = len({names[other] for other in alike}) == len({other[3].data for other in alike})
        told = told_apart([replace(other[3], data=None) if clear else other[3] for other in alike])[alike.index(key)]
        found[key] = f", {told}" if told else ""
    return found


def _board(key: Key, members: Sequence[Contender], words: str) -> Row:
    _, protocol, net, _ = key
    scores = [one.scored(*key[1:]) for one in members]
    ranks = shared_ranks(len(members), lambda i, j: _surely_better(scores[i], scores[j]))
    rows = [_row(rank, one, key) for rank, one in zip(ranks, members, strict=True)]
    rows.sort(key=lambda row: (row["rank"], -row["mean"]))
    made, size = members[0].entrants[0].task_words.rsplit(", ", 1)
    data = _data(key, members)
    task = f"{data}, {size}" if data == made else f"{data}, {size} made from {made}"
    return {"task": task, "protocol": protocol, "net": net, "conditions": words, "rows": rows}


def _surely_better(ours: Sequence[Scored], theirs: Sequence[Scored]) -> bool:
    try:
        return gap(ours, theirs).sure
    except ValueError:  # no network seed in common: nothing is told apart
        return False


def _row(rank: int, one: Contender, key: Key) -> Row:
    _, protocol, net, here = key
    scored = one.scored(protocol, net, here)
    values = [value for found in scored for value in found.networks.values()]
    random = values_of(one.entrants[0].record(protocol, here), net, "random")
    over, units = ("sets", [found.mean for found in scored]) if len(scored) > 1 else ("networks", values)
    error = mean_error(units)
    return {
        "rank": rank,
        "label": one.label,
        "folders": [str(entrant.folder) for entrant in one.entrants],
        "sets": len(scored),
        "mean": fmean(values),
        "std": stdev(values) if len(values) > 1 else 0.0,
        "n": len(values),
        "error": error,
        "half_interval": t_half_width(error, len(units) - 1) if error and error > NOTHING else None,
        "over": over,
        "random": fmean(random) if random else None,
        "gain": fmean(values) - fmean(random) if random else None,
        **one.costs(protocol, here),
    }


def _curves(groups: Mapping[Key, Sequence[Contender]]) -> Iterator[Row]:
    """Per data, protocol, network and conditions: a line a method through its sizes, against bytes and seconds."""
    places: dict[Key, list[tuple[Contender, Key]]] = {}
    for key, group in groups.items():
        places.setdefault(((key[0][0], 0), *key[1:]), []).extend((one, key) for one in group)
    words = _words({place: _data(found[0][1], [found[0][0]]) for place, found in places.items()})
    for place, found in places.items():
        names, lines = _line_names([one for one, _ in found]), dict[str, Row]()
        for (one, key), name in zip(found, names, strict=True):
            line, point = lines.setdefault(name, {"bytes": [], "seconds": []}), _point(_row(0, one, key))
            line["bytes"].append({**point, "cost": point["bytes"]})
            if point["seconds"]:
                line["seconds"].append({**point, "cost": point["seconds"]})
        random = _random_line(found)
        lines |= {RANDOM: {"bytes": random, "seconds": []}} if random else {}
        data = _data(found[0][1], [found[0][0]])
        yield {"title": f"{data}, {place[2]}, protocol {place[1]}{words[place]}", "lines": lines}


def _line_names(members: Sequence[Contender]) -> list[str]:
    """The line each is a point of: that of its method, and of its folder too where methods of one name differ."""
    firsts: dict[str, Contender] = {}
    for one in members:
        firsts.setdefault(one.line, one)
    names = dict(zip(firsts, distinct([(one, (one.method, None)) for one in firsts.values()]), strict=True))
    return [names[one.line] for one in members]


def _point(row: Row) -> Row:
    total = row["images_bytes"] + row["labels_bytes"]
    return {"bytes": total, "seconds": row["seconds"], "mean": row["mean"], "error": row["error"] or 0.0}


def _random_line(found: Sequence[tuple[Contender, Key]]) -> list[Row]:
    """Random real images at every size, as float32 values with one hard label each."""
    points: dict[int, Row] = {}
    for one, (task, protocol, net, here) in found:
        entrant = one.entrants[0]
        values = values_of(entrant.record(protocol, here), net, "random")
        d = entrant.run.distilled
        total = task[1] * d.num_classes * (d.images[0].numel() * d.images.element_size() + 8)
        if values:
            points[total] = {"cost": total, "mean": fmean(values), "error": mean_error(values) or 0.0}
    return list(points.values())


def markdown(record: Mapping[str, Any]) -> str:
    """The boards as Markdown tables."""
    parts = ["# Leaderboard\n", f"{record['artefacts']} artefacts. Methods that cannot be told apart share a rank.\n"]
    for board in record["boards"]:
        names = ", ".join(_cell(name) for name in (board["task"], board["net"], f"protocol {board['protocol']}"))
        parts.append(f"## {names}{board['conditions']}\n")
        parts.append("| rank | method | sets | accuracy, % | 95 % | random, % | images + labels, bytes | seconds |")
        parts.append("|---:|---|---:|---:|---:|---:|---:|---:|")
        parts += [_markdown_row(row) for row in board["rows"]]
        parts.append("")
    return "\n".join(parts) + "\n"


def _markdown_row(row: Row) -> str:
    half = "–" if row["half_interval"] is None else f"± {100 * row['half_interval']:.1f} over {row['over']}"
    random = "–" if row["random"] is None else f"{100 * row['random']:.1f}"
    seconds = "–" if row["seconds"] is None else f"{row['seconds']:.0f}"
    size = f"{row['images_bytes']:,} + {row['labels_bytes']:,}"
    accuracy = f"{100 * row['mean']:.1f}"
    cells = (str(row["rank"]), _cell(row["label"]), str(row["sets"]), accuracy, half, random, size, seconds)
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    """A name that cannot break a table or become markup."""
    return "".join(f"&#{ord(letter)};" if letter in "|<>[]`\\*" else letter for letter in " ".join(text.split()))
