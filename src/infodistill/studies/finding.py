"""A study as `infodistill reproduce` runs it: by processes of the same command, in pieces, ending in a record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infodistill.compute import resolve
from infodistill.data import load_data
from infodistill.progress import Tell
from infodistill.serialise import pretty_json, read_object, write_bytes
from infodistill.studies import TITLES, by_name
from infodistill.studies.plots import write_plots
from infodistill.studies.running import DEFINITION, Runner, machine, open_folder, records_of
from infodistill.studies.study import Study, due, total
from infodistill.studies.tables import differences, record, settings_table, table, verdicts

RECORD, PAGE = "study.json", "study.md"


def row_of(name: str, out: Path) -> dict[str, Any]:
    """A study as a row beside the recipes: no published number; ours is the record of the run in `out`, if complete."""
    path = out / name / RECORD
    told = {"name": name, "recipe": None, "add": [], "accuracy": None, "std": None, "source": TITLES[name]}
    return {**told, "ours": read_object(path) if path.exists() else None}


def work(
    name: str,
    out: Path,
    *,
    data: str | None = None,
    device: str | None = None,
    precision: str | None = None,
    minutes: float | None = None,
    part: tuple[int, int] = (0, 1),
    tell: Tell | None = None,
) -> tuple[int, int]:
    """Do one process's part of a study, or its next piece; (jobs done by all, jobs in all)."""
    study, folder = by_name(name), out / name
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    policy = resolve(device or "auto", precision or "float32")
    Runner(study, folder, data, policy, deadline, part, tell).run()
    return progress(study, folder)


def progress(study: Study, folder: Path) -> tuple[int, int]:
    """(jobs done, jobs in all)."""
    return len(records_of(folder)), total(study)


def ready(
    name: str, out: Path, *, data: str | None = None, device: str | None = None, precision: str | None = None
) -> Study:
    """The study with its folder taken, before processes are started: mistakes are told once."""
    study, policy = by_name(name), resolve(device or "auto", precision or "float32")
    open_folder(study, out / name, load_data(data or study.data, **study.reading), policy)
    return study


def concluded(study: Study, folder: Path) -> dict[str, Any] | None:
    """Write the record, the page and the plots of a complete study; None while jobs are missing."""
    records = records_of(folder)
    if due(study, records):
        return None
    found = {**record(study, records, machine()), "definition": read_object(folder / DEFINITION)}
    write_bytes(folder / RECORD, pretty_json(found))
    write_bytes(folder / PAGE, ("\n".join(page(found)) + "\n").encode())
    write_plots(found, folder)
    return found


def page(found: dict[str, Any]) -> Sequence[str]:
    """The tables and the answers, as Markdown."""
    lines = [f"# {found['title']}", "", "Test accuracy in %, mean ± standard error over seeds.", "", table(found), ""]
    for other in found["against"]:
        lines += ["Paired differences in points; bold: beyond two standard errors.", "", differences(found, other), ""]
    lines += ["Settings chosen on held-out training images.", "", settings_table(found), ""]
    return [*lines, *(f"- {sentence}" for sentence in verdicts(found))]
