"""The cross-architecture table: what was run, what was not, what cannot be; evaluations kept beside each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from compared import evaluation, made
from infodistill.artefact import record_result, results_of
from infodistill.cli import app
from infodistill.comparison.crossing import CROSS, cross_names, crossings, refusals
from infodistill.evaluation import assessing
from infodistill.evaluation.recording import joined, stored
from infodistill.evaluation.result import Result, Score, combined
from infodistill.report import report
from infodistill.running.runs import paired_difference, read_run
from scoring import PROTOCOL
from test_report import checked

VALUES = [0.80, 0.83, 0.81]


def test_the_own_network_comes_first_and_once() -> None:
    assert cross_names("convnet3") == ("convnet3", *CROSS)
    assert cross_names("vgg11")[0] == "vgg11" and sorted(cross_names("vgg11")) == sorted(CROSS)


def test_networks_that_do_not_take_an_image_say_why() -> None:
    found = refusals(cross_names("convnet3"), (1, 8, 8), 10)
    assert list(found) == ["lenet"] and "16x16" in found["lenet"]
    assert refusals(cross_names("convnet3"), (3, 32, 32), 10) == {}
    assert set(refusals(CROSS, (1, 4, 4), 10)) == {"lenet", "alexnet"}
    with pytest.raises(ValueError, match="unknown network"):
        refusals(["foo"], (1, 8, 8), 10)


def test_networks_evaluated_apart_stand_side_by_side(tmp_path: Path) -> None:
    folder = made(tmp_path / "set", VALUES)
    record_result(folder, evaluation({"mlp": [0.6, 0.7]}, seconds=1.5))
    record = (results_of(folder) or {})["quick"]
    assert list(record["nets"]) == ["small", "mlp"]
    assert record["net_seeds"] == {"small": [0, 1, 2], "mlp": [0, 1]}
    assert record["net_seconds"] == {"small": 4.0, "mlp": 1.5} and record["seconds"] == 5.5
    record_result(folder, evaluation({"mlp": [0.6, 0.7]}, seconds=2.0))
    assert (results_of(folder) or {})["quick"]["seconds"] == 6.0  # again, not a third
    found = paired_difference((results_of(folder) or {})["quick"], evaluation({"mlp": [0.5, 0.5]}), "mlp")
    assert found is not None and found.mean == pytest.approx(0.15)
    assert paired_difference((results_of(folder) or {})["quick"], evaluation({"small": [0.5, 0.5]}), "small") is None


@pytest.mark.parametrize("change", ["fingerprint", "test_fingerprint", "precision", "epochs"])
def test_another_condition_is_kept_apart(change: str) -> None:
    before, now = joined(None, evaluation({"small": VALUES})), evaluation({"mlp": VALUES})
    if change == "epochs":
        now["protocol_settings"]["epochs"] = 1
    elif change == "precision":
        now["settings"]["policy"]["precision"] = "bf16"
    else:
        now["settings"][change] = "other"
    assert list(joined(before, now)["nets"]) == ["mlp"]
    both = stored(before, now)
    assert list(both["nets"]) == ["mlp"] and [list(one["nets"]) for one in both["earlier"]] == [["small"]]
    again = stored(both, evaluation({"small": VALUES}, seeds=(3, 4, 5)))
    assert again["net_seeds"]["small"] == [0, 1, 2, 3, 4, 5] and [list(one["nets"]) for one in again["earlier"]] == [
        ["mlp"]
    ]
    noted = evaluation({"mlp": VALUES})
    noted["protocol_settings"]["note"] = "other words"
    assert list(joined(before, noted)["nets"]) == ["small", "mlp"]


def test_robust_scores_outlive_a_later_evaluation() -> None:
    before = joined(None, {**evaluation({"small": VALUES}), "robust": {"small": {"lrs": 0.3}}})
    assert joined(before, evaluation({"mlp": VALUES}))["robust"] == {"small": {"lrs": 0.3}}


def test_fewer_seeds_take_nothing_away() -> None:
    before = joined(None, evaluation({"small": VALUES}))
    found = joined(before, evaluation({"small": [0.9, 0.7]}, seeds=(1, 5), random=(0.4,), seconds=3.0))
    assert found["net_seeds"] == {"small": [0, 1, 2, 5]}
    assert found["values"]["small"] == {"distilled": [0.80, 0.9, 0.81, 0.7], "random": [0.4, 0.52, 0.54, 0.56, 0.58]}
    told = found["nets"]["small"]
    assert told["distilled"]["mean"] == pytest.approx(3.21 / 4) and told["distilled"]["n"] == 4
    assert (told["random"]["sets"], told["random"]["nets_per_set"]) == (5, 1)
    assert found["net_seconds"] == {"small": 7.0} and found["seconds"] == 7.0
    assert joined(found, evaluation({"small": [0.80]}, seconds=1.0))["seconds"] == 7.0  # seed 0 again
    assert joined(found, evaluation({"small": VALUES}, seconds=9.0))["net_seeds"] == {"small": [0, 1, 2, 5]}


def test_several_networks_recorded_again_keep_their_seconds() -> None:
    before = joined(joined(None, evaluation({"small": VALUES})), evaluation({"mlp": VALUES}, seconds=2.0))
    again = {**evaluation({"small": VALUES, "mlp": VALUES}, seconds=6.5), "robust": {"mlp": {"lrs": 0.3}}}
    found = joined(before, again)
    assert found["net_seconds"] == {"small": 4.0, "mlp": 2.0} and found["seconds"] == 6.0


def test_table_with_gaps_and_ranks(tmp_path: Path) -> None:
    folder = made(tmp_path / "set", VALUES)
    record_result(folder, evaluation({"mlp": [0.60, 0.61, 0.62]}, random=[0.5, 0.5, 0.51]))
    record_result(folder, evaluation({"vgg11": [0.60, 0.62, 0.62]}, random=[0.1, 0.1, 0.11]))
    (table,) = crossings([read_run(folder)])
    rows = {row["net"]: row for row in table["rows"]}
    assert [rows[net]["ranks"]["distilled"] for net in ("small", "mlp", "vgg11")] == [1, 2, 2]
    assert rows["vgg11"]["ranks"]["random"] == 3 and rows["mlp"]["gap"] == pytest.approx(0.61 - 1.51 / 3)
    assert table["own"] == "small" and list(table["refused"]) == ["lenet"]
    assert table["missing"] == ["alexnet", "resnet18", "resnetap10", "vit"]


def test_the_report_shows_the_table_and_how_to_fill_it(tmp_path: Path) -> None:
    folder = made(tmp_path / "set", VALUES)
    text, _ = checked(report([folder], tmp_path))
    assert "Only small was trained on this set" in text and "evaluate DIR --cross" in text
    assert "Not possible, lenet: LeNet needs images of at least 16x16" in text
    record_result(folder, evaluation({"mlp": VALUES}))
    text, _ = checked(report([folder], tmp_path))
    assert "distilled through it" in text and "Not run: alexnet" in text and "Only small" not in text


def test_cross_records_network_after_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, asked = made(tmp_path / "set", net="mlp"), list[str]()

    def evaluated(path: Path, *, net: list[str], **options: Any) -> Result:
        asked.extend(net)
        if net == ["resnet18"]:
            raise ValueError("no more time")
        scores = {"distilled": Score((0.5, 0.6)), "random": Score((0.4,) * 5, 5)}
        settings = {"seeds": [0, 1], "fingerprint": "a"}
        return Result(PROTOCOL, 2, {net[0]: scores}, {net[0]: "not asked"}, 1536, 48, 0.5, "cpu", settings)

    monkeypatch.setattr(assessing, "evaluated", evaluated)
    result = CliRunner().invoke(app, ["evaluate", str(folder), "--cross", "--json"])
    assert result.exit_code == 2 and "no more time" in result.output and "16x16" in result.output
    assert asked == ["mlp", "alexnet", "vgg11", "resnet18"]
    assert list((results_of(folder) or {})["quick"]["nets"]) == ["mlp", "alexnet", "vgg11"]
    refused = CliRunner().invoke(app, ["evaluate", str(folder), "--cross", "--net", "mlp"])
    assert refused.exit_code == 2 and "not both" in refused.output


def test_combined_results_are_one_object() -> None:
    parts = [
        Result(PROTOCOL, 2, {net: {"distilled": Score((0.5,))}}, {net: "why"}, 1, 1, 0.5, "cpu", {})
        for net in ("a", "b")
    ]
    told = json.loads(json.dumps(combined(parts).as_dict()))
    assert list(told["nets"]) == ["a", "b"] and told["seconds"] == 1.0 and told["nets"]["b"]["full_reason"] == "why"
