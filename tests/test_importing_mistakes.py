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
from infodistill.importing.labels import read_labels

X, Y = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 10


def call(*args: str | Path) -> Any:
    return CliRunner().invoke(app, ["import", *(str(arg) for arg in args)], catch_exceptions=False)


def nan() -> torch.Tensor:
    bad = X.clone()
    bad[3, 0, 2, 2] = float("nan")
    return bad


def jagged() -> torch.Tensor:
    return torch.nested.nested_tensor([X[0], X[1]], layout=torch.jagged)


def endless() -> dict[str, Any]:
    content: dict[str, Any] = {}
    content["images"] = content
    return content


ROWS = torch.eye(10)[Y]
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
    "meta": (lambda: (X.to("meta"), Y), "the images are a strided tensor of torch.float32 on the device meta"),
    "nested": (lambda: (jagged(), Y[:2]), "the images are a nested tensor"),
    "sparse labels": (lambda: (X, ROWS.to_sparse()), "the labels are a sparse_coo tensor"),
    "whole labels": (lambda: (X, ROWS.to(torch.complex64)), "the labels are a strided tensor of torch.complex64"),
    "meta labels": (lambda: (X, Y.to("meta")), "the labels are a strided tensor of torch.int64 on the device meta"),
    "view of labels": (lambda: (X, torch.zeros(1).expand(20, 10**12)), "the labels claim 20,000,000,000,000 values"),
    "whole rate": (lambda: (X, Y, torch.tensor(1 + 1j)), "the learned rates are a strided tensor of torch.complex64"),
    "rate of 400 digits": (lambda: (X, Y, 10**400), "learned rate is inf"),
    "endless": (endless, "containers in containers"),
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
        (["--space", "unit", "--lr", "inf"], "--lr must be positive and finite, got inf"),
        (["--space", "unit", "--class-names", ",".join(f"name {i}" for i in range(99))], "'name 0' is none of them"),
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


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    torch.save((X, Y), tmp_path / "set.pt")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("precious")
    result = call(tmp_path / "set.pt", "--data", "digits", "--space", "unit", "--out", tmp_path / "mine")
    assert result.exit_code == 2 and "is not an empty folder" in result.stderr
    assert [path.read_text() for path in (tmp_path / "mine").iterdir()] == ["precious"]


def test_labels_of_many_classes_are_refused_before_they_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "double", lambda self: pytest.fail("copied"))
    with pytest.raises(ValueError, match="for 1000 classes, the data has 10"):
        read_labels(torch.zeros(20, 1000), 20, 10)


@pytest.mark.filterwarnings("ignore:torch.quantize")  # going, but files that hold them stay
def test_quantised_tensors_are_refused() -> None:
    quantised = torch._empty_affine_quantized([20, 10], scale=0.1, zero_point=0, dtype=torch.quint8)
    with pytest.raises(ValueError, match=r"the labels are a strided tensor of torch\.quint8"):
        read_labels(quantised, 20, 10)


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
