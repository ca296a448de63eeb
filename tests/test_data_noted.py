"""What is said of data: nothing is left out of a folder without a word, and every command says the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infodistill.data import load_data
from infodistill.data.noted import scope, sentences, told
from tiny_data import picture, tiny_real, write_classes
from tinymodel import call


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFODISTILL_CACHE", str(tmp_path / "cache"))


def _odd(tmp_path: Path) -> Path:
    """A class half of whose files are .heic, one without test images, two test folders."""
    root = tmp_path / "odd"
    write_classes(root / "train", {"ant": 3, "bee": 3, "cat": 3})
    write_classes(root / "test", {"ant": 2, "bee": 2}, first=50)
    write_classes(root / "val", {"ant": 1, "bee": 1, "cat": 1}, first=70)
    for row in range(2):
        (root / "train" / "cat" / f"{row}.HEIC").write_bytes(b"phone")
    (root / "train" / "cat" / ".DS_Store").write_bytes(b"\0")
    return root


WANTED = (
    "ignored 3 files that are no images this reads (.heic 2, hidden or text 1)",
    "not read: val/",
    "test: the folder test/",
    "no test images of cat: accuracy will not be over all classes",
)


def test_what_a_folder_leaves_out_is_told(tmp_path: Path) -> None:
    root = _odd(tmp_path)
    picture(1).save(root / "train" / "loose.png")
    real = load_data(root)
    lines = told(real)
    assert lines[0] == "data: odd, 9 images (3, 8, 8), 3 classes, 4 test images"
    assert {f"data: {line}" for line in WANTED} <= set(lines)
    assert "data: ignored 1 image beside the class folders: a class is a folder" in lines
    assert scope(real) == "accuracy is over 2 of 3 classes, there are no test images of cat"


def test_files_that_nobody_takes_for_images_are_counted_only() -> None:
    assert sentences({"ignored_files": 2, "ignored_endings": {"hidden or text": 2}}) == [
        "ignored 2 files (hidden or text)"
    ]
    many = {f".{letter}": 9 - row for row, letter in enumerate("abcdef")}
    assert sentences({"ignored_files": 39, "ignored_endings": many}) == [
        "ignored 39 files that are no images this reads (.a 9, .b 8, .c 7, .d 6, ...)"
    ]
    assert sentences({"skipped_corrupt": 2, "skipped_corrupt_first": ["a/x.png: broken", "b/y.png: broken"]}) == [
        "left out 2 unreadable images, the first: a/x.png: broken"
    ]
    assert sentences({}) == []


def test_a_class_too_small_for_the_held_out_fifth_is_told(tmp_path: Path) -> None:
    real = load_data(write_classes(tmp_path / "d", {"a": 5, "b": 1}))
    assert real.notes["classes_without_test_images"] == ["b"]
    assert scope(real) == "accuracy is over 1 of 2 classes, there are no test images of b"
    assert scope(tiny_real()) is None


def test_links_to_folders_are_followed_once_and_never_upwards(tmp_path: Path) -> None:
    root, more = write_classes(tmp_path / "d", {"a": 2, "b": 2}), tmp_path / "more"
    write_classes(more, {"deep": 3}, first=20)
    try:
        (root / "a" / "0 linked").symlink_to(more, target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no links")
    (root / "a" / "again").symlink_to(more / "deep", target_is_directory=True)
    (root / "a" / "up").symlink_to(root, target_is_directory=True)
    (more / "deep" / "self").symlink_to(more, target_is_directory=True)
    real = load_data(root)
    assert real.test is not None and (real.counts + real.test.counts).tolist() == [5, 2]
    assert (real.notes["linked_folders"], real.notes["ignored_links"]) == (1, 2)
    assert "data: followed 1 link to folders" in told(real)
    assert any("ignored 2 links to folders above them" in line for line in told(real))


def test_an_empty_class_of_other_files_says_which(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "d", {"a": 3, "b": 0})
    (root / "b" / "x.heic").write_bytes(b"phone")
    wanted = (
        r"class 'b' of .* \(it holds 1 file that is no image this reads: \.heic 1\): put images into .*b, or delete"
    )
    with pytest.raises(ValueError, match=wanted):
        load_data(root)


SMALL = ["--net", "convnet1-w4", "--ipc", "1", "--steps", "1", "--set", "real_per_class=2"]


def test_distill_says_the_same_with_and_without_a_dry_run(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from infodistill.cli import app

    root = _odd(tmp_path)
    start = ["distill", "--data", str(root), *SMALL, "--out", str(tmp_path / "run")]
    dry = CliRunner().invoke(app, [*start, "--dry-run", "--json"])
    real = CliRunner().invoke(app, start)
    assert dry.exit_code == real.exit_code == 0, dry.output + real.output
    facts = json.loads(dry.stdout)["data"]
    assert facts["test_images"] == 4 and set(WANTED) <= set(facts["notes"])
    lines = [[line for line in run.stderr.splitlines() if line.startswith("data: ")] for run in (dry, real)]
    assert lines[0] == lines[1] == told(load_data(root))
    page = (tmp_path / "run" / "report.html").read_text()
    assert "classes_without_test_images" in page or "no test images" in page


def test_select_and_evaluate_say_it_too(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from infodistill.cli import app

    root = _odd(tmp_path)
    out = str(tmp_path / "s")
    made = CliRunner().invoke(app, ["select", "--data", str(root), "--ipc", "1", "--net", "convnet1-w4", "--out", out])
    assert made.exit_code == 0 and all(f"data: {line}" in made.stderr for line in WANTED)
    scored = CliRunner().invoke(app, ["evaluate", out, "--seeds", "1", "--protocol", "quick"])
    assert scored.exit_code == 0, scored.output
    assert "note: accuracy is over 2 of 3 classes, there are no test images of cat" in scored.stderr


def test_sample_says_it_too(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from infodistill.cli import app

    start = ["sample", "--data", str(_odd(tmp_path)), "--ipc", "1", "--out", str(tmp_path / "i"), "--dry-run", "--json"]
    dry = CliRunner().invoke(app, start)
    assert dry.exit_code == 0, dry.output
    assert all(f"data: {line}" in dry.stderr for line in WANTED)
    assert set(WANTED) <= set(json.loads(dry.stdout)["data"]["notes"])


def test_images_too_small_for_a_network_name_both(tmp_path: Path) -> None:
    start = ["distill", "--data", "digits", "--size", "2", "--ipc", "1", "--out", tmp_path / "r", "--dry-run"]
    told_of = call(*start, code=2)
    assert "images of 2x2 are too small for convnet2" in told_of
    assert "larger images (--size), or convnet1 (by --net; for teachers by --set teachers.net=convnet1)" in told_of
    call(*start, "--net", "convnet1", "--set", "teachers.net=convnet1")  # the remedy is one
