"""The verbs beside `distill`, and the program as an installed command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import infodistill
from infodistill.cli import app
from infodistill.commands.measure import set_bytes
from infodistill.compute import doctor as examination
from infodistill.measures.set_information import NOTES
from infodistill.whitening import whitened

VERBS = [
    "demo",
    "distill",
    "sample",
    "evaluate",
    "measure",
    "teachers",
    "experts",
    "reproduce",
    "report",
    "doctor",
    "compare",
    "leaderboard",
    "select",
    "tune",
    "import",
    "export",
    "train",
]
TINY = ["--net", "convnet2-w4", "--set", "real_per_class=4", "--set", "teachers.epochs=1", "--set", "teachers.count=2"]


def call(*args: str | Path) -> str:
    result = CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "digits"
    call("distill", "--data", "digits", "--ipc", "2", "--steps", "3", *TINY, "--out", out)
    return out


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(verb: str) -> None:
    assert f"Example: infodistill {verb}" in call(verb, "--help")


def test_evaluate_prints_the_contract_and_records_it(made: Path) -> None:
    told = json.loads(call("evaluate", made, "--seeds", "2", "--json"))
    assert (told["protocol"], told["ipc"], told["device"]) == ("quick", 2, "cpu")
    columns = told["nets"]["convnet2-w4"]
    assert set(columns["distilled"]) == {"mean", "std", "n", "sets", "nets_per_set"}
    assert columns["distilled"]["n"] == 2
    assert (columns["random"]["n"], columns["random"]["sets"]) == (5, 5)
    assert columns["full"] is None
    assert told["images_bytes"] == 20 * 64 * 4
    assert told["seconds"] > 0
    recorded = json.loads((made / "results.json").read_text())["quick"]
    assert recorded["nets"] == told["nets"]
    assert not infodistill.artefact.changed_files(made)
    assert json.loads(call("evaluate", made, "--seeds", "2", "--json"))["nets"] == told["nets"]


def test_measure_gives_bounds_with_notes_and_stores_them(made: Path) -> None:
    facts = json.loads(call("measure", made, "--json"))
    assert facts["unit"] == "nats"
    assert 0 <= facts["cmi"]["mean"] <= torch.tensor(2.0).log()
    assert facts["nce"]["mean"] <= facts["nwj"]["mean"] + 1e-6
    assert facts["ceiling"]["mean"] == pytest.approx(torch.tensor(10.0).log().item())
    assert all(facts[name]["note"] for name in ("cmi", "nce", "nwj", "ceiling"))
    assert infodistill.artefact.measure_of(made) == facts
    assert facts["held_out"] == "500 test images" and 0 < facts["p3"]["mean"] < 2.31
    assert {"p3", "c1", "c2", "c5", "c7"} == {name for name in NOTES if facts[name]["bound"] == "lower"} - {"c5_vendi"}
    profile = facts["profile"]
    assert profile["set_bytes"] == 20 * (64 * 4 + 8) and profile["usable_network"]["random"]["n"] == 3
    assert facts["networks"] == 2 and "What the set says about the data" in (made / "report.html").read_text()
    against = facts["against"]
    assert against["fingerprint"] == infodistill.load(made).meta["fingerprint"] and against["data"] == "digits"
    assert against["effort"] == {"subsets": 3, "shuffles": 2, "resamples": 100} and against["seed"] == 0
    assert against["teachers"]["count"] == 2 and against["versions"]["torch"] == torch.__version__
    text = call("measure", made)
    assert "at least" in text and "wrong labels" in text
    assert "nats" in text and "bounds of sampling" in text and "NOT a bound" in text


def test_a_profile_on_other_data_is_printed_and_not_stored(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "one"
    call("distill", "--data", "digits", "--ipc", "1", "--steps", "1", *TINY, "--out", folder)
    real = infodistill.load_data("digits")
    fewer = real.subset(torch.arange(1000))
    assert fewer.fingerprint != real.fingerprint
    monkeypatch.setattr("infodistill.evaluation.assessing.load_data", lambda *_, **__: fewer)
    result = CliRunner().invoke(app, ["measure", str(folder), "--teachers", "1"], catch_exceptions=False)
    assert "not stored" in result.stderr and fewer.fingerprint[:8] in result.stdout
    assert "c6       – (a class has one image" in result.stdout
    assert infodistill.artefact.measure_of(folder) is None


def test_measure_looks_through_networks_of_its_own(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CMI and MIM optimise a set through the teachers of its own seed."""
    asked: list[int] = []

    def stop(*_: object, seed: int, **__: object) -> None:
        asked.append(seed)
        raise ValueError("enough")

    monkeypatch.setattr("infodistill.building.jobs.teachers_for", stop)
    assert CliRunner().invoke(app, ["measure", str(made)]).exit_code == 2
    assert asked[0] > 2**32


def test_a_whitening_counts_among_the_bytes(made: Path) -> None:
    plain = infodistill.load(made)
    space = whitened(infodistill.load_data("digits")).space
    assert set_bytes(replace(plain, space=space)) == set_bytes(plain) + 4 * (64 + 64 * 64)


def test_teachers_are_kept(tmp_path: Path) -> None:
    args = ("teachers", "--data", "digits", "--set", "teachers.net=convnet2-w4", "--set", "teachers.count=1", "--json")
    first, again = (json.loads(call(*args, "--set", "teachers.epochs=1")) for _ in range(2))
    assert first == again
    assert (first["net"], first["count"]) == ("convnet2-w4", 1)
    assert 0 <= first["accuracies"][0] <= 1


def test_report_joins_runs(made: Path, tmp_path: Path) -> None:
    page = Path(call("report", made, made, "--out", tmp_path / "both.html").strip())
    assert page.read_text().count("data:image/png") >= 2


def test_doctor_looks_at_everything() -> None:
    findings = {entry["name"]: entry for entry in json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)}
    assert {"python", "torch", "threads", "bf16", "compiler", "huge pages", "torchvision", "cache", "data"} <= set(
        findings
    )
    assert findings["torch"]["told"] == torch.__version__
    assert {entry["state"] for entry in findings.values()} <= {"ok", "note", "broken"}


@pytest.mark.parametrize("error", [ImportError, OSError, RuntimeError])
def test_doctor_survives_a_broken_torchvision(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def broken(name: str) -> None:
        raise error("operator torchvision::nms does not exist")

    monkeypatch.setattr(examination.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(examination.importlib, "import_module", broken)
    (finding,) = examination._torchvision()
    assert finding.state == "broken"
    assert "nms" in finding.told
    assert finding.fix


def test_reproduce_lists_rows_and_runs_one_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = json.loads(call("reproduce", "--out", tmp_path, "--json"))
    rows = {row["name"]: row for row in listed}
    assert rows["cifar10/dm-ipc10"]["accuracy"] == 0.489
    assert rows["cifar10/dm-ipc10+cmi"]["accuracy"] == 0.529
    assert all(row["ours"] is None for row in listed)
    assert "not run" in call("reproduce", "--out", tmp_path)
    monkeypatch.setattr("infodistill.recipe.FOLDER", _one_row(tmp_path / "recipes"))
    told = json.loads(call("reproduce", "digits/row", "--out", tmp_path / "out", "--minutes", "0", "--json"))
    assert told["ours"] is None
    told = json.loads(call("reproduce", "digits/row", "--out", tmp_path / "out", "--seeds", "1", "--json"))
    assert 0 <= told["ours"]["distilled"]["mean"] <= 1
    assert told["accuracy"] == 0.5


def _one_row(folder: Path) -> Path:
    (folder / "digits").mkdir(parents=True)
    text = 'method = "dm"\ndataset = "digits"\nipc = 1\nnet = "convnet2-w4"\nsteps = 5\nlr = 1.0\nreal_per_class = 4\n'
    text += 'protocol = "quick"\n[expected]\naccuracy = 0.5\nsource = "a test"\n'
    (folder / "digits" / "row.toml").write_text(text)
    return folder


def command(*args: str | Path, **env: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "infodistill", *map(str, args)]
    pipe = subprocess.PIPE
    return subprocess.Popen(line, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **env})


def test_the_command_sets_huge_pages_and_the_library_does_not() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "THP_MEM_ALLOC_ENABLE"}
    line = [sys.executable, "-m", "infodistill", "doctor", "--json"]
    told = json.loads(subprocess.run(line, capture_output=True, text=True, env=environment, check=False).stdout)
    if sys.platform == "linux":
        assert any("THP_MEM_ALLOC_ENABLE=1" in entry["told"] for entry in told)
    script = "import infodistill, os; infodistill.load_data; print(os.environ.get('THP_MEM_ALLOC_ENABLE'))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "None"


def test_help_does_not_import_torch() -> None:
    script = "import sys; from infodistill.cli import app; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_mistake_of_the_installed_command_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    job = command("distill", "--data", "digits", "--net", "foo", "--out", tmp_path / "x")
    told, error = job.communicate(timeout=120)
    assert (job.returncode, told) == (2, "")
    assert error.count("\n") == 1
    assert error.startswith("Error: ")


def test_sigkill_and_resume_give_the_same_images(tmp_path: Path) -> None:
    args = ("distill", "--data", "digits", "--ipc", "2", "--steps", "400", *TINY)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    call(*args, "--out", whole)
    job = command(*args, "--out", cut)
    while not (cut / "checkpoint").exists():
        assert job.poll() is None, job.stderr
        time.sleep(0.01)
    time.sleep(0.3)
    job.send_signal(signal.SIGKILL)
    job.communicate()
    call("distill", "--out", cut, "--resume")
    assert torch.equal(infodistill.load(whole).images, infodistill.load(cut).images)


@pytest.mark.slow
def test_the_demo_compares_and_reports(tmp_path: Path) -> None:
    told = json.loads(call("demo", "--out", tmp_path / "demo", "--steps", "200", "--json"))
    assert set(told) == {"dm", "dm-cmi", "dm-mim"}
    for result in told.values():
        columns = result["nets"]["convnet2-w32"]
        assert columns["random"]["mean"] < columns["full"]["mean"]
        assert columns["distilled"]["mean"] > 0.9
    assert "<html" in (tmp_path / "demo" / "report.html").read_text()
