"""Names in charts: drawn as they are, on as many lines as they need."""

from __future__ import annotations

import textwrap
import unicodedata

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path


def plain_text(label: str) -> str:
    """A label drawn as it is: no formulas between dollar signs, no underscore in front that hides it from a legend.

    What no XML holds (control characters, halves of pairs) becomes the replacement character.
    """
    known = "".join(letter if _fit(letter) else "\ufffd" for letter in label)
    return " " * known.startswith("_") + known.replace("$", r"\$")


def width_of(text: str, size: float) -> float:
    """Points that a line takes in matplotlib's font; letters of East Asia, which that font has not, take the size."""
    narrow = "".join(letter for letter in text if unicodedata.east_asian_width(letter) not in "WF" and _fit(letter))
    found = text_to_path.get_text_width_height_descent(narrow, FontProperties(size=size), ismath=False)[0]
    return float(found) + size * (len(text) - len(narrow))


def wrapped(text: str, room: float, size: float) -> list[str]:
    """The lines of a text that fit into a width in points, at least one; words that are too long are broken."""
    tried = (
        textwrap.wrap(text, columns, break_on_hyphens=False) or [""]
        for columns in range(max(2, int(room / (0.4 * size))), 1, -1)
    )
    fitting = (lines for lines in tried if all(width_of(line, size) <= room for line in lines))
    return next(fitting, [*text])


def multiline(label: str, room: float, size: float) -> str:
    """A label drawn as it is on lines of a width."""
    return plain_text("\n".join(wrapped(label, room, size)))


def _fit(letter: str) -> bool:
    return letter == "\n" or unicodedata.category(letter) not in ("Cc", "Cs", "Cn")
