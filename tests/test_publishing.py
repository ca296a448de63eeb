"""Exports: read back by code that is not ours, with what each form loses said and true."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from infodistill import load_data
from infodistill.cli import app
from infodistill.distilled import ALL_ROWS, Distilled
from infodistill.importing import Published, import_set
from infodistill.publishing.ddranking import ddranking
from infodistill.publishing.form import Form, eight_bit
from infodistill.publishing.imagefolder import imagefolder, png
from infodistill.publishing.names import folder_names
from infodistill.publishing.parquet import parquet
from infodistill.publishing.publish import publish
from infodistill.types import LabelKind, ValueSpace, pixel_space
from infodistill.whitening import fit_whitening
from toys import SPACE, artefact, real_data, soft_artefact


def filled(form: Form, folder: Path) -> Path:
    folder.mkdir()
    form.fill(folder)
    return folder


def decoded(raw: Path) -> np.ndarray:
    with Image.open(raw) as image:
        return np.asarray(image)


def test_eight_bit_says_what_it_clips_and_rounds() -> None:
    pixels = torch.tensor([-0.5, 0.0, 0.25, 1.0, 1.5, 2.0, 0.5, 1 / 255]).view(1, 1, 2, 4)
    found = eight_bit(pixels, pixel_space(1))
    assert found.pixels.flatten().tolist() == [0, 0, 64, 255, 255, 255, 128, 1]
    assert found.clipped == 3 / 8
    wrong = [0.5, 0, 64 / 255 - 0.25, 0, 0.5, 1, 128 / 255 - 0.5, 0]
    assert found.rmse == pytest.approx((sum(e * e for e in wrong) / 8) ** 0.5, rel=1e-6)
    assert "37.5 %" in found.words() and f"{found.rmse:.4f}" in found.words()


def test_image_files_hold_the_pixels_and_the_labels(tmp_path: Path) -> None:
    set_ = soft_artefact(3)
    form = imagefolder(set_, set_.space)
    folder = filled(form, tmp_path / "out")
    lines = [json.loads(line) for line in (folder / "train" / "metadata.jsonl").read_text().splitlines()]
    images = np.stack([decoded(folder / "train" / line["file_name"]) for line in lines])
    expected = (set_.space.to_pixels(set_.images).clamp(0, 1) * 255).round()
    assert np.array_equal(images[:, None], expected.numpy())
    assert [line["label"] for line in lines] == set_.y.tolist()
    assert [line["file_name"].split("/")[0] for line in lines] == [set_.class_names[label] for label in set_.y.tolist()]
    torch.testing.assert_close(torch.tensor([line["soft_label"] for line in lines]), set_.soft_labels)
    torch.testing.assert_close(form.distilled.space.to_pixels(form.distilled.images), expected / 255)


def test_what_is_imported_is_what_was_exported(tmp_path: Path) -> None:
    real = load_data("digits")
    rows = real.rows(real.sample(3, 2))
    soft = 0.9 * rows.target + 0.01
    set_ = Distilled(1.3 * rows.x, rows.y, real.space, real.class_names, soft_labels=soft)
    form = imagefolder(set_, real.space)
    back = import_set(Published(filled(form, tmp_path / "out"), "digits"))
    torch.testing.assert_close(back.distilled.images, form.distilled.images)
    torch.testing.assert_close(back.distilled.soft_labels, soft)
    pair = import_set(Published(filled(ddranking(set_, real.space), tmp_path / "dd"), "digits", "normalised"))
    assert torch.equal(pair.distilled.images, set_.images) and torch.equal(pair.distilled.y, set_.y)


def test_parquet_carries_names_and_bytes(tmp_path: Path) -> None:
    set_ = soft_artefact(2)
    folder = filled(parquet(set_, set_.space), tmp_path / "out")
    table = pq.read_table(folder / "data" / "train-00000-of-00001.parquet")
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["label"] == {"names": list(set_.class_names), "_type": "ClassLabel"}
    assert table.column("label").to_pylist() == set_.y.tolist()
    assert table.column("image")[0]["bytes"].as_py() == png(eight_bit(set_.images, set_.space).pixels[0])
    ours = load_data(folder, seed=0)
    assert ours.class_names == set_.class_names and len(ours) + len(ours.test) == 6


@pytest.mark.parametrize("form", ["imagefolder", "parquet"])
def test_datasets_sees_images_and_named_classes(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    publish(soft_artefact(2).save(tmp_path / "set"), form, tmp_path / "out", seeds=0)
    rows = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))["train"]
    assert rows.features["label"] == datasets.ClassLabel(names=["circle", "cross", "dot"])
    assert isinstance(rows.features["image"], datasets.Image) and rows[0]["image"].size == (8, 8)
    named = rows if form == "parquet" else datasets.load_dataset(
        str(tmp_path / "out"), "metadata", cache_dir=str(tmp_path / "cache")
    )["train"]  # fmt: skip
    assert named[0]["soft_label"] == pytest.approx([0.2 / 3 + 0.8 * (named[0]["label"] == k) for k in range(3)])
    assert sorted(rows["label"]) == [0, 0, 1, 1, 2, 2]


def test_ddranking_holds_the_very_tensors_and_nothing_else(tmp_path: Path) -> None:
    plan = ({**ALL_ROWS, "rates": 0.03},)
    set_ = replace(soft_artefact(2), plan=plan, scalars={"lr": torch.tensor(0.03)})
    form = ddranking(set_, set_.space)
    folder = filled(form, tmp_path / "out")
    tensors = {p.stem: torch.load(p, weights_only=True) for p in folder.iterdir()}
    assert torch.equal(tensors["images"], set_.images) and torch.equal(tensors["labels"], set_.soft_labels)
    assert float(tensors["lr"]) == pytest.approx(0.03)
    assert form.distilled.plan == plan and form.losses == ("class names, mean and std are in this file only",)
    hard = filled(ddranking(set_.hard(), set_.space), tmp_path / "hard")
    assert torch.load(hard / "labels.pt", weights_only=True).dtype == torch.int64


def test_every_loss_is_told() -> None:
    stages = ({**ALL_ROWS, "rows": [0]}, dict(ALL_ROWS))
    rich = replace(
        soft_artefact(4), plan=stages, scalars={"bias": torch.ones(2)}, factors={"rows": torch.zeros(3, 1, 8, 8)},
        label_kind=LabelKind.SCORES,
    )  # fmt: skip
    for make in (imagefolder, parquet, ddranking):
        told = " ".join(make(rich, SPACE).losses)
        assert all(word in told for word in ("plan", "bias", "decoded", "regression scores")), make
        assert make(rich, SPACE).distilled.soft_labels is None
    real = real_data()
    space = ValueSpace((0.0,), (1.0,), fit_whitening(real))
    white = replace(artefact(2), images=space.from_pixels(real.space.to_pixels(artefact(2).images)), space=space)
    form = imagefolder(white, real.space)
    assert "whitening is undone" in " ".join(form.losses) and form.distilled.space == real.space
    torch.testing.assert_close(form.distilled.images, imagefolder(artefact(2), SPACE).distilled.images)


@pytest.mark.parametrize(
    ("classes", "folders"),
    [
        (("ant", "bee"), ("ant", "bee")),
        (("9", "10"), ("0-9", "1-10")),
        (("../x", "x"), ("0-x", "1-x")),
        (("a", "A"), ("0-a", "1-A")),
        (("猫", "犬"), ("0-unnamed", "1-unnamed")),
        (("T-shirt/top", "Bag"), ("0-T-shirt-top", "1-Bag")),
    ],
)
def test_folders_are_safe_and_sort_as_the_classes(classes: tuple[str, ...], folders: tuple[str, ...]) -> None:
    assert folder_names(classes) == folders == tuple(sorted(folders))


def test_many_classes_sort_as_they_are_numbered() -> None:
    names = folder_names([str(number) for number in range(101)])
    assert list(names) == sorted(names) and names[7] == "007-7"


def test_the_command_evaluates_both_forms(tmp_path: Path) -> None:
    real = load_data("digits")
    rows = real.rows(real.sample(0, 1))
    meta = {"data": "digits", "fingerprint": real.fingerprint, "net": "convnet1-w4", "source": {"data": "digits"}}
    how = {"name": "brief", "epochs": 6, "full_epochs": 1, "augment": "none"}
    set_ = Distilled(rows.x, rows.y, real.space, real.class_names, meta={**meta, "protocol": how}).save(
        tmp_path / "set"
    )
    args = ["export", str(set_), "--to", "imagefolder", "--out", str(tmp_path / "out"), "--seeds", "2", "--json"]
    result = CliRunner().invoke(app, args, catch_exceptions=False)
    told = json.loads(result.stdout)
    assert result.exit_code == 0 and told["accuracy"]["exported"]["n"] == 2
    assert told["accuracy"]["tensors"]["mean"] == pytest.approx(told["accuracy"]["exported"]["mean"], abs=0.02)
    assert told["losses"][0].startswith("images are 8-bit pixels: 0.0 %") and "lost: images are" in result.stderr
    text = (tmp_path / "out" / "README.md").read_text()
    assert "paired difference" in text and told["losses"][0].split(":")[0] in text
    again = CliRunner().invoke(app, args)
    assert again.exit_code == 2 and "not an empty folder" in again.stderr
    wrong = CliRunner().invoke(app, ["export", str(set_), "--to", "tfrecord", "--out", str(tmp_path / "x")])
    assert wrong.exit_code == 2 and "imagefolder, parquet, ddranking" in wrong.stderr


def test_images_of_two_channels_are_no_png(tmp_path: Path) -> None:
    two = Distilled(torch.rand(2, 2, 4, 4), torch.arange(2), pixel_space(2), ("a", "b")).save(tmp_path / "set")
    with pytest.raises(ValueError, match="1 or 3 channels, the images have 2: use --to ddranking"):
        publish(two, "parquet", tmp_path / "out", seeds=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]
