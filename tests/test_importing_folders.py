"""Sets imported against folders of one's own: damaged photographs, odd class names, and what our exports carry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from infodistill import load
from infodistill.cli import app
from tiny_data import write_classes


def call(*args: str | Path, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)
    assert result.exit_code == code, result.stderr
    return result


def test_damaged_photographs_are_left_out_wherever_data_is_named(tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos" / "train", {"ant": 6, "bee": 6}).parent
    (photos / "train" / "bee" / "broken.jpg").write_bytes(b"no image")
    published = write_classes(tmp_path / "published", {"ant": 1, "bee": 1}, first=30)
    args = ("import", published, "--data", photos, "--size", 8, "--out", tmp_path / "back")
    assert "--skip-corrupt leaves such images out" in call(*args, code=2).stderr
    call(*args, "--skip-corrupt")
    assert load(tmp_path / "back").meta["source"]["skip_corrupt"] is True
    call("train", tmp_path / "back", "--out", tmp_path / "net", "--net", "convnet1-w4")
    refused = call("measure", tmp_path / "back", "--size", 8, code=2).stderr
    assert "DIR says how its data are read" in refused


@pytest.mark.parametrize("verb", ["measure", "select", "teachers", "experts", "generator train", "tune", "distill"])
def test_every_verb_that_reads_data_by_itself_can_leave_images_out(verb: str) -> None:
    assert "--skip-corrupt" in call(*verb.split(), "--help").stdout
