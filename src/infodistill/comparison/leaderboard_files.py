"""The leaderboard written down: JSON, Markdown and one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from infodistill.comparison.drawn import Point, costs_png
from infodistill.comparison.leaderboard import markdown
from infodistill.reporting.pages import page
from infodistill.reporting.sampling import source_of
from infodistill.serialise import pretty_json, write_bytes

COSTS = {"bytes": "bytes of images and labels", "seconds": "seconds of distilling"}


def write_leaderboard(record: Mapping[str, Any], out: Path) -> list[Path]:
    """leaderboard.json, .md and .html in the folder `out`."""
    curves = [{"title": one["title"], "pictures": list(_pictures(one["lines"]))} for one in record["curves"]]
    content = {
        "leaderboard.json": pretty_json(dict(record)),
        "leaderboard.md": markdown(record).encode(),
        "leaderboard.html": page("leaderboard.html.j2", **{**record, "curves": curves}).encode(),
    }
    for name, value in content.items():
        write_bytes(out / name, value)
    return [out / name for name in content]


def _pictures(lines: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    for cost, words in COSTS.items():
        told = {
            name: [Point(point["cost"], point["mean"], point["error"]) for point in line[cost]]
            for name, line in lines.items()
            if line[cost]
        }
        if told:
            yield {"cost": words, "src": source_of(costs_png(told, words))}
