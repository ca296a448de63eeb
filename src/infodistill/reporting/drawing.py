"""A matplotlib figure as the content of a PNG file, or as markup inside a page whose colours it follows.

Figures are made and drawn under matplotlib's own defaults: a style or `text.usetex` that the program around this one
has set changes neither a file nor a page.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from markupsafe import Markup
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from infodistill.reporting.colours import VARIABLES

SVG, HREF = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")


@contextmanager
def own_settings() -> Generator[None]:
    """Matplotlib's defaults, for the block or the decorated function; text of an SVG stays text."""
    with style.context(["default", {"svg.fonttype": "none", "svg.hashsalt": "infodistill"}]):
        yield


@own_settings()
def png(figure: Figure) -> bytes:
    """The figure as the content of a PNG file."""
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file)
    return file.getvalue()


@own_settings()
def svg(figure: Figure, words: str) -> Markup:
    """The figure as an <svg> for a page: as wide as its place, in the page's colours, `words` for screen readers.

    One flat list of shapes and texts, without ids, references, fonts or groups, so any number of figures may share a
    page; the same figure gives the same markup. Nothing is clipped: a figure draws nothing outside its axes. Letters
    come in the page's font, and the room they got is that of a wide one (DejaVu Sans).

    Raises:
        ValueError: a colour of the figure has no name in `VARIABLES`.
    """
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of matplotlib's font; the page has others
        figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    drawn = ElementTree.fromstring(file.getvalue())
    marks = {mark.attrib["id"]: mark for mark in drawn.iter(f"{SVG}path") if "id" in mark.attrib}
    root = Element("svg", {"class": "chart", "viewBox": drawn.attrib["viewBox"], "role": "img", "aria-label": words})
    root.extend(list(_shapes(drawn, marks)))
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _shapes(element: Element, marks: Mapping[str, Element]) -> Iterator[Element]:
    """Paths, texts, and marks where they are used; what cannot be seen is left out."""
    kind = element.tag.removeprefix(SVG)
    if kind in ("defs", "metadata"):
        return
    if kind == "path" and element.get("d"):
        yield from _painted("path", element.attrib, _style(element))
    elif kind == "use":
        mark, where = marks[element.attrib[HREF][1:]], f"translate({element.get('x', 0)} {element.get('y', 0)})"
        yield from _painted("path", {"d": mark.attrib["d"], "transform": where}, _style(mark) | _style(element))
    elif kind == "text":
        for shape in _painted("text", element.attrib, _style(element)):
            shape.text = "".join(element.itertext())
            yield shape
    else:
        for child in element:
            yield from _shapes(child, marks)


def _painted(kind: str, where: Mapping[str, str], how: Mapping[str, str]) -> Iterator[Element]:
    painted = {name: _named(value) if name in ("fill", "stroke") else value for name, value in how.items()}
    painted.setdefault("fill", _named("#000000"))
    if painted["fill"] == painted.get("stroke", "none") == "none":
        return
    shape = Element(kind, {"style": "; ".join(f"{name}: {value}" for name, value in painted.items())})
    for name in ("d", "x", "y", "transform"):
        if name in where and not where[name].startswith("rotate(-0 "):
            shape.set(name, NUMBER.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), where[name]))
    if "d" in where:
        shape.set("d", " ".join(shape.attrib["d"].split()))
    yield shape


def _style(element: Element) -> dict[str, str]:
    """The properties of an element, without the font family, which is the page's."""
    pairs = (part.partition(":") for part in element.get("style", "").split(";") if part.strip())
    found = {name.strip(): value.strip() for name, _, value in pairs}
    return {name: value for name, value in found.items() if name != "font-family"}


def _named(colour: str) -> str:
    if colour == "none":
        return colour
    if colour not in VARIABLES:
        raise ValueError(f"the colour {colour} has no name in the pages, wanted one of {', '.join(VARIABLES)}")
    return f"var({VARIABLES[colour]})"
