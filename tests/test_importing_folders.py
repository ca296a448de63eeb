"""Sets imported against folders of one's own: damaged photographs, odd class names, and what our exports carry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from infodistill import load
from infodistill.cli import app
from infodistill.distilled import Distilled
from infodistill.importing import Published, making
from infodistill.publishing.imagefolder import imagefolder
from infodistill.publishing.publish import publish
from infodistill.real import RealData
from infodistill.types import pixel_space
from tiny_data import png, write_classes, write_parquet
from toys import SPACE, artefact


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


NAMES = ("Spaniel größe", "猫", "a/b")


def odd(ipc: int = 2) -> Distilled:
    """A set of classes that folders cannot be called, to be evaluated under a protocol of its own."""
    real = odd_data(NAMES)
    rows = real.rows(real.sample(0, ipc))
    soft = 0.7 * rows.target + 0.1 * torch.tensor([0.0, 1.0, 2.0])
    how = {"name": "brief", "epochs": 7, "full_epochs": 1, "augment": "none"}
    meta = {"data": "odd", "protocol": how, "net": "convnet1-w4", "method": "dm"}
    return Distilled(rows.x, rows.y, real.space, NAMES, soft_labels=soft, meta=meta)


def odd_data(names: tuple[str, ...]) -> RealData:
    images = torch.randint(0, 256, (30, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    labels = torch.arange(30) % 3
    test = RealData(images[:6], labels[:6], names, pixel_space(3), "odd test")
    return RealData(images, labels, names, pixel_space(3), "odd").replace(test=test)


@pytest.mark.parametrize("form", ["imagefolder", "parquet", "ddranking"])
def test_an_export_comes_back_with_its_protocol_classes_and_labels(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_ = odd()
    publish(set_.save(tmp_path / "set"), form, tmp_path / "out", seeds=0)
    there = NAMES if form == "ddranking" else (NAMES[2], NAMES[0], NAMES[1])  # tensors know no names
    monkeypatch.setattr(making, "load_data", lambda *_, **__: odd_data(there))
    space = "normalised" if form == "ddranking" else None
    found = making.import_set(Published(tmp_path / "out", "odd", space))
    back = found.distilled
    assert back.meta["protocol"]["name"] == "brief" and back.meta["protocol"]["epochs"] == 7
    assert back.meta["net"] == "convnet1-w4"
    assert "protocol: brief, which the README of the export carries" in found.notes
    assert [back.class_names[int(c)] for c in back.y] == [set_.class_names[int(c)] for c in set_.y]
    assert back.soft_labels is not None and set_.soft_labels is not None
    theirs = back.soft_labels[:, [there.index(name) for name in NAMES]]
    torch.testing.assert_close(theirs, set_.soft_labels)
    inside = {"imagefolder": "train", "parquet": "data/train-00000-of-00001.parquet", "ddranking": "images.pt"}[form]
    again = making.import_set(Published(tmp_path / "out" / inside, "odd", space, protocol="dc"))
    assert again.distilled.meta["protocol"]["name"] == "dc" and again.distilled.meta["net"] == "convnet1-w4"
    assert torch.equal(again.distilled.images, back.images)


def test_names_no_folder_can_have_are_in_the_metadata_and_told(tmp_path: Path) -> None:
    form = imagefolder(odd(), pixel_space(3))
    form.fill(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "train" / "metadata.jsonl").read_text().splitlines()]
    assert [line["class_name"] for line in lines] == [NAMES[line["label"]] for line in lines]
    assert any("3 of 3 class names" in loss and "'Spaniel größe' is 0-Spaniel-gr-e" in loss for loss in form.losses)
    assert not any("class names" in loss for loss in imagefolder(artefact(2), SPACE).losses)


def test_a_default_is_told_and_a_broken_header_is_one_sentence(tmp_path: Path) -> None:
    publish(artefact(2).save(tmp_path / "set"), "ddranking", tmp_path / "out", seeds=0)
    torch.save((torch.rand(10, 1, 8, 8), torch.arange(10)), tmp_path / "images.pt")
    args = ("import", tmp_path / "images.pt", "--data", "digits", "--space", "unit", "--out")
    told = call(*args, tmp_path / "a").stderr
    assert "note: protocol: quick, by default: nothing tells how this set is evaluated (--protocol does)" in told
    for number, entry in enumerate(['{"protocol": {"name": "x", "epochs": "many", "full_epochs": 1}}', "[1]", "{"]):
        (tmp_path / "README.md").write_text(f"---\ninfodistill: {entry}\n---\n")
        refused = call(*args, tmp_path / f"b{number}", code=2).stderr
        assert "epochs is wrong): give --protocol" in refused or "no JSON object" in refused
    (tmp_path / "README.md").write_text("---\ntitle: another\n---\ninfodistill: {\n")
    call(*args, tmp_path / "c", "--protocol", "dc")


def test_parquet_of_other_classes_and_of_no_images_is_one_sentence(tmp_path: Path) -> None:
    rows = write_parquet(tmp_path / "a" / "train.parquet", [png(1), png(2)], [0, 1])
    args = ("import", rows.parent, "--data", "digits", "--out", tmp_path / "out")
    assert "'ant' is none of them" in call(*args, code=2).stderr
    assert "its --space is byte, not zca" in call(*args, "--space", "zca", code=2).stderr
    write_parquet(rows, [png(1), None], [0, 1], [str(n) for n in range(10)])
    assert "the image row 1 of train.parquet cannot be read" in call(*args, code=2).stderr
    write_parquet(rows, [png(n) for n in range(10)], list(range(10)), None)
    call(*args)
    assert load(tmp_path / "out").y.tolist() == list(range(10))
    rows.write_bytes(b"none")
    assert "cannot read Parquet data 'a'" in call(*args[:-1], tmp_path / "new", code=2).stderr
