"""Charts: inline SVG in the page's colours, names drawn as they are, readable on a phone, the same bytes each time."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from compared import made
from infodistill.artefact import record_result
from infodistill.comparison.drawn import Point, Whisker, costs, differences
from infodistill.comparison.leaderboard import leaderboard
from infodistill.comparison.leaderboard_files import write_leaderboard
from infodistill.report import report
from infodistill.reporting.charts import PAGE, curves, images_over_levels
from infodistill.reporting.colours import COLOURS, CONTROL, VARIABLES, looks
from infodistill.reporting.drawing import png, svg
from infodistill.reporting.lettering import width_of, wrapped
from infodistill.reporting.rows import Bar, bars
from test_report import checked, metrics, result
from toys import artefact

NASTY = ("<b>&amp; \"q\" 'a'</b>", "_hidden", r"${\frac{ 5 $x_1$", "W" * 70, "验证数据集蒸馏" * 9, "émile")
PHONE = 342  # pixels that a page of 390 leaves a chart


CHARTS = ("bars", "curves", "levels", "differences", "costs")


def drawn(name: str) -> Figure:
    lines = {name: ([0.0, 1.0, 2.0], [1.0, 0.01 * place, 0.5]) for place, name in enumerate(NASTY, 1)}
    points = {name: [Point(10.0**place, 0.5, 0.01)] for place, name in enumerate(NASTY)}
    draw: dict[str, Callable[[], Figure]] = {
        "bars": lambda: bars([Bar(name, 0.9, 0.05, CONTROL, place == 1) for place, name in enumerate(NASTY)]),
        "curves": lambda: curves(lines, "value", looks(NASTY), PAGE),
        "levels": lambda: images_over_levels(
            torch.tensor([10.0, 1.0, 0.1]), torch.arange(300.0).sin().view(3, 100), COLOURS[1]
        ),
        "differences": lambda: differences([Whisker(name, -0.01, -0.05, None) for name in NASTY], NASTY[3]),
        "costs": lambda: costs(points, "seconds", "{:g}".format, looks(NASTY)),
    }
    return draw[name]()


def texts(markup: str) -> list[ElementTree.Element]:
    return [text for text in ElementTree.fromstring(markup).iter("text") if text.text]


def property_of(text: ElementTree.Element, name: str) -> str:
    return dict(part.split(": ") for part in text.attrib["style"].split("; ")).get(name, "start")


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_refers_to_nothing_and_is_the_same_again(name: str) -> None:
    before = dict(matplotlib.rcParams)
    markup = svg(drawn(name), 'a <b> & "c"')
    root = ElementTree.fromstring(markup)
    assert root.attrib["aria-label"] == 'a <b> & "c"' and root.attrib["role"] == "img" and "width" not in root.attrib
    assert {shape.tag for shape in root} == {"path", "text"}
    assert not re.search(r"\bid=|href|url\(|http|<style|<metadata|#[0-9a-f]{6}|font-family", markup)
    assert set(re.findall(r"(?:fill|stroke): ([^;\"]+)", markup)) <= {f"var({v})" for v in VARIABLES.values()} | {
        "none"
    }
    assert svg(drawn(name), 'a <b> & "c"') == markup
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("name", ["bars", "curves", "differences", "costs"])
def test_names_are_drawn_as_they_are_and_inside(name: str) -> None:
    markup = svg(drawn(name), "")
    left, top, width, height = map(float, ElementTree.fromstring(markup).attrib["viewBox"].split())
    shown = "".join("".join(text.text.split()) for text in texts(markup) if text.text)
    for label in NASTY:
        assert "".join(label.split()) in shown
    for text in texts(markup):
        size = float(property_of(text, "font-size").removesuffix("px"))
        assert size * PHONE / width >= 9
        if "rotate" in text.get("transform", ""):
            continue
        moved = re.match(r"translate\(([\d.]+) ([\d.]+)\)", text.get("transform", ""))
        x, y = map(float, moved.groups() if moved else (text.attrib["x"], text.attrib["y"]))
        room = width_of(text.text or "", size)
        x -= {"start": 0.0, "middle": room / 2, "end": room}[property_of(text, "text-anchor")]
        assert left - 6 <= x and x + room <= width + 6, text.text  # a tick's number may hang over by half
        assert top + 0.7 * size <= y <= height


@pytest.mark.parametrize("name", ["bars", "levels", "costs"])
def test_what_the_program_around_has_set_changes_nothing(name: str) -> None:
    lines = {"training": ([0.0, 1.0], [1.0, 0.5])}
    markup, file = svg(drawn(name), ""), png(curves(lines, "loss"))
    odd = {
        "text.usetex": True,
        "axes.facecolor": "red",
        "font.size": 30,
        "savefig.facecolor": "blue",
        "lines.marker": "x",
    }
    with matplotlib.rc_context(odd):
        assert svg(drawn(name), "") == markup and png(curves(lines, "loss")) == file


def test_a_colour_without_a_name_is_refused() -> None:
    figure = Figure()
    figure.add_subplot().plot([0, 1], color="#123456")
    with pytest.raises(ValueError, match="#123456 has no name"):
        svg(figure, "")


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_contrast_with_the_paper(mode: str) -> None:
    css = (files("infodistill") / "templates" / "style.html.j2").read_text()
    parts = css.partition("@media print")[0].split("@media")
    values = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", parts[mode == "dark"]))
    paper = luminance(values["--paper"])
    for name in {*VARIABLES.values()} - {"--paper", "--line"}:  # the lines of the grid are to stay in the background
        bright, dim = sorted((paper, luminance(values[name])), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= (4.5 if name in ("--ink", "--muted") else 3.0), name


def test_looks_tell_many_series_apart() -> None:
    found = looks([*map(str, range(32)), "3"])
    assert len(found) == len(set(found.values())) == 32 and {look.colour for look in found.values()} == set(COLOURS)


def test_a_method_has_one_colour_in_a_report(tmp_path: Path) -> None:
    still = metrics().decode().replace('"norms": {"match"', '"norms": {"other"')
    for name, log in (
        ("a", re.sub(r'"values": \{"match": [^}]*', '"values": {"match": 1.0', still).encode()),
        ("b", metrics()),
    ):
        folder = artefact(label=name, seed=ord(name)).save(tmp_path / name, files={"metrics.jsonl": log})
        record_result(folder, result([0.7, 0.8, 0.9]))
    text, checker = checked(report([tmp_path / "a", tmp_path / "b"], tmp_path / "out.html"))
    accuracy, value, *_ = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert checker.charts[1] == "match, value over steps" and "a: value 1 throughout" in text
    assert "--series-1" in accuracy and "--series-2" in accuracy
    assert "--series-2" in value and "--series-1" not in value


def test_a_method_has_one_colour_on_a_leaderboard(tmp_path: Path) -> None:
    made(tmp_path / "runs" / "a", [0.8, 0.9], method="a", seconds=None)
    made(tmp_path / "runs" / "b", [0.8, 0.9], method="b")
    write_leaderboard(leaderboard(tmp_path / "runs"), tmp_path)
    size, seconds = re.findall(r"<svg.*?</svg>", (tmp_path / "leaderboard.html").read_text(), re.DOTALL)
    assert "--series-1" in size and "--series-2" in size
    assert "--series-2" in seconds and "--series-1" not in seconds


@pytest.mark.parametrize("span", [1.0, 1.2, 3.0, 40.0, 1e3, 1e9])
def test_a_logarithmic_axis_has_a_few_numbers(span: float) -> None:
    points = {"a": [Point(1234.0, 0.5, 0.0), Point(1234.0 * span, 0.6, 0.0)]}
    (axes,) = costs(points, "bytes", "{:g}".format, looks("a")).axes
    assert 1 <= len(axes.get_xticks()) <= 5


def test_odd_numbers_become_pictures() -> None:
    for figure in (
        curves({"a": ([0.0, 1.0, 2.0], [1.0, float("nan"), 3.0]), "b": ([0.0], [100.0])}, "value"),
        curves({"a": ([0.0, 1.0], [-1.0, 100.0])}, "value"),
        bars([Bar("a", 0.0, 0.0, COLOURS[0]), Bar("b", 1.0, 0.0, COLOURS[1])]),
        bars([Bar("", 0.99, 0.02, COLOURS[0])]),
        differences([Whisker("a", 0.0, None, None)], "b"),
        curves({r"$\frac{$": ([0.0, 1.0], [1.0, 2.0]), "_b": ([0.0, 1.0], [1.0, 2.0])}, "value"),
    ):
        with Image.open(io.BytesIO(png(figure))) as picture:
            assert picture.size[0] > 300
        assert svg(figure, "").startswith("<svg")


def test_lines_fit_their_room() -> None:
    for text in (*NASTY, "", "a b " * 40, "\t\n\x07 x"):
        for room in (5.0, 60.0, 200.0):
            lines = wrapped(text, room, 9)
            assert lines and all(width_of(line, 9) <= room or len(line) == 1 for line in lines)
