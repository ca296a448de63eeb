"""One network has no spread: nothing that people read shows one, JSON keeps its 0."""

from __future__ import annotations

from pathlib import Path

from matplotlib.container import ErrorbarContainer

from compared import evaluation
from infodistill.artefact import record_result, results_of
from infodistill.evaluation.result import Score
from infodistill.report import report
from infodistill.reporting.colours import COLOURS
from infodistill.reporting.pages import percent
from infodistill.reporting.rows import Bar, bars
from toys import artefact


def test_words() -> None:
    one, two = Score((0.35,)), Score((0.3, 0.4))
    assert (one.text(), two.text()) == ("35.0", "35.0 ± 7.1")
    assert (percent(one.as_dict()), percent(two.as_dict())) == ("35.0", "35.0 ± 7.1")
    assert one.as_dict()["std"] == 0.0
    assert percent({"mean": 0.35, "std": 0.0}) == "35.0 ± 0.0"  # of a record that does not tell how many


def test_card_and_page(tmp_path: Path) -> None:
    path = artefact(2, protocol="quick").save(tmp_path / "set")
    record_result(path, evaluation({"small": [0.35]}, random=(0.25,)))
    assert results_of(path)["quick"]["nets"]["small"]["distilled"]["std"] == 0.0  # type: ignore[index]
    shown = (path / "README.md").read_text()
    assert "| 35.0 | 1 |" in shown and "± 0.0" not in shown
    page = report([path], tmp_path / "page.html").read_text()
    assert "35.0 <small>n=1</small>" in page and "± 0.0" not in page


def test_a_bar_of_one_network_has_no_whisker() -> None:
    def whiskers(spread: float | None) -> int:
        (axes,) = bars([Bar("a", 0.5, spread, COLOURS[0])]).axes
        return sum(isinstance(found, ErrorbarContainer) for found in axes.containers)

    assert whiskers(None) == 0 and whiskers(0.0) > 0
