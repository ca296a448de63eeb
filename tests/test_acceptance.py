"""What the defaults promise on the bundled digits, measured through the command line (about a minute each)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infodistill.cli import app


@pytest.mark.slow
@pytest.mark.parametrize(("ipc", "distilled", "random"), [(1, 0.88, 0.80), (10, 0.95, 0.95)])
def test_the_defaults_beat_random_digits(tmp_path: Path, ipc: int, distilled: float, random: float) -> None:
    out = tmp_path / "run"
    made = CliRunner().invoke(app, ["distill", "--data", "digits", "--ipc", str(ipc), "--out", str(out)])
    assert made.exit_code == 0, made.output
    judged = CliRunner().invoke(app, ["evaluate", str(out), "--json"])
    assert judged.exit_code == 0, judged.output
    result = json.loads(judged.stdout)
    (columns,) = result["nets"].values()
    assert (result["protocol"], result["ipc"]) == ("quick", ipc)
    assert columns["distilled"]["mean"] >= distilled
    assert columns["distilled"]["n"] == 5
    assert columns["random"]["mean"] <= random
    assert columns["random"]["sets"] == 5
