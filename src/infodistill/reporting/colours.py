"""Colours of charts and the names pages give them, and the look of every series.

A figure is drawn in the colours below; in a page each becomes a custom property of `style.html.j2`, which has a value
for light and one for dark.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

INK, MUTED, PAPER, GRID, AXIS, CONTROL = "#1d2530", "#667085", "#ffffff", "#e6e9ee", "#c5ccd6", "#7f8a9c"
COLOURS = ("#2f5d9e", "#c2571a", "#3c7f4f", "#8a4f9e", "#a08412", "#4a9aa8", "#b0413e", "#b4558c")
DASHES, MARKERS = ("-", "--", ":", "-."), ("o", "s", "^", "D")

VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    "#000000": "--muted",  # matplotlib's own, where nothing was said: the small ticks of a logarithmic axis
    PAPER: "--paper",
    GRID: "--line",
    AXIS: "--axis",
    CONTROL: "--control",
    **{colour: f"--series-{number}" for number, colour in enumerate(COLOURS, 1)},
}
"""What a page calls each colour."""


@dataclass(frozen=True)
class Look:
    """How one series is drawn; dashes and markers tell apart those that share a colour."""

    colour: str
    dashes: str = "-"
    marker: str = "o"


def looks(names: Iterable[str]) -> dict[str, Look]:
    """A look a name, in their order: asked once for a page, so a colour is the same method in all its charts."""
    found: dict[str, Look] = {}
    for name in dict.fromkeys(names):
        again, number = divmod(len(found), len(COLOURS))
        found[name] = Look(COLOURS[number], DASHES[again % len(DASHES)], MARKERS[again % len(MARKERS)])
    return found
