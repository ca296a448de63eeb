"""Sampling runs that stop: what is finished is kept, and the end is the same to the bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import infodistill
from infodistill.compute import Policy
from infodistill.diffusion.running import conduct, groups
from tinymodel import call, sampled, tiny_model

HERE = Path(__file__).parent
SETTINGS = ("--ipc", "3", "--together", "3")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def whole(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sampled(model, tmp_path_factory.mktemp("run") / "whole", *SETTINGS)


def same(left: Path, right: Path) -> None:
    for name in ("distilled.safetensors", "guidance.safetensors"):
        one, other = load_file(left / name), load_file(right / name)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one), name
    assert (left / "trajectory.png").read_bytes() == (right / "trajectory.png").read_bytes()


def start(model: Path, out: Path) -> subprocess.Popen[bytes]:
    """The run in a process of its own, a second of rest after every finished group."""
    program = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from infodistill.diffusion.running import groups; from pathlib import Path\n"
        "from tinymodel import sampled\n"
        "told = groups.Groups._told\n"
        "def slow(self, done):\n"
        "    time.sleep(0.05); told(self, done)\n"
        "groups.Groups._told = slow\n"
        "sampled(Path(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:])\n"
    )
    command = [sys.executable, "-c", program, str(HERE), str(model), str(out), *SETTINGS]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bits(model: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "cut"
    process, deadline = start(model, out), time.monotonic() + 120
    while not (out / "samples" / "0001.safetensors").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in (out / "samples").glob("0*")}
    assert 2 <= len(kept) < 4 and not (out / "distilled.json").exists()
    assert "not finished: infodistill sample --out" in call("evaluate", out, code=2).replace("\n", " ")
    call("sample", "--out", out, "--resume")
    assert {name: (out / "samples" / name).stat().st_mtime_ns for name in kept} == kept  # not sampled again
    same(whole, out)


def test_an_interrupted_run_resumes_to_the_same_bits(
    model: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real = tmp_path / "cut", groups.sample

    def until_the_third(*args: Any, **settings: Any) -> Any:
        if settings["classes"] == (6, 7, 8):
            raise KeyboardInterrupt
        return real(*args, **settings)

    with monkeypatch.context() as patched:
        patched.setattr(groups, "sample", until_the_third)
        args = ("sample", "--data", "digits", "--generator", model, "--steps", "6", *SETTINGS)
        assert "can be continued with --resume" in call(*args, "--out", out, code=130)
    assert sorted(path.name for path in (out / "samples").iterdir()) == ["0000.safetensors", "0001.safetensors"]
    call("sample", "--out", out, "--resume")
    same(whole, out)


def test_a_finished_run_samples_nothing_again(model: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **settings: object) -> None:
        raise AssertionError("sampled again")

    monkeypatch.setattr(groups, "sample", never)
    before = (whole / "distilled.safetensors").read_bytes()
    call("sample", "--out", whole, "--resume")
    assert (whole / "distilled.safetensors").read_bytes() == before


def test_a_group_that_cannot_be_read_is_sampled_again(model: Path, whole: Path, tmp_path: Path) -> None:
    out = sampled(model, tmp_path / "torn", *SETTINGS)
    torn = out / "samples" / "0002.safetensors"
    torn.write_bytes(torn.read_bytes()[:100])
    call("sample", "--out", out, "--resume")
    same(whole, out)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("--ipc", "4"), "was started with ipc 3, not 4"),
        (("--seed", "1"), "was started with seed 0, not 1"),
        (("--set", "clip=1.0"), "was started with set the default, not {'clip': 1.0}"),
        (("--method", "dit"), "was started with method igds, not dit"),
    ],
)
def test_a_changed_request_is_refused(model: Path, whole: Path, change: tuple[str, str], sentence: str) -> None:
    args = ("sample", "--data", "digits", "--generator", model, "--steps", "6", *SETTINGS, *change)
    told = " ".join(call(*args, "--out", whole, "--resume", code=2).split())
    assert sentence in told and "--resume takes the same settings" in told


def test_another_model_in_the_same_place_is_refused(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model")
    out = sampled(model, tmp_path / "out", "--ipc", "1")
    tiny_model(model, seed=1)
    assert "the model has changed" in call("sample", "--out", out, "--resume", code=2)


def test_folders_are_not_overwritten(model: Path, whole: Path, tmp_path: Path) -> None:
    args = ("sample", "--data", "digits", "--generator", model, "--steps", "6", *SETTINGS)
    assert "already holds a run: continue it with --resume" in call(*args, "--out", whole, code=2).replace("\n", " ")
    (tmp_path / "notes.txt").write_text("mine")
    assert "exists and holds no sampling run" in call(*args, "--out", tmp_path, code=2)


def test_grouping_changes_no_image(model: Path, whole: Path, tmp_path: Path) -> None:
    """Which classes are sampled together, and in which pieces, changes rounding alone (acceptance: 1e-4)."""
    wanted = infodistill.load(whole).images
    for name, args in {"one": ("--together", "1"), "all": ("--together", "10"), "pieces": ("--most", "4")}.items():
        made = infodistill.load(sampled(model, tmp_path / name, "--ipc", "3", *args))
        torch.testing.assert_close(made.images, wanted, atol=1e-4, rtol=0)
    facts = json.loads((whole / "sample.json").read_text())["facts"]
    assert set(facts) == {"data", "model", "device", "threads"}


def test_a_run_stays_on_its_device(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Path(shutil.copytree(whole, tmp_path / "moved"))
    asked: list[str] = []

    def resolved(device: str, precision: str) -> Policy:
        asked.append(device)
        return Policy("cpu", precision)

    with monkeypatch.context() as patched:
        patched.setattr(conduct, "resolve", resolved)
        call("sample", "--out", out, "--resume")
        told = json.loads((out / "sample.json").read_text())
        told["facts"]["device"] = "cuda"
        (out / "sample.json").write_text(json.dumps(told))
        said = call("sample", "--out", out, "--resume", code=2)
        assert "was begun on cuda, and this is cpu" in " ".join(said.split())
    assert asked == ["cpu", "cuda"]
    if not torch.cuda.is_available():
        said = call("sample", "--out", out, "--resume", code=2)
        assert "the run was begun on cuda, which is not here" in " ".join(said.split())


def test_flags_beside_resume_must_be_those_of_the_run(whole: Path) -> None:
    call("sample", "--out", whole, "--resume", "--ipc", "3")
    told = call("sample", "--out", whole, "--resume", "--device", "cpu", code=2)
    assert "was started with device auto, not cpu" in " ".join(told.split())


@pytest.mark.parametrize("content", ['{"request": [1]}', "{}", '{"request": {"data": "digits", "ipc": "x"}}', "[", "{"])
def test_a_record_that_cannot_be_read_is_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "sample.json").write_text(content)
    assert "Error: sample.json" in call("sample", "--out", tmp_path, "--resume", code=2)
