"""The report: one self-contained HTML file that shows runs side by side. No network, no script, images inside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from infodistill.card import label_words
from infodistill.comparison.crossing import crossings
from infodistill.comparison.robustness import robust_sections
from infodistill.progress import counted
from infodistill.reporting.charts import PAGE, curves
from infodistill.reporting.colours import CONTROL, MUTED, Look, looks
from infodistill.reporting.drawing import svg
from infodistill.reporting.pages import number, page
from infodistill.reporting.pictures import grid_caption, grid_png, source_of
from infodistill.reporting.profile import other_facts, profile_sections
from infodistill.reporting.rows import Bar, bars
from infodistill.reporting.sampling import sampled_sections
from infodistill.running.runs import QUANTITIES, Difference, Run, paired_difference, read_runs
from infodistill.serialise import canonical_json, sha256, write_bytes
from infodistill.types import LabelKind

LABELS = {"values": "value", "weights": "weight λ", "norms": "pixel-gradient norm"}
SETTINGS = (
    *("data", "source", "data_notes", "method", "terms", "net", "ipc", "steps", "seed", "policy"),
    *("seconds", "peak_memory", "generator", "sampling", "guidance", "validation", "protocol", "recipe", "notes"),
)
REFERENCES = {"random": CONTROL, "random_same_bytes": CONTROL, "full": MUTED}
HOLLOW = ("random_same_bytes", "distilled_hard")
"""Colours of what a run's bar is seen beside, and which bars are outlines."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """All that was measured on the same data, ipc, network and protocol: the only things that may share a chart."""

    title: str
    rows: list[Row]
    bars: Markup


def report(folders: Sequence[str | Path], out: str | Path) -> Path:
    """Write the report of some artefact folders to `out` (an .html file, or a folder that gets report.html).

    Raises:
        FileNotFoundError: a folder holds no artefact.
        ValueError: an artefact is damaged, or no folder was given.
    """
    if not folders:
        raise ValueError("a report needs at least one artefact folder, got none")
    target = Path(out)
    if target.suffix != ".html":
        target = target / "report.html"
    write_bytes(target, render(read_runs([Path(folder) for folder in folders])).encode())
    return target


def render(runs: Sequence[Run]) -> str:
    """The HTML text."""
    drawn_as = looks(run.label for run in runs)
    return page(
        "report.html.j2",
        title=_title(runs),
        comparisons=list(_comparisons(runs, drawn_as)),
        crossings=list(crossings(runs)),
        robust=list(robust_sections(runs)),
        unevaluated=[run.label for run in runs if not run.results],
        grids=[{"label": run.label, "src": source_of(grid_png(run.distilled)), "caption": _what(run)} for run in runs],
        terms=list(_terms(runs, drawn_as)),
        sampled=list(sampled_sections(runs, drawn_as)),
        profiles=list(profile_sections(runs, drawn_as)),
        measures=[(run.label, _flat(other_facts(run.measure))) for run in runs if run.measure],
        settings=[(run.label, _settings(run)) for run in runs],
        ratio=any("ratio" in str(run.distilled.meta.get("terms", "")) for run in runs),
    )


def _comparisons(runs: Sequence[Run], drawn_as: Mapping[str, Look]) -> Iterator[Comparison]:
    groups: dict[tuple[str, str], list[tuple[Run, Mapping[str, Any], str]]] = {}
    for run in runs:
        for protocol, result in (run.results or {}).items():
            for net in result["nets"]:
                group = (_heading(run, result, net, protocol), _conditions(run, result))
                groups.setdefault(group, []).append((run, result, net))
    titles = [title for title, _ in groups]
    for (title, conditions), members in groups.items():
        shown = title if titles.count(title) == 1 else f"{title} ({conditions})"
        rows = [_row(*member, None if number == 0 else members[0][1]) for number, member in enumerate(members)]
        words = f"Bar chart of test accuracy: {shown}"
        yield Comparison(shown, rows, svg(bars(_bars(members, drawn_as)), words))


def _heading(run: Run, result: Mapping[str, Any], net: str, protocol: str) -> str:
    ipc, data = result["ipc"], run.distilled.meta.get("data", "unnamed data")
    return f"{data}, {counted(ipc, 'image')} per class, {net}, protocol {protocol}"


def _conditions(run: Run, result: Mapping[str, Any]) -> str:
    """Short hashes of the data and the protocol settings of an evaluation: names alone may stand for several."""
    settings = result.get("settings", {})
    data = [settings.get("fingerprint", run.distilled.meta.get("fingerprint")), settings.get("test_fingerprint")]
    data_hash, protocol_hash = (_short(content) for content in (data, result.get("protocol_settings")))
    return f"data {data_hash}, settings {protocol_hash}"


def _short(content: object) -> str:
    return sha256(canonical_json(content).encode())[:8]


def _row(run: Run, result: Mapping[str, Any], net: str, first: Mapping[str, Any] | None) -> Row:
    columns = result["nets"][net]
    difference: Difference | None = None if first is None else paired_difference(result, first, net)
    return {
        "label": run.label,
        "columns": columns,
        "gain": columns["distilled"]["mean"] - columns["random"]["mean"],
        "difference": difference,
        "seconds": run.distilled.meta.get("seconds"),
        "evaluation_seconds": result.get("net_seconds", {}).get(net, result["seconds"]),
        "device": result["device"],
        "images_bytes": result["images_bytes"],
        "labels_bytes": result["labels_bytes"],
    }


def _bars(members: Sequence[tuple[Run, Mapping[str, Any], str]], drawn_as: Mapping[str, Look]) -> list[Bar]:
    """Random subsets first, then every run, then the full data; references that agree are drawn once."""
    found: list[Bar] = []
    order = (("random",), ("random_same_bytes",), ("distilled", "distilled_hard"), ("full",))
    for columns in order:
        for run, result, net in members:
            for column in (name for name in columns if result["nets"][net].get(name)):
                score = result["nets"][net][column]
                colour, hollow = REFERENCES.get(column, drawn_as[run.label].colour), column in HOLLOW
                spread = score["std"] if score["n"] > 1 else None
                found.append(Bar(_bar_label(run, column), score["mean"], spread, colour, hollow))
    return list(dict.fromkeys(found))


def _bar_label(run: Run, column: str) -> str:
    names = {"random": "random real images", "random_same_bytes": "random, same bytes", "full": "full data"}
    return names.get(column, run.label + (", hard labels" if column == "distilled_hard" else ""))


def _terms(runs: Sequence[Run], drawn_as: Mapping[str, Look]) -> Iterator[Row]:
    """For every term, a figure of each quantity that moved, and the constants as words."""
    for term in dict.fromkeys(name for run in runs for name in run.terms()):
        figures, words = [], []
        for quantity in QUANTITIES:
            told = {run.label: run.curve(quantity, term) for run in runs}
            told = {label: curve for label, curve in told.items() if curve[0]}
            held = {label: values[0] for label, (_, values) in told.items() if len(set(values)) == 1}
            words += [f"{label}: {LABELS[quantity]} {number(value)} throughout" for label, value in held.items()]
            if moving := {label: curve for label, curve in told.items() if label not in held}:
                figure = curves(moving, LABELS[quantity], drawn_as, PAGE)
                figures.append(svg(figure, f"{term}, {LABELS[quantity]} over steps"))
        yield {"name": term, "figures": figures, "words": words}


def _title(runs: Sequence[Run]) -> str:
    names = dict.fromkeys(str(run.distilled.meta.get("data", "unnamed data")) for run in runs)
    return f"Distilled sets of {', '.join(names)}"


def _what(run: Run) -> str:
    d = run.distilled
    labels = f"{label_words(d)}{'' if d.label_kind is LabelKind.SCORES else ' labels'}"
    size = d.images_bytes + d.labels_bytes + d.scalars_bytes
    tiles = "" if d.stored_ipc == d.ipc else f" (tiles of {d.stored_ipc} stored ones)"
    return f"{len(d)} images, {d.ipc} per class{tiles}, {labels}, {size:,} bytes. {grid_caption(d)}"


def _settings(run: Run) -> list[tuple[str, str]]:
    meta: dict[str, Any] = {**run.distilled.meta, "ipc": run.distilled.stored_ipc}
    facts = [(name, meta[name]) for name in SETTINGS if meta.get(name) not in (None, "", {}, [])]
    flat = [pair for name, value in facts for pair in _flat({name: value})]
    return [*flat, *_flat({"versions": meta.get("versions", {})})]


def _flat(content: Mapping[str, Any] | None, prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted name, text) pairs."""
    out: list[tuple[str, str]] = []
    for name, value in (content or {}).items():
        if isinstance(value, Mapping):
            out += _flat(value, f"{prefix}{name}.")
        elif value is not None:
            out.append((prefix + name, number(value) if isinstance(value, float) else str(value)))
    return out
