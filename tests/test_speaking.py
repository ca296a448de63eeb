"""What commands say when the system refuses or the user stops them, and that they look before they compute."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pytest
import typer
from safetensors import SafetensorError
from typer.testing import CliRunner

from infodistill.cli import app
from infodistill.commands.speaking import one_sentence
from infodistill.files import require_writable, write_atomically

FULL = "Error while serializing: I/O error: No space left on device (os error 28)"


def said(error: BaseException, capsys: pytest.CaptureFixture[str], name: str = "measure", **kwargs: Any) -> str:
    """The sentence a command of this name that raises is answered with, after its exit code."""

    def command(**asked: Any) -> None:
        raise error

    command.__name__ = name
    with pytest.raises(typer.Exit) as stopped:
        one_sentence(command)(**kwargs)
    (line,) = capsys.readouterr().err.splitlines()
    return f"{stopped.value.exit_code} {line}"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SafetensorError(FULL), ("No space left on device", "'runs/x'")),
        (OSError(errno.ENOSPC, "No space left on device"), ("No space left on device", "'runs/x'")),
        (OSError(errno.ENOSPC, "No space left on device", "a/b.json"), ("'a/b.json'",)),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), ("quota", "'runs/x'")),
    ],
    ids=["safetensors", "system", "file", "quota"],
)
def test_a_full_disk_is_no_fault_of_the_program(
    capsys: pytest.CaptureFixture[str], error: Exception, words: tuple[str, ...]
) -> None:
    told = said(error, capsys, out=Path("runs/x"))
    assert told.startswith("2 Error: no space to write") and "fault" not in told
    assert all(word in told for word in words), told


def test_without_a_place_the_sentence_stands_and_other_errors_of_the_system_are_mistakes_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert said(OSError(errno.ENOSPC, "No space left on device"), capsys).startswith("2 Error: no space to write more")
    assert said(SafetensorError("I/O error: Read-only file system (os error 30)"), capsys).startswith("2 Error: I/O")
    assert said(SafetensorError("header too large"), capsys).startswith("1 Error: a fault of this program")


def test_a_file_that_does_not_fit_is_named_and_the_old_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_text("old")

    def fill(partial: Path) -> None:
        partial.write_text("half")
        raise SafetensorError(FULL)

    with pytest.raises(OSError, match="No space") as error:
        write_atomically(path, fill)
    assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["weights"]

    with pytest.raises(FileNotFoundError) as missing:  # of another file: that one is named
        write_atomically(path, lambda partial: (tmp_path / "elsewhere").read_text())
    assert missing.value.filename == str(tmp_path / "elsewhere")


def test_only_commands_that_can_resume_promise_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--resume" not in said(KeyboardInterrupt(), capsys, "evaluate")
    assert "cache" in said(KeyboardInterrupt(), capsys, "evaluate")
    assert "same command goes on" in said(KeyboardInterrupt(), capsys, "tune")
    assert said(KeyboardInterrupt(), capsys, "measure") == "130 Interrupted."

    def distil(resume: bool = False) -> None:
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit):
        one_sentence(distil)()
    assert "--resume" in capsys.readouterr().err


def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("old")
    require_writable(tmp_path, tmp_path / "new" / "folder", tmp_path / "page.html", Path("page.html"))
    assert os.listdir(tmp_path) == ["page.html"]
    with pytest.raises(OSError, match=r"page.html/x' cannot be written to \(Not a directory\)"):
        require_writable(tmp_path / "page.html" / "x")


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Make a folder refuse files; permissions would not do, where the tests run as root."""
    from infodistill import files

    def refuse(folder: Path) -> None:
        def probe(*, dir: Path) -> Any:
            if folder in (dir, *dir.parents):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(dir))
            return TemporaryFile(dir=dir)

        monkeypatch.setattr(files, "TemporaryFile", probe)

    return refuse


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two artefacts, a and b."""
    folder = tmp_path_factory.mktemp("sets")
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    np.savez(folder / "data.npz", x=images, y=np.arange(40) % 2)
    tiny = ["--net", "convnet1-w2", "--set", "real_per_class=2", "--set", "protocol=quick", "--steps", "1"]
    for seed, name in enumerate("ab"):
        args = ["distill", "--data", str(folder / "data.npz"), "--ipc", "2", *tiny, "--out", str(folder / name)]
        result = CliRunner().invoke(app, [*args, "--seed", str(seed)])
        assert result.exit_code == 0, result.output
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "{0}/a", "--seeds", "1"),
        ("measure", "{0}/a", "--teachers", "1"),
        ("compare", "{0}/a", "{0}/b", "--seeds", "2"),
        ("compare", "{0}/a", "{0}/b", "--seeds", "2", "--out", "{0}/c.html"),
        ("train", "{0}/a", "--out", "{0}/c"),
        ("export", "{0}/a", "--to", "parquet", "--out", "{0}/c"),
        ("report", "{0}/a", "--out", "{0}/c/page.html"),
        ("tune", "--data", "{0}/data.npz", "--try", "steps=1,2", "--nets", "1", "--out", "{0}/c"),
        ("distill", "--data", "{0}/data.npz", "--ipc", "2", "--steps", "1", "--out", "{0}/c"),
        ("select", "--data", "{0}/data.npz", "--method", "random", "--ipc", "2", "--out", "{0}/c"),
        ("sample", "--data", "{0}/data.npz", "--method", "dit", "--ipc", "1", "--out", "{0}/c"),
        ("import", "{0}/set.pt", "--data", "{0}/data.npz", "--out", "{0}/c"),
        ("generator", "train", "--data", "{0}/data.npz", "--steps", "1", "--out", "{0}/c"),
    ],
    ids=lambda words: f"{words[0]}-{'out' if '--out' in words else 'folder'}",
)
def test_what_could_not_be_stored_is_not_computed(
    sets: Path, read_only: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a network was trained")

    monkeypatch.setattr("torch.optim.SGD.step", never)
    before = sorted(sets.rglob("*"))
    read_only(sets)
    told = CliRunner().invoke(app, [word.format(sets) for word in words])
    assert told.exit_code == 2, (told.output, told.exception)
    assert "cannot be written to (Read-only file system), so nothing was computed" in told.stderr
    assert sorted(sets.rglob("*")) == before
