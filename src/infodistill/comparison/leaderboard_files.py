"""The leaderboard written down: JSON, Markdown and one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from infodistill.comparison.drawn import RANDOM, Point, costs
from infodistill.comparison.leaderboard import markdown
from infodistill.reporting.colours import MUTED, Look, looks
from infodistill.reporting.drawing import svg
from infodistill.reporting.pages import page, size
from infodistill.serialise import pretty_json, write_bytes

COSTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "bytes": ("size of images and labels", size),
    "seconds": ("seconds of distilling", lambda seconds: f"{seconds:,.0f}" if seconds >= 10 else f"{seconds:g}"),
}
"""What is paid, in words, and how an amount is said."""


def write_leaderboard(record: Mapping[str, Any], out: Path) -> list[Path]:
    """leaderboard.json, .md and .html in the folder `out`."""
    names = [name for one in record["curves"] for name in one["lines"] if name != RANDOM]
    drawn_as = {RANDOM: Look(MUTED, "--"), **looks(names)}
    curves = [{"title": one["title"], "pictures": list(_pictures(one, drawn_as))} for one in record["curves"]]
    content = {
        "leaderboard.json": pretty_json(dict(record)),
        "leaderboard.md": markdown(record).encode(),
        "leaderboard.html": page("leaderboard.html.j2", **{**record, "curves": curves}).encode(),
    }
    for name, value in content.items():
        write_bytes(out / name, value)
    return [out / name for name in content]


def _pictures(curve: Mapping[str, Any], drawn_as: Mapping[str, Look]) -> Iterator[Markup]:
    for cost, (words, shown) in COSTS.items():
        told = {
            name: [Point(point["cost"], point["mean"], point["error"]) for point in line[cost]]
            for name, line in curve["lines"].items()
            if line[cost]
        }
        if told:
            yield svg(costs(told, words, shown, drawn_as), f"{curve['title']}: accuracy against {words}")
