"""Names in charts: drawn as they are, on as many lines as they need."""

from __future__ import annotations

import textwrap
import unicodedata

from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.textpath import text_to_path


def plain_text(label: str) -> str:
    """A label drawn as it is: no formulas between dollar signs, no underscore in front that hides it from a legend.

    What no XML holds (control characters, halves of pairs) becomes the replacement character.
    """
    known = "".join(letter if _fit(letter) else "\ufffd" for letter in label)
    return " " * known.startswith("_") + known.replace("$", r"\$")


def width_of(text: str, size: float) -> float:
    """Points that a line takes in matplotlib's font; letters it has not (those of East Asia, say) take the size."""
    font = FontProperties(family="DejaVu Sans", size=size)
    has = get_font(findfont(font)).get_charmap()
    known = "".join(letter for letter in text if ord(letter) in has)
    found = text_to_path.get_text_width_height_descent(known, font, ismath=False)[0]
    return float(found) + size * (len(text) - len(known))


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
