"""Folders of class folders: layouts, splits, class names and strays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from infodistill.data import load_data
from tiny_data import NAMES, noise, picture, write_classes


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INFODISTILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_train_and_test_folders(tmp_path: Path) -> None:
    root = tmp_path / "pets"
    write_classes(root / "train", {"bee": 3, "ant": 2, "cat": 4})
    write_classes(root / "test", {"bee": 1, "ant": 2}, first=50)
    real = load_data(root)
    assert real.test is not None
    assert (real.class_names, real.name, real.shape) == (NAMES, "pets", (3, 8, 8))
    assert real.counts.tolist() == [2, 3, 4] and real.test.counts.tolist() == [2, 1, 0]
    assert real.test.notes["classes_without_test_images"] == ["cat"]
    assert np.array_equal(real.images[2].numpy(), noise(0).transpose(2, 0, 1))  # the first bee was written first
    assert np.array_equal(real.test.images[0].numpy(), noise(51).transpose(2, 0, 1))
    flat = real.images.double() / 255
    torch.testing.assert_close(
        torch.tensor(real.space.mean, dtype=torch.float64), flat.mean((0, 2, 3)), atol=1e-12, rtol=0
    )
    torch.testing.assert_close(
        torch.tensor(real.space.std, dtype=torch.float64), flat.std((0, 2, 3), correction=0), atol=1e-12, rtol=0
    )
    assert real.test.space == real.space


@pytest.mark.parametrize("held", ["val", "validation"])
def test_val_is_test_data(tmp_path: Path, held: str) -> None:
    write_classes(tmp_path / "d" / "train", {"a": 2, "b": 2})
    write_classes(tmp_path / "d" / held, {"a": 1, "b": 1}, first=9)
    real = load_data(tmp_path / "d")
    assert real.test is not None and len(real) == 4 and len(real.test) == 2
    assert real.notes["test"] == f"the folder {held}/"


def test_without_a_test_folder_a_recorded_stratified_fifth_is_held_out(tmp_path: Path) -> None:
    write_classes(tmp_path / "d", {"a": 10, "b": 5})
    real, again, other = load_data(tmp_path / "d"), load_data(tmp_path / "d"), load_data(tmp_path / "d", seed=1)
    assert real.test is not None and again.test is not None and other.test is not None
    assert real.counts.tolist() == [8, 4] and real.test.counts.tolist() == [2, 1]
    assert real.fingerprint == again.fingerprint and real.test.fingerprint == again.test.fingerprint
    assert real.test.fingerprint != other.test.fingerprint
    assert "20%" in real.notes["test"] and "seed 0" in real.notes["test"]
    mean = (real.images.double() / 255).mean((0, 2, 3))  # the held-out images have no say in the value space
    torch.testing.assert_close(torch.tensor(real.space.mean, dtype=torch.float64), mean, atol=1e-12, rtol=0)


def test_stray_files_are_ignored_and_counted(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "d", {"a": 3, "b": 3})
    (root / "a" / "notes.txt").write_text("not an image")
    (root / "b" / ".DS_Store").write_bytes(b"\0")
    (root / "README.md").write_text("hello")
    (root / ".hidden").mkdir()
    (root / "__MACOSX").mkdir()
    (root / "a" / "deeper").mkdir()
    picture(77).save(root / "a" / "deeper" / "x.PNG")
    real = load_data(root)
    assert real.class_names == ("a", "b") and real.notes["ignored_files"] == 3
    assert real.notes["ignored_endings"] == {"hidden or text": 3}
    assert real.test is not None and len(real) + len(real.test) == 7


def test_a_folder_that_may_not_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_classes(tmp_path / "d", {"a": 3, "b": 3})
    (root / "b" / "closed").mkdir()
    listed = os.scandir

    def scandir(path: str) -> Any:  # permissions say nothing to root, which tests may run as
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PermissionError, match=r"Permission denied: .*b.closed'"):
        load_data(root)


@pytest.mark.parametrize(
    ("classes", "why"),
    [
        ({}, "holds no class folders"),
        ({"a": 3}, r"has 1 class \(a\), at least two"),
        ({"a": 3, "b": 0}, "class 'b' of .* has no training images: put images into .*b, or delete that folder"),
        ({"a": 0, "b": 0}, "class 'a' of .* has no training images"),
    ],
)
def test_a_useless_folder_is_one_sentence(tmp_path: Path, classes: dict[str, int], why: str) -> None:
    (tmp_path / "d").mkdir()
    with pytest.raises(ValueError, match=why):
        load_data(write_classes(tmp_path / "d", classes))


def test_training_and_testing_folders_are_splits(tmp_path: Path) -> None:
    write_classes(tmp_path / "d" / "training", {"a": 2, "b": 2})
    write_classes(tmp_path / "d" / "testing", {"a": 1, "b": 1}, first=9)
    real = load_data(tmp_path / "d")
    assert real.class_names == ("a", "b") and real.test is not None
    assert (len(real), len(real.test), real.notes["test"]) == (4, 2, "the folder testing/")


@pytest.mark.parametrize(
    ("folders", "why"),
    [
        (("Train", "held"), "'Train' is the name of a split"),
        (("test", "other"), "'test' is the name of a split"),
        (("fold1", "fold2"), "all of them hold the same folders"),
    ],
)
def test_splits_and_folds_are_not_taken_for_classes(tmp_path: Path, folders: tuple[str, ...], why: str) -> None:
    for name in folders:
        write_classes(tmp_path / "d" / name, {"a": 2, "b": 2})
    with pytest.raises(ValueError, match=f"do not look like classes, {why}: expected train/CLASS/"):
        load_data(tmp_path / "d")


def test_classes_may_be_called_like_splits_inside_train(tmp_path: Path) -> None:
    write_classes(tmp_path / "d" / "train", {"valid": 4, "invalid": 4})
    assert load_data(tmp_path / "d").class_names == ("invalid", "valid")


def test_test_classes_must_be_known(tmp_path: Path) -> None:
    write_classes(tmp_path / "d" / "train", {"a": 2, "b": 2})
    write_classes(tmp_path / "d" / "test", {"a": 2, "c": 2})
    with pytest.raises(ValueError, match="a class that train/ lacks: 'c'"):
        load_data(tmp_path / "d")


def test_the_layout_of_tiny_imagenet(tmp_path: Path) -> None:
    root = tmp_path / "tiny"
    for wnid, count in (("n02", 2), ("n01", 3)):
        write_classes(root / "train" / wnid, {"images": count})
    write_classes(root / "val", {"images": 3}, first=30)
    (root / "val" / "val_annotations.txt").write_text(
        "000.png\tn02\t0\t0\t7\t7\n001.png\tn01\t0\t0\t7\t7\n002.png\tn02\t0\t0\t7\t7\n"
    )
    real = load_data(root)
    assert real.test is not None and real.class_names == ("n01", "n02")
    assert real.counts.tolist() == [3, 2] and real.test.labels.tolist() == [1, 0, 1]
    (root / "val" / "val_annotations.txt").write_text("000.png\tn09\n")
    with pytest.raises(ValueError, match="names a class that train/ lacks: 'n09'"):
        load_data(root)


def test_nothing_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no data 'nowhere': .*digits, mnist"):
        load_data("nowhere")
    (tmp_path / "x.csv").write_text("1,2")
    with pytest.raises(ValueError, match=r"x\.csv is neither a folder nor"):
        load_data(tmp_path / "x.csv")
    with pytest.raises(ValueError, match="size must be a number of pixels from 1 to 4096, got 0"):
        load_data("digits", size=0)
