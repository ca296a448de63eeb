"""`distill` from end to end on tiny sets, in process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import infodistill
from infodistill.cli import app

TINY = ["--net", "convnet2-w4", "--set", "real_per_class=4", "--set", "teachers.epochs=1", "--set", "teachers.count=2"]
TINY += ["--set", "teachers.net=convnet2-w8"]
STEPS = 4


def call(*args: str | Path) -> str:
    result = CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def distil(out: Path, *args: str, steps: int = STEPS) -> Path:
    call("distill", "--data", "digits", "--ipc", "2", "--steps", str(steps), *TINY, *args, "--out", out)
    return out


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return distil(tmp_path_factory.mktemp("run") / "plain")


def test_a_run_leaves_a_whole_artefact(plain: Path) -> None:
    wanted = {"run.json", "checkpoint", "metrics.jsonl", "distilled.json", "README.md", "grid.png", "report.html"}
    assert wanted <= {path.name for path in plain.iterdir()}
    distilled = infodistill.load(plain)
    assert (distilled.ipc, len(distilled)) == (2, 20)
    meta = distilled.meta
    assert (meta["method"], meta["steps"], meta["seed"], meta["net"]) == ("dm", STEPS, 0, "convnet2-w4")
    assert meta["source"] == {"data": "digits", "size": None, "skip_corrupt": False}
    assert meta["recipe"]["real_per_class"] == 4
    assert meta["validation"] is None
    assert meta["fingerprint"] == infodistill.load_data("digits").fingerprint
    assert not infodistill.artefact.changed_files(plain)


def test_the_log_has_value_weight_and_norm_of_every_term(tmp_path: Path) -> None:
    out = distil(tmp_path / "both", "--add", "cmi", "--add", "mim=0.8")
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    for line in lines:
        for part in ("values", "weights", "norms"):
            assert set(line[part]) == {"match", "cmi", "mim"}
        assert line["weights"]["mim"] == 0.8
        assert all(norm > 0 for norm in line["norms"].values())
    terms = infodistill.load(out).meta["terms"]
    assert (terms["cmi"]["kind"], terms["cmi"]["value"]) == ("ratio", 0.01)
    assert terms["cmi"]["last_weight"] == lines[-1]["weights"]["cmi"]


@pytest.mark.parametrize("method", ["dm", "dc", "dsa"])
@pytest.mark.parametrize("add", [(), ("--add", "cmi"), ("--add", "mim")])
def test_a_longer_total_resumes_to_the_same_images(tmp_path: Path, method: str, add: tuple[str, ...]) -> None:
    whole = distil(tmp_path / "whole", "--method", method, *add)
    parts = distil(tmp_path / "parts", "--method", method, *add, steps=2)
    call("distill", "--out", parts, "--resume", "--steps", str(STEPS))
    assert torch.equal(infodistill.load(whole).images, infodistill.load(parts).images)
    assert [json.loads(line)["step"] for line in (parts / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3, 4]


def test_the_log_of_a_killed_run_is_cut_back_to_its_checkpoint(tmp_path: Path, plain: Path) -> None:
    out = distil(tmp_path / "cut", steps=2)
    with (out / "metrics.jsonl").open("a") as log:
        log.write('{"step": 3, "loss": 1.0, "values": {}, "norms": {}, "weights": {}}\n{"step": 4, "lo')
    call("distill", "--out", out, "--resume", "--steps", str(STEPS))
    assert [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3, 4]
    assert torch.equal(infodistill.load(plain).images, infodistill.load(out).images)


def test_resume_of_nothing_starts(tmp_path: Path, plain: Path) -> None:
    out = distil(tmp_path / "fresh", "--resume")
    assert torch.equal(infodistill.load(plain).images, infodistill.load(out).images)


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    args = ("--data", "digits", "--ipc", "2", *TINY, "--add", "cmi", "--dry-run", "--json", "--out", tmp_path / "dry")
    facts = json.loads(call("distill", *args))
    assert facts["steps_per_second"] > 0
    assert facts["seconds"] > 0
    assert facts["memory_bytes"] > 0
    assert facts["disk_bytes"] > 0
    assert facts["teachers"]["count"] == 2
    assert not (tmp_path / "dry").exists()
    assert "steps/s" in call("distill", *[a for a in args if a != "--json"])


def test_validation_chooses_on_held_out_training_data_and_runs_again_on_all(tmp_path: Path) -> None:
    out = tmp_path / "chosen"
    given = ["--add", "cmi=0,ratio:0.01,ratio:3", "--validate", "0.1", "--set", "protocol=quick", "--out", str(out)]
    told = CliRunner().invoke(app, ["distill", "--data", "digits", "--ipc", "2", "--steps", str(STEPS), *TINY, *given])
    record = infodistill.load(out).meta["validation"]
    assert set(record["scores"]) == {"cmi=0", "cmi=ratio:0.01", "cmi=ratio:3"}
    assert f"chosen: {record['chosen']} (held-out accuracy " in told.stderr and "129 images, 3 networks" in told.stderr
    assert record["scores"][record["chosen"]] == max(record["scores"].values())
    assert record["held_out_images"] == 129
    whole = infodistill.load_data("digits")
    assert infodistill.load(out).meta["fingerprint"] == whole.fingerprint


def test_an_irregular_folder_goes_all_the_way(tmp_path: Path, irregular: Path) -> None:
    out = tmp_path / "run"
    args = ("--ipc", "2", "--steps", "3", "--size", "16", "--skip-corrupt", "--net", "convnet2-w4")
    call("distill", "--data", irregular, *args, "--out", out)
    result = json.loads(call("evaluate", out, "--seeds", "1", "--json"))
    columns = result["nets"]["convnet2-w4"]
    assert 0 <= columns["distilled"]["mean"] <= 1
    assert columns["random"]["n"] >= 5
    assert columns["full"] is None
    assert columns["full_reason"]
    page = tmp_path / "page.html"
    call("report", out, "--out", page)
    assert "<html" in page.read_text()
    assert infodistill.load(out).shape == (3, 16, 16)
