"""Garbage in: exit code 2 and one sentence, never a traceback, and nothing left behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from infodistill.cli import app

TINY = ["--net", "convnet1-w2", "--set", "real_per_class=2", "--steps", "1"]


def refused(*args: str | Path) -> str:
    """The sentence a mistake is answered with."""
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == 2, (result.output, result.exception)
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.output
    return lines[0]


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arrays")
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    labels = np.arange(60) % 2
    np.savez(folder / "right.npz", x=images, y=labels, class_names=np.array(["cat", "dog"]))
    np.savez(folder / "swapped.npz", x=images, y=labels, class_names=np.array(["dog", "cat"]))
    np.savez(folder / "other.npz", x=images, y=labels, class_names=np.array(["cat", "emu"]))
    return folder


@pytest.fixture(scope="module")
def made(arrays: Path) -> Path:
    out = arrays / "run"
    args = ["distill", "--data", str(arrays / "right.npz"), "--ipc", "2", *TINY, "--out", str(out)]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.output
    return out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--set", "stepz=3"], ("stepz", "steps")),
        (["--set", "teachers.nett=mlp"], ("nett", "'net'")),
        (["--method", "foo"], ("foo", "dm, dc, dsa")),
        (["--add", "foo"], ("foo", "cmi, mim")),
        (["--add", "cmi=heavy"], ("heavy",)),
        (["--add", "cmi=-1"], ("at least 0",)),
        (["--add", "cmi=1", "--add", "cmi=2"], ("twice",)),
        (["--add", "cmi=1,2"], ("--validate",)),
        (["--net", "foo"], ("foo", "convnet3")),
        (["--ipc", "0"], ("ipc", "1")),
        (["--ipc", "5000"], ("5000", "at most")),
        (["--ipc", "1", "--add", "cmi"], ("zero", "one image per class")),
        (["--recipe", "digits/dn-ipc10"], ("did you mean 'digits/dm-ipc10'",)),
        (["--recipe", "cifar10/dc-ipc10", "--method", "dm"], ("contradicts",)),
        (["--validate", "1.5"], ("between 0 and 1",)),
        (["--device", "tpu"], ("tpu",)),
        (["--precision", "int4"], ("int4",)),
        (["--set", "lr"], ("key=value",)),
        (["--set", "protocol=foo"], ("foo", "quick")),
        (["--set", "augment=sparkle"], ("sparkle",)),
    ],
)
def test_wrong_flags(tmp_path: Path, flags: list[str], words: tuple[str, ...]) -> None:
    out = tmp_path / "run"
    sentence = refused("distill", "--data", "digits", *flags, "--out", out)
    assert all(word in sentence for word in words), sentence
    assert not out.exists()


def test_missing_and_unreadable_data(tmp_path: Path, irregular: Path) -> None:
    out = tmp_path / "run"
    assert "nowhere" in refused("distill", "--data", tmp_path / "nowhere", "--out", out)
    assert "--data" in refused("distill", "--out", out)
    assert "--data" in refused("distill", "--recipe", "quick/dm", "--out", out)
    assert "broken.png" in refused("distill", "--data", irregular, "--size", "16", "--out", out)
    (tmp_path / "junk.npz").write_bytes(b"not an archive")
    assert "junk.npz" in refused("distill", "--data", tmp_path / "junk.npz", "--out", out)
    (tmp_path / "recipe.toml").write_text("method = [")
    assert "TOML" in refused("distill", "--data", "digits", "--recipe", tmp_path / "recipe.toml", "--out", out)
    assert not out.exists()


def test_a_folder_in_use_is_left_alone(tmp_path: Path, made: Path, arrays: Path) -> None:
    data = ["--data", arrays / "right.npz", "--ipc", "2", *TINY]
    assert "--resume" in refused("distill", *data, "--out", made)
    assert "another seed" in refused("distill", *data, "--seed", "9", "--out", made, "--resume")
    assert "more than" in refused("distill", "--out", made, "--resume", "--steps", "0")
    (tmp_path / "mine.txt").write_text("precious")
    assert "holds no run" in refused("distill", *data, "--out", tmp_path, "--resume")
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_a_damaged_artefact(tmp_path: Path, made: Path) -> None:
    assert "nothing" in refused("evaluate", tmp_path / "nothing")
    for damage in (_truncate, _edit, _edit_the_manifest, _rehash):
        copy = tmp_path / damage.__name__
        shutil.copytree(made, copy)
        damage(copy)
        assert "edited" in refused("evaluate", copy) or "truncated" in refused("evaluate", copy)
        refused("report", copy)


def _truncate(folder: Path) -> None:
    file = folder / "distilled.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def _edit(folder: Path) -> None:
    tensors = load_file(folder / "distilled.safetensors")
    tensors["images"] = tensors["images"] + 0.1
    save_file(tensors, folder / "distilled.safetensors")


def _edit_the_manifest(folder: Path) -> None:
    file = folder / "distilled.json"
    file.write_text(file.read_text().replace('"method": "dm"', '"method": "mine"'))


def _rehash(folder: Path) -> None:
    """Edit the images and put their new hash into the manifest, as somebody would who knows there is one."""
    import hashlib

    _edit(folder)
    file = folder / "distilled.json"
    manifest = json.loads(file.read_text())
    manifest["sha256"]["distilled.safetensors"] = hashlib.sha256(
        (folder / "distilled.safetensors").read_bytes()
    ).hexdigest()
    file.write_text(json.dumps(manifest))


def test_other_classes_and_another_order(made: Path, arrays: Path) -> None:
    assert "order" in refused("evaluate", made, "--data", arrays / "swapped.npz")
    assert "other classes" in refused("evaluate", made, "--data", arrays / "other.npz")
    assert "foo" in refused("evaluate", made, "--net", "foo")
    assert "foo" in refused("evaluate", made, "--protocol", "foo")
    assert "order" in refused("measure", made, "--data", arrays / "swapped.npz")


def test_an_unfinished_run_says_how_to_go_on(tmp_path: Path, made: Path) -> None:
    copy = tmp_path / "unfinished"
    shutil.copytree(made, copy)
    (copy / "distilled.json").unlink()
    assert "--resume" in refused("evaluate", copy)


def test_a_damaged_checkpoint(tmp_path: Path, made: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    file = copy / "checkpoint"
    file.write_bytes(file.read_bytes()[:-10])
    assert "checkpoint" in refused("distill", "--out", copy, "--resume", "--steps", "2")


def test_changed_data_is_not_resumed(tmp_path: Path, arrays: Path) -> None:
    data = tmp_path / "mine.npz"
    shutil.copy(arrays / "right.npz", data)
    args = ["distill", "--data", str(data), "--ipc", "2", *TINY, "--out", str(tmp_path / "run")]
    assert CliRunner().invoke(app, args).exit_code == 0
    images = np.random.default_rng(1).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    np.savez(data, x=images, y=np.arange(60) % 2, class_names=np.array(["cat", "dog"]))
    assert "changed" in refused("distill", "--out", tmp_path / "run", "--resume", "--steps", "2")


def test_unknown_rows_and_missing_arguments() -> None:
    assert "did you mean 'cifar10/dm-ipc10'" in refused("reproduce", "cifar10/dmm-ipc10")
    assert "artefact folder" in refused("measure")


def test_a_fault_of_ours_is_told_from_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise TypeError("oops")

    monkeypatch.setattr("infodistill.compute.doctor.examine", broken)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "fault of this program" in result.stderr
    monkeypatch.setenv("INFODISTILL_DEBUG", "1")
    assert isinstance(CliRunner().invoke(app, ["doctor"]).exception, TypeError)
