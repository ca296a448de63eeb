"""torchrun with two ranks on this machine: the images of one process, its folder, its words and its mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from infodistill.artefact import log_of
from infodistill.distilled import load
from infodistill.scale.launch import launched, silent
from shared_run import METHODS, job_of

HERE = Path(__file__).parent
DISTILL = ("-m", "infodistill", "distill", "--data", "digits", "--ipc", "2", "--net", "convnet1-w8", "--device", "cpu")


def torchrun(*arguments: str | Path, ranks: int = 2) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("lightning_fabric")
    start = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks))
    environment = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*start, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=240, check=False
    )


def test_two_ranks_make_the_images_of_one_process(tmp_path: Path) -> None:
    done = torchrun(HERE / "shared_run.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "left-0").exists() and (tmp_path / "left-1").exists()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for method in METHODS:
        job = job_of(method)
        list(job.run(1))
        images, theirs = job.syn.pixels.detach(), load_file(tmp_path / f"{method}.images")["pixels"]
        assert float((theirs - images).norm() / images.norm()) < 1e-5, method
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_a_shared_run_is_one_artefact_and_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """Two ranks, then two ranks again with --resume: teachers are trained once, one rank speaks, files are whole."""
    added = ("--add", "cmi", "--set", "teachers.count=1", "--set", "teachers.epochs=1", "--out", tmp_path / "run")
    for steps, more in (("2", ("--json",)), ("4", ("--resume",))):
        done = torchrun(*DISTILL, "--method", "dm", "--steps", steps, *added, *more)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("ranks: 2 share the 10 classes") == 1
        if more == ("--json",):
            assert json.loads(done.stdout)["steps"] == 2
    made = load(tmp_path / "run")
    assert made.meta["steps"] == 4
    lines = [json.loads(line) for line in (log_of(tmp_path / "run") or b"").decode().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]


@pytest.mark.slow
def test_what_ranks_cannot_do_is_said_once_in_one_sentence(tmp_path: Path) -> None:
    done = torchrun(*DISTILL, "--method", "mtt", "--steps", "2", "--out", tmp_path / "run")
    assert done.returncode != 0 and not (tmp_path / "run").exists()
    assert done.stderr.count("Error: ranks share the classes of dm, dc, dsa; mtt runs in one process") == 1
    assert "infodistill/conduct" not in done.stderr  # the one traceback there is torchrun's own


def test_a_place_is_read_from_what_torchrun_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launched() is None and not silent()
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "1"), ("LOCAL_RANK", "1"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert launched() is None  # a cluster's job may set these too
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    place = launched()
    assert place is not None and (place.rank, place.count) == (1, 2) and silent()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert launched() is None


def test_other_commands_are_refused_under_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from infodistill.cli import app

    values = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["teachers", "--data", "digits"])
    assert done.exit_code == 2
    assert done.stderr.strip() == (
        "Error: torchrun shares the classes of one distillation: infodistill teachers runs without it"
    )
