"""Killed at arbitrary times and inside a checkpoint write, a run ends in the same bytes as one left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from table import METHODS, terms_of

HERE = Path(__file__).parent
STEPS = 20
COMPILED = ("dm", "dm, three updates a network", "dc", "dsa", "mtt", "rtp", "frepo")
"""Methods that are killed in compiled form too; the rest compile the same functions."""


def start(folder: Path, compiled: bool, stall_at: int, cells: list[str]) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        str(HERE / "kill_run.py"),
        str(folder),
        str(STEPS),
        str(int(compiled)),
        str(stall_at),
        *cells,
    ]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"})


def wait_for(process: subprocess.Popen[bytes], sign: Path, count: int = 1) -> None:
    deadline = time.monotonic() + 240
    while len(list(sign.parent.glob(sign.name))) < count:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, f"no {sign.name} appeared"
        time.sleep(0.01)


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def learned(folder: Path, cells: list[str]) -> list[dict[str, torch.Tensor]]:
    return [load_file(folder / f"{i}.images") for i in range(len(cells))]


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_killed_runs_end_in_the_same_bytes(tmp_path: Path, compiled: bool) -> None:
    tried = COMPILED if compiled else METHODS
    cells = [f"{method}/{term}" for method in tried for term in ("none", "cmi", "mim") if term in terms_of(method)]
    alone, cut = tmp_path / "alone", tmp_path / "cut"
    for folder in (alone, cut):
        folder.mkdir()
    assert start(alone, compiled, 0, cells).wait() == 0
    for pause in (0.0, 0.13, 0.31):  # three arbitrary times, counted from a finished round
        (cut / "alive").unlink(missing_ok=True)
        process = start(cut, compiled, 0, cells)
        wait_for(process, cut / "alive")
        time.sleep(pause)
        kill(process)
    for left in cut.glob(".*.partial"):  # one of the three kills may have met a write too
        left.unlink()
    process = start(cut, compiled, STEPS - 2, cells)
    wait_for(process, cut / ".*.partial", len(cells))
    kill(process)
    assert len(list(cut.glob(".*.partial"))) == len(cells)  # every write was cut
    assert start(cut, compiled, 0, cells).wait() == 0
    for cell, left, right in zip(cells, learned(alone, cells), learned(cut, cells), strict=True):
        assert left.keys() == right.keys()
        assert all(torch.equal(left[name], right[name]) for name in left), cell
