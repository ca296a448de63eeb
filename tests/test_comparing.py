"""compare: groups, sets of one method, what is evaluated and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from compared import asked, evaluation, made
from infodistill.artefact import record_result
from infodistill.cli import app
from infodistill.comparison.comparing import compare
from infodistill.comparison.contenders import entrants
from infodistill.comparison.page import write_comparison
from infodistill.compute import Policy
from infodistill.distilled import Distilled
from infodistill.evaluation import assessing
from infodistill.evaluation.job import prepared
from infodistill.evaluation.protocols import protocol_for
from infodistill.evaluation.recording import Conditions, conditions
from test_report import checked
from toys import artefact, real_data

GOOD, POOR = [0.9, 0.92, 0.91], [0.8, 0.83, 0.81]


def never(folder: Path, nets: Sequence[str]) -> None:
    raise AssertionError(f"{folder} was evaluated with {nets}")


NEVER = asked(never)


def test_a_pair_shows_its_difference_and_costs(tmp_path: Path) -> None:
    memory = {"process": 300_000_000, "cuda": 5_000_000}
    folders = [made(tmp_path / "dm", POOR), made(tmp_path / "idm", GOOD, method="idm", peak_memory=memory)]
    record = compare(folders, seeds=3, asked=NEVER).record
    (group,) = record["groups"]
    assert (group["task"], group["protocol"], group["reference"]) == ("toys, 2 images per class", "quick", "dm")
    first, second = group["contenders"]
    assert first["nets"]["small"]["difference"] is None
    found = second["nets"]["small"]["difference"]
    assert found["mean"] == pytest.approx(0.29 / 3) and found["low"] < found["mean"] < found["high"]
    assert (first["peak_memory_bytes"], second["peak_memory_bytes"]) == (None, 5_000_000)
    assert second["peak_memory_of"] == "cuda"
    assert (first["seconds"], first["evaluation_seconds"], first["labels_bytes"]) == (10.0, 4.0, 48)
    assert any("several --seed" in note for note in record["notes"])
    json.dumps(record, allow_nan=False)


def test_two_equal_differences_are_no_interval_without_width(tmp_path: Path) -> None:
    folders = [made(tmp_path / "dm", [0.5, 0.6]), made(tmp_path / "idm", [0.75, 0.85], method="idm")]
    found = compare(folders, seeds=2, asked=NEVER)
    console = Console(record=True, width=200)
    console.print(*found.tables())
    assert "+25.0" in (told := console.export_text()) and "[+25.0" not in told
    assert any("over two says nothing" in note for note in found.record["notes"])
    assert "over two says nothing" in write_comparison(found.record, tmp_path / "page").read_text()


def test_sets_of_one_method_are_one_contender(tmp_path: Path) -> None:
    folders = [
        made(
            tmp_path / f"{method}-{seed}",
            [v + 0.01 * seed + extra * (1 + seed) for v in POOR],
            method=method,
            seed=seed,
        )
        for method, extra in (("dm", 0.0), ("idm", 0.01))
        for seed in (0, 1, 2)
    ]
    record = compare(folders, seeds=3, asked=NEVER).record
    labels = [(row["label"], row["sets"]) for row in record["groups"][0]["contenders"]]
    assert labels == [("dm", 3), ("idm", 3)]
    found = record["groups"][0]["contenders"][1]["nets"]["small"]["difference"]
    assert found["over"] == "sets, paired by seed" and found["mean"] == pytest.approx(0.02)
    assert record["notes"] == []


def test_another_weight_is_another_method_and_a_measured_weight_is_not(tmp_path: Path) -> None:
    def terms(value: float, last: float) -> dict[str, object]:
        return {"cmi": {"kind": "ratio", "value": value, "last_weight": last}}

    folders = [
        made(tmp_path / "a", POOR, images=1, terms=terms(0.01, 7.0)),
        made(tmp_path / "b", POOR, images=2, seed=1, terms=terms(0.01, 8.0)),
        made(tmp_path / "c", GOOD, images=3, terms=terms(0.1, 70.0)),
    ]
    rows = compare(folders, seeds=3, asked=NEVER).record["groups"][0]["contenders"]
    assert [(row["label"], row["sets"]) for row in rows] == [("dm+cmi (a)", 2), ("dm+cmi (c)", 1)]


@pytest.mark.parametrize("how", ["untold", "imported"])
def test_sets_that_do_not_tell_what_made_them_are_no_sets_of_one_method(how: str, tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b")):
        file = {"imported": {"sha256": name * 64}} if how == "imported" else {}
        made(tmp_path / name, POOR, images=number, recipe={}, **file)
    rows = compare([tmp_path / "a", tmp_path / "b"], seeds=3, asked=NEVER).record["groups"][0]["contenders"]
    assert [(row["label"], row["sets"]) for row in rows] == [("dm (a)", 1), ("dm (b)", 1)]


def test_sets_of_one_imported_file_are_one_contender(tmp_path: Path) -> None:
    folders = [
        made(tmp_path / str(seed), POOR, images=seed, seed=seed, recipe={}, imported={"sha256": "a" * 64})
        for seed in (0, 1)
    ]
    folders.append(made(tmp_path / "dm", GOOD, method="x"))
    rows = compare(folders, seeds=3, asked=NEVER).record["groups"][0]["contenders"]
    assert [(row["label"], row["sets"]) for row in rows] == [("dm", 2), ("x", 1)]


def test_other_sizes_are_said_not_compared(tmp_path: Path) -> None:
    folders = [
        made(tmp_path / "two", POOR),
        made(tmp_path / "three", GOOD, ipc=3),
        made(tmp_path / "idm", GOOD, method="i"),
    ]
    record = compare(folders, seeds=3, asked=NEVER).record
    assert [[row["label"] for row in group["contenders"]] for group in record["groups"]] == [["dm", "i"], ["dm"]]
    text = " ".join(record["notes"])
    assert "are not compared" in text and "3 images per class: one method (dm)" in text


def test_the_same_images_count_once(tmp_path: Path) -> None:
    folders = [made(tmp_path / "a", POOR, images=1), made(tmp_path / "b", POOR, images=1, seed=9)]
    record = compare(folders, seeds=3, asked=NEVER).record
    assert [row["sets"] for row in record["groups"][0]["contenders"]] == [1]
    assert "counts once" in record["notes"][0]
    copy = made(tmp_path / "0", POOR, images=1, imported={"sha256": "x"})
    found, notes = entrants([copy, folders[0]])
    assert [one.folder for one in found] == [folders[0]] and notes[0].startswith(str(copy))  # the original speaks


def test_what_is_missing_is_evaluated_and_nothing_else(tmp_path: Path) -> None:
    seen: list[tuple[str, tuple[str, ...]]] = []

    def evaluate(folder: Path, nets: Sequence[str]) -> None:
        seen.append((folder.name, tuple(nets)))
        record_result(folder, evaluation({net: GOOD for net in nets}))

    folders = [
        made(tmp_path / "dm", POOR),
        made(tmp_path / "idm", method="idm"),
        made(tmp_path / "few", POOR[:2], method="f"),
    ]
    record = compare(folders, seeds=3, asked=asked(evaluate)).record
    assert seen == [("idm", ("small",)), ("few", ("small",))]
    assert len(record["groups"][0]["contenders"]) == 3
    seen.clear()
    compare(folders, nets=["small", "mlp"], seeds=3, asked=asked(evaluate))
    assert seen == [(name, ("mlp",)) for name in ("dm", "idm", "few")]
    seen.clear()
    assert compare(folders, seeds=2, asked=asked(evaluate)).record["groups"][0]["nets"] == ["small", "mlp"]
    assert seen == []  # two of three networks are there


def test_protocols_that_differ_are_refused(tmp_path: Path) -> None:
    folders = [made(tmp_path / "dm", POOR), made(tmp_path / "idm", GOOD, method="idm", protocol="idc")]
    with pytest.raises(ValueError, match=r"'quick' \(dm\), 'idc' \(idm\): choose one with --protocol"):
        compare(folders, seeds=3, asked=NEVER)
    assert compare(folders, seeds=3, protocol="quick", asked=NEVER).record["protocol"] == "quick"
    record_result(folders[1], evaluation({"small": POOR}, epochs=10))
    (group,) = compare(folders, seeds=3, protocol="quick", asked=NEVER).record["groups"]
    found = group["contenders"][1]["nets"]["small"]["difference"]
    assert found["mean"] == pytest.approx(0.29 / 3)  # not that of 10 epochs, which was asked for last


@pytest.mark.parametrize(("count", "seeds", "words"), [(1, 3, "at least two artefact"), (2, 1, "got --seeds 1")])
def test_too_little_is_refused(count: int, seeds: int, words: str, tmp_path: Path) -> None:
    folders = [made(tmp_path / str(seed), POOR, seed=seed) for seed in range(count)]
    with pytest.raises(ValueError, match=words):
        compare(folders, seeds=seeds, asked=NEVER)


def test_page_and_tables(tmp_path: Path) -> None:
    nasty = "<img src=evil onerror=x> [bold]$x$"
    folders = [made(tmp_path / "dm", POOR), made(tmp_path / "idm", GOOD, label=nasty, images=5)]
    found = compare(folders, seeds=3, asked=NEVER)
    text, checker = checked(write_comparison(found.record, tmp_path))
    assert "img" not in checker.tags and len(checker.charts) == 1 and "&lt;img src" in text
    assert "+9.7" in text and "5 networks" not in text and "3 networks" in text
    console = Console(record=True, width=300, file=open("/dev/null", "w"))  # noqa: SIM115
    for table in found.tables():
        console.print(table)
    console.file.close()
    printed = console.export_text()
    assert "[bold]" in printed and "+9.7 [" in printed and "reference" in printed


def test_the_command_prints_one_object(tmp_path: Path) -> None:
    folders = [made(tmp_path / "dm", POOR), made(tmp_path / "idm", GOOD, method="idm")]
    result = CliRunner().invoke(app, ["compare", *map(str, folders), "--seeds", "3", "--json"], catch_exceptions=False)
    assert result.exit_code == 0 and json.loads(result.stdout)["groups"][0]["nets"] == ["small"]
    result = CliRunner().invoke(app, ["compare", str(folders[0])])
    assert result.exit_code == 2 and "Traceback" not in result.output
    assert "Example: infodistill compare" in CliRunner().invoke(app, ["compare", "--help"]).output


def test_recorded_evaluations_of_another_precision_are_neither_shown_nor_lost(tmp_path: Path) -> None:
    folders = [made(tmp_path / "dm", POOR), made(tmp_path / "idm", GOOD, method="idm")]
    for folder in folders:
        record_result(folder, evaluation({"mlp": GOOD}))
    seen: list[str] = []

    def evaluate(folder: Path, nets: Sequence[str]) -> None:
        seen.append(folder.name)
        record_result(folder, evaluation({net: [0.1, 0.2, 0.3] for net in nets}, precision="bf16"))

    (group,) = compare(folders, nets=["small"], seeds=3, asked=asked(evaluate, "bf16")).record["groups"]
    assert seen == ["dm", "idm"] and group["precision"] == "bf16"
    assert [row["nets"]["small"]["distilled"]["mean"] for row in group["contenders"]] == pytest.approx([0.2, 0.2])
    (group,) = compare(folders, nets=["small", "mlp"], seeds=3, asked=NEVER).record["groups"]
    assert group["contenders"][1]["nets"]["small"]["distilled"]["mean"] == pytest.approx(0.91)
    (group,) = compare(folders, seeds=3, asked=asked(never, "bf16")).record["groups"]
    assert group["nets"] == ["small"] and group["precision"] == "bf16"


def test_other_conditions_are_refused_before_training(tmp_path: Path) -> None:
    folders = [made(tmp_path / "dm", POOR), made(tmp_path / "idm", method="idm", label="other")]
    plain = asked(never)

    def under(distilled: Distilled) -> Conditions:
        return replace(plain.conditions(distilled), data=str(distilled.meta.get("label")))

    with pytest.raises(ValueError, match="'idm' would be evaluated under other settings of protocol 'quick' or on"):
        compare(folders, seeds=3, asked=replace(plain, conditions=under))


@pytest.mark.parametrize("protocol", [None, "dsa"])
def test_what_is_asked_is_what_an_evaluation_records(protocol: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    distilled, real = artefact(protocol="quick"), real_data()
    monkeypatch.setattr(assessing, "data_of", lambda distilled, data: real)
    found = assessing.asked_for(data=None, protocol=protocol, device="cpu", precision="bf16")
    how = protocol_for(protocol or "quick", "toys", ipc=2, classes=3)
    job = prepared([distilled], real, how, (0,), Policy(precision="bf16"))
    recorded = conditions({"settings": job.settings(), "protocol_settings": how.as_dict()})
    assert found.conditions(distilled) == recorded
    assert found.settings(distilled) == replace(recorded, data=None)
    named = assessing.asked_for(data="elsewhere", protocol=protocol, device="cpu", precision="bf16")
    assert named.settings(distilled) == recorded
