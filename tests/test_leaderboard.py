"""The leaderboard: what shares a table, shared ranks, curves, and three files that cannot be broken by a name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from compared import evaluation, made
from infodistill.artefact import record_result
from infodistill.cli import app
from infodistill.comparison.leaderboard import leaderboard, markdown
from infodistill.comparison.leaderboard_files import write_leaderboard
from infodistill.manifest import seal
from test_report import checked

POOR = [0.80, 0.83, 0.81]


def shifted(by: float, *noise: float) -> list[float]:
    return [value + by + extra for value, extra in zip(POOR, noise or (0, 0, 0), strict=True)]


def filled(root: Path) -> Path:
    made(root / "a" / "dm", POOR)
    made(root / "b" / "idm", shifted(0.05, 0.001, 0, 0), method="idm")
    made(root / "b" / "c" / "like-dm", shifted(0.002, 0.015, -0.015, 0.0), method="dc")
    made(root / "three", POOR, ipc=3, seconds=20.0)
    made(root / "new", method="mtt")
    return root


def test_ranks_are_shared_and_tasks_apart(tmp_path: Path) -> None:
    record = leaderboard(filled(tmp_path))
    assert [board["task"] for board in record["boards"]] == ["toys, 2 images per class", "toys, 3 images per class"]
    rows = record["boards"][0]["rows"]
    assert [(row["label"], row["rank"]) for row in rows] == [("idm", 1), ("dc", 2), ("dm", 2)]
    assert rows[0]["random"] == pytest.approx(0.54) and rows[0]["gain"] == pytest.approx(rows[0]["mean"] - 0.54)
    assert rows[2]["half_interval"] == pytest.approx(4.302653 * rows[2]["error"], rel=1e-5)  # t, 2 degrees of freedom
    assert record["artefacts"] == 5
    assert [Path(folder).name for folder in record["unevaluated"]] == ["new"]
    json.dumps(record, allow_nan=False)


def test_equal_values_have_no_interval(tmp_path: Path) -> None:
    made(tmp_path / "dm", [0.8, 0.8])
    (row,) = leaderboard(tmp_path)["boards"][0]["rows"]
    assert row["half_interval"] is None and row["error"] == 0


def test_other_protocols_networks_and_settings_have_tables_of_their_own(tmp_path: Path) -> None:
    folders = [made(tmp_path / method, POOR, method=method) for method in ("dm", "idm")]
    record_result(folders[0], evaluation({"small": POOR}, protocol="dsa"))
    record_result(folders[0], evaluation({"mlp": POOR}))
    record_result(folders[1], evaluation({"small": POOR}, epochs=7))
    boards = leaderboard(tmp_path)["boards"]
    told = sorted((board["protocol"], board["net"], [row["label"] for row in board["rows"]]) for board in boards)
    apart = [("quick", "small", ["dm", "idm"]), ("quick", "small", ["idm"])]  # idm has both evaluations
    assert told == [("dsa", "small", ["dm"]), ("quick", "mlp", ["dm"]), *apart]
    words = [board["conditions"] for board in boards if (board["protocol"], board["net"]) == ("quick", "small")]
    assert len(set(words)) == 2 and all(text.startswith(", settings ") for text in words)
    assert {board["conditions"] for board in boards if board["net"] == "mlp"} == {""}


def test_a_table_is_named_by_the_data_it_was_evaluated_on(tmp_path: Path) -> None:
    folder = made(tmp_path / "a", POOR)
    there = evaluation({"small": POOR})
    there["settings"] |= {"data": "photos", "fingerprint": "c"}
    record_result(folder, there)
    record = leaderboard(tmp_path)
    told = [board["task"] + board["conditions"] for board in record["boards"]]
    assert sorted(told) == ["photos, 2 images per class made from toys", "toys, 2 images per class"]
    assert sorted(curve["title"].split(",")[0] for curve in record["curves"]) == ["photos", "toys"]
    there["settings"] |= {"fingerprint": "d"}
    record_result(folder, there)  # other data of this name
    words = [board["conditions"] for board in leaderboard(tmp_path)["boards"]]
    assert sorted(words) == [", data a/b", ", data c/b", ", data d/b"]  # digits of the fingerprints, as recorded


def test_several_sets_are_one_row_with_the_error_of_sets(tmp_path: Path) -> None:
    for seed in (0, 1):
        made(tmp_path / str(seed), shifted(0.04 * seed), seed=seed)
    (row,) = leaderboard(tmp_path)["boards"][0]["rows"]
    assert (row["sets"], row["n"], row["over"]) == (2, 6, "sets") and row["error"] == pytest.approx(0.02)


def test_curves_join_the_sizes_of_a_method_and_show_random(tmp_path: Path) -> None:
    (curve,) = leaderboard(filled(tmp_path))["curves"]
    assert curve["title"] == "toys, small, protocol quick"
    assert set(curve["lines"]) == {"dm", "idm", "dc", "random real images"}
    pixels = 3 * 64 * 4  # bytes of one image of each class
    assert [point["cost"] for point in curve["lines"]["dm"]["bytes"]] == [2 * (pixels + 24), 3 * (pixels + 24)]
    assert [point["cost"] for point in curve["lines"]["dm"]["seconds"]] == [10.0, 20.0]
    random = curve["lines"]["random real images"]
    assert [point["cost"] for point in random["bytes"]] == [2 * (pixels + 24), 3 * (pixels + 24)]
    assert random["seconds"] == []


def test_curves_mix_no_conditions_and_no_recipes(tmp_path: Path) -> None:
    made(tmp_path / "a", POOR, images=1, steps=10)
    made(tmp_path / "b", POOR, images=2, steps=20)
    folder = made(tmp_path / "c", images=3, steps=10, ipc=3)
    record_result(folder, evaluation({"small": POOR}, ipc=3, precision="bf16"))
    curves = leaderboard(tmp_path)["curves"]
    assert [curve["title"].removeprefix("toys, small, protocol quick") for curve in curves] == [", float32", ", bf16"]
    lines = [[len(line["bytes"]) for name, line in curve["lines"].items() if "random" not in name] for curve in curves]
    assert lines == [[1, 1], [1]] and set(curves[0]["lines"]) >= {"dm (a)", "dm (b)"}


def test_folders_of_one_name_stay_two_lines(tmp_path: Path) -> None:
    for place, steps in (("x", 10), ("y", 20)):
        made(tmp_path / place / "run", POOR, images=steps, steps=steps)
    record = leaderboard(tmp_path)
    labels = {f"dm ({tmp_path / place / 'run'})" for place in "xy"}
    assert {row["label"] for row in record["boards"][0]["rows"]} == labels
    assert set(record["curves"][0]["lines"]) == labels | {"random real images"}


def test_recipes_that_differ_in_size_alone_share_a_line(tmp_path: Path) -> None:
    for ipc in (2, 3):
        offered = {"mim": {"ratio": 0.03}} if ipc == 2 else {}
        told = {"method": "dm", "ipc": ipc, "name": f"toys/dm-ipc{ipc}", "terms": offered}
        made(tmp_path / str(ipc), POOR, ipc=ipc, recipe=told)
    (curve,) = leaderboard(tmp_path)["curves"]
    assert len(curve["lines"]["dm"]["bytes"]) == 2


def test_results_that_are_none_are_a_note(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "three" / "results.json").write_text('{"quick": []}')
    seal(tmp_path / "three", written=("results.json",))
    record = leaderboard(tmp_path)
    assert len(record["boards"]) == 1 and "results.json in 'three' holds no evaluations" in record["notes"][0]


def test_a_damaged_artefact_is_a_note(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "three" / "distilled.safetensors").write_bytes(b"cut")
    record = leaderboard(tmp_path)
    assert len(record["boards"]) == 1 and "truncated" in record["notes"][0]


@pytest.mark.parametrize("name", ["empty", "nowhere"])
def test_nothing_there_is_one_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=name):
        leaderboard(tmp_path / name)


def test_three_files_and_names_that_cannot_break_them(tmp_path: Path) -> None:
    made(tmp_path / "runs" / "x", POOR, label="<b>|`x`")
    record = leaderboard(tmp_path / "runs")
    page, text, told = (tmp_path / "out" / f"leaderboard.{kind}" for kind in ("html", "md", "json"))
    assert sorted(write_leaderboard(record, tmp_path / "out")) == sorted([page, text, told])
    html, checker = checked(page)
    assert "&lt;b&gt;|" in html and "img" not in checker.tags and len(checker.charts) == 2
    assert json.loads(told.read_text())["boards"] == record["boards"]
    row = next(line for line in text.read_text().splitlines() if line.startswith("| 1 |"))
    assert row.count("|") == 9 and "<b>" not in row and text.read_text() == markdown(record)


def test_the_command(tmp_path: Path) -> None:
    filled(tmp_path)
    runner = CliRunner()
    result = runner.invoke(app, ["leaderboard", str(tmp_path), "--json"], catch_exceptions=False)
    assert result.exit_code == 0 and len(json.loads(result.stdout)["boards"]) == 2
    printed = runner.invoke(app, ["leaderboard", str(tmp_path)], catch_exceptions=False).stdout
    assert "| 1 | idm | 1 | 86.4 |" in printed and "not evaluated, so not ranked" in printed
    wrong = runner.invoke(app, ["leaderboard", str(tmp_path / "nowhere")])
    assert wrong.exit_code == 2 and "Traceback" not in wrong.output
    assert "Example: infodistill leaderboard" in runner.invoke(app, ["leaderboard", "--help"]).output
