"""What people get wrong when they import a set: one sentence each, through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import infodistill
from infodistill.cli import app

X, Y = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 10


def call(*args: str | Path) -> Any:
    return CliRunner().invoke(app, ["import", *(str(arg) for arg in args)], catch_exceptions=False)


def nan() -> torch.Tensor:
    bad = X.clone()
    bad[3, 0, 2, 2] = float("nan")
    return bad


MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "nan": (lambda: (nan(), Y), "1 values that are not finite"),
    "none": (lambda: (X[:0], Y[:0]), "no images"),
    "size": (lambda: (torch.rand(20, 1, 9, 9), Y), "the data wants (n, 1, 8, 8)"),
    "flat": (lambda: (X.flatten(1), Y), "the images have shape (20, 64)"),
    "count": (lambda: (X, Y[:-1]), "20 images need labels"),
    "class": (lambda: (X, Y + 1), "the labels lie in 1..10, the data has 10 classes"),
    "half": (lambda: (X, Y + 0.5), "must be a class number, found 0.5"),
    "rows": (lambda: (X, torch.rand(20, 7)), "for 7 classes, the data has 10"),
    "alone": (lambda: X, "images without labels: name their file with --labels"),
    "four": (lambda: (X, Y, X, Y), "holds 4 tensors"),
    "text": (lambda: "images", "holds a str"),
    "keys": (lambda: {"weights": X}, "a dictionary with weights"),
    "rate": (lambda: (X, Y, torch.tensor(-0.1)), "learned rate is -0.1"),
    "rates": (lambda: (X, Y, torch.rand(3)), "3 learned rates"),
    "view": (lambda: (torch.zeros(1).expand(20, 1, 8, 8), Y), "claim 1,280 values but hold fewer"),
    "sparse": (lambda: (X.to_sparse(), Y), "wanted plain numbers"),
    "whole": (lambda: (X.to(torch.complex64), Y), "wanted plain numbers"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_one_sentence(tmp_path: Path, name: str) -> None:
    make, words = MISTAKES[name]
    torch.save(make(), tmp_path / "set.pt")
    result = call(tmp_path / "set.pt", "--data", "digits", "--space", "unit", "--out", tmp_path / "out")
    assert result.exit_code == 2 and words in result.stderr, result.stderr
    assert result.stderr.strip().count("\n") == 0 and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--space", "lab"], "unknown value space 'lab'"),
        (["--space", "unit", "--net", "nonet"], "unknown network 'nonet'"),
        (["--space", "normalised", "--mean", "0.5"], "--mean and --std together"),
        (["--space", "normalised", "--mean", "0.5,0.5", "--std", "1,1"], "one number for each of 1 channels"),
        (["--space", "normalised", "--mean", "half", "--std", "1"], "--mean wants numbers"),
        (["--space", "unit", "--lr", "-1"], "--lr must be positive"),
        (["--space", "unit", "--labels", "nothing.pt"], "no file 'nothing.pt'"),
        (["--space", "unit", "--class-names", "a,b"], "2 names for 10 classes|none of them"),
    ],
)
def test_options(tmp_path: Path, extra: list[str], words: str) -> None:
    torch.save((X, Y), tmp_path / "set.pt")
    result = call(tmp_path / "set.pt", "--data", "digits", "--out", tmp_path / "out", *extra)
    assert result.exit_code == 2 and any(part in result.stderr for part in words.split("|")), result.stderr


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    words = {
        "text.pt": "'text.pt'",
        "empty.pt": "'empty.pt' is not a readable .pt file",
        "gone.pt": "no file or folder",
    }
    for name, text in {**words, "folder": "holds no images"}.items():
        result = call(tmp_path / name, "--data", "digits", "--space", "byte", "--out", tmp_path / "out")
        assert result.exit_code == 2 and text in result.stderr and "\n" not in result.stderr.strip(), result.stderr


def test_the_command_makes_an_artefact_and_warns(tmp_path: Path) -> None:
    real = infodistill.load_data("digits")
    rows = real.rows(real.sample(0, 2))
    torch.save((rows.x, rows.y), tmp_path / "set.pt")
    args = (tmp_path / "set.pt", "--data", "digits", "--space", "unit", "--method", "dm", "--json")
    result = call(*args, "--out", tmp_path / "wrong")
    told = json.loads(result.stdout)
    assert result.exit_code == 0 and "WARNING: values reach" in result.stderr
    assert told["warnings"][0].endswith("this looks like normalised, you said unit") and told["ipc"] == 2
    assert "WARNING" in (tmp_path / "wrong" / "README.md").read_text()
    assert infodistill.load(tmp_path / "wrong").meta["method"] == "dm"
    assert "holds an artefact already" in call(*args, "--out", tmp_path / "wrong").stderr
    right = call(*args[:-1], "--space", "normalised", "--out", tmp_path / "right")
    assert right.exit_code == 0 and "WARNING" not in right.stderr
    assert torch.equal(infodistill.load(tmp_path / "right").images, rows.x)
