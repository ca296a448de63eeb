"""Labels of exports: classes without images, soft labels that do not agree with the class, folders that are refused."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from infodistill import load_data
from infodistill.cli import app
from infodistill.distilled import Distilled
from infodistill.importing import Published, import_set
from infodistill.publishing.ddranking import ddranking
from infodistill.publishing.imagefolder import imagefolder
from infodistill.publishing.publish import publish
from infodistill.real import RealData
from infodistill.types import pixel_space
from toys import artefact

NAMES = tuple("abcdefghij")


def gaps() -> Distilled:
    """Ten classes, of which 1, 3 and 5 have an image."""
    return Distilled(torch.rand(3, 3, 4, 4), torch.tensor([1, 3, 5]), pixel_space(3), NAMES)


def test_a_class_without_images_is_refused_where_folders_are_numbered(tmp_path: Path) -> None:
    gaps().save(tmp_path / "set")
    with pytest.raises(ValueError, match=r"7 of 10 have none \('a', 'c', 'e', 'g', 'h', 'i' and 1 more\): --to parq"):
        publish(tmp_path / "set", "imagefolder", tmp_path / "out", seeds=0)
    assert not (tmp_path / "out").exists()


def test_parquet_keeps_the_numbers_of_classes_without_images(tmp_path: Path) -> None:
    publish(gaps().save(tmp_path / "set"), "parquet", tmp_path / "out", seeds=0)
    table = pq.read_table(next((tmp_path / "out" / "data").iterdir()))
    assert table.column("label").to_pylist() == [1, 3, 5]


def test_datasets_reads_the_numbers_of_classes_without_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    publish(gaps().save(tmp_path / "set"), "parquet", tmp_path / "out", seeds=0)
    rows = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))["train"]
    assert rows.features["label"].names == list(NAMES) and list(rows["label"]) == [1, 3, 5]


def disagreeing(real: RealData, rows: Tensor) -> Distilled:
    """Two images per class of the digits with these label rows (20, 10)."""
    found = real.rows(real.sample(3, 2))
    return Distilled(found.x, found.y, real.space, real.class_names, soft_labels=rows[found.y])


NEXT = torch.eye(10).roll(1, 1)
"""Row i puts class i + 1 first."""


@pytest.mark.parametrize("rows", [0.8 * NEXT + 0.02, NEXT], ids=["soft", "one-hot"])
def test_classes_come_back_from_folders_and_not_from_the_largest_label(tmp_path: Path, rows: Tensor) -> None:
    real = load_data("digits")
    set_ = disagreeing(real, rows)
    imagefolder(set_, real.space).fill(tmp_path)
    found = import_set(Published(tmp_path, "digits"))
    assert torch.equal(found.distilled.y, set_.y) and (set_.y != set_.target().argmax(1)).all()
    torch.testing.assert_close(found.distilled.soft_labels, set_.soft_labels)
    assert any("in 20 of 20 rows the largest is not the class" in note for note in found.notes)
    hard = import_set(Published(tmp_path, "digits", labels_are="hard")).distilled
    assert hard.soft_labels is None and torch.equal(hard.y, set_.y)


def test_ddranking_says_that_it_has_no_classes_beside_soft_labels(tmp_path: Path) -> None:
    real = load_data("digits")
    form = ddranking(disagreeing(real, 0.8 * NEXT + 0.02), real.space)
    assert "20 of 20 images count as the class their label puts first" in " ".join(form.losses)
    form.fill(tmp_path)
    back = import_set(Published(tmp_path, "digits", "normalised")).distilled
    assert torch.equal(back.y, form.distilled.y)
    agreeing = ddranking(disagreeing(real, 0.8 * torch.eye(10) + 0.02), real.space)
    assert agreeing.losses == ("class names, mean and std are in this file only",)


def test_names_in_another_order_move_the_rows_and_not_the_folders(tmp_path: Path) -> None:
    real = load_data("digits")
    set_ = disagreeing(real, 0.8 * torch.eye(10).flip(1) + 0.02)
    imagefolder(set_, real.space).fill(tmp_path)
    names = tuple(reversed(real.class_names))
    found = import_set(Published(tmp_path, "digits", class_names=names)).distilled
    assert torch.equal(found.y, set_.y) and torch.equal(found.target().argmax(1), set_.y)
    (tmp_path / "train" / "metadata.jsonl").unlink()
    with pytest.raises(ValueError, match="folders of images are called like classes"):
        import_set(Published(tmp_path, "digits", class_names=names))


def test_grey_images_are_said_to_come_back_in_colour() -> None:
    colour = Distilled(torch.rand(2, 3, 4, 4), torch.arange(2), pixel_space(3), ("a", "b"))
    assert "Grayscale()" in imagefolder(artefact(1), artefact(1).space).reading
    assert "Grayscale" not in imagefolder(colour, colour.space).reading


def test_two_channels_are_refused_before_anything_is_trained() -> None:
    two = Distilled(torch.rand(2, 2, 4, 4), torch.arange(2), pixel_space(2), ("a", "b"))
    with pytest.raises(ValueError, match="1 or 3 channels, the images have 2"):
        imagefolder(two, two.space)


def test_the_folder_one_is_in_is_no_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artefact(1).save(tmp_path / "set")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    args = ["export", "../set", "--to", "ddranking", "--out", ".", "--no-evaluate"]
    result = CliRunner().invoke(app, args, catch_exceptions=False)
    assert result.exit_code == 2 and "the name of a new folder, got '.'" in result.stderr
