"""The HTML of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from infodistill.comparison.drawn import Whisker, differences
from infodistill.reporting.drawing import svg
from infodistill.reporting.pages import page
from infodistill.serialise import write_bytes


def write_comparison(record: Mapping[str, Any], out: Path) -> Path:
    """Write the page of a comparison (`Compared.record`) to `out`, an .html file or a folder for compare.html."""
    target = out if out.suffix == ".html" else out / "compare.html"
    groups = [{**group, "picture": _picture(group)} for group in record["groups"]]
    write_bytes(target, page("compare.html.j2", **{**record, "groups": groups}).encode())
    return target


def _picture(group: Mapping[str, Any]) -> Markup | None:
    rows = [
        Whisker(f"{row['label']}, {net}", found["mean"], found["low"], found["high"])
        for row in group["contenders"]
        for net, cell in row["nets"].items()
        if (found := cell["difference"]) is not None
    ]
    words = f"Differences to {group['reference']} with 95 % intervals: {group['task']}"
    return svg(differences(rows, group["reference"]), words) if rows else None
