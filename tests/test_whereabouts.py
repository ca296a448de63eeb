"""Where the data of an artefact is looked for: as it was typed, then beside the artefact; names stay names."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from infodistill import Distilled, load, load_data
from infodistill.cli import app
from infodistill.comparison.contenders import Entrant
from infodistill.evaluation.assessing import data_of, open_artefact
from infodistill.evaluation.whereabouts import beside
from infodistill.running.runs import read_run
from tiny_data import write_classes
from toys import artefact

PROTOCOL = {"name": "brief", "epochs": 1, "full_epochs": 1, "augment": "none"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with photographs in it."""
    place = tmp_path / "place"
    write_classes(place / "photos" / "train", {"ant": 3, "bee": 3})
    write_classes(place / "photos" / "test", {"ant": 2, "bee": 2}, first=20)
    monkeypatch.chdir(place)
    return place


def of_photos(folder: str) -> Path:
    real = load_data("photos")
    source = {"data": "photos", "size": None, "skip_corrupt": False}
    facts = {"data": real.name, "fingerprint": real.fingerprint, "net": "convnet1-w4", "protocol": PROTOCOL}
    rows = real.rows(torch.tensor([0, 3]))
    return Distilled(rows.x, rows.y, real.space, real.class_names, meta={**facts, "source": source}).save(Path(folder))


def test_it_is_evaluated_from_within_and_after_both_moved(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_photos("runs/dm")
    monkeypatch.chdir(place / "runs" / "dm")
    result = CliRunner().invoke(app, ["evaluate", ".", "--seeds", "1"], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    monkeypatch.chdir(place.parent)
    place.rename("elsewhere")
    moved = open_artefact(Path("elsewhere/runs/dm"))
    assert data_of(moved, None).fingerprint == moved.meta["fingerprint"]


def test_what_is_stored_leads_there_and_names_nothing_else(place: Path) -> None:
    source = load(of_photos("runs/dm")).meta["source"]
    assert source == {"data": "photos", "size": None, "skip_corrupt": False, "beside": "../../photos"}
    assert str(place.parent) not in (place / "runs" / "dm" / "distilled.json").read_text()
    assert beside("photos", place / "runs") == "../photos" and beside(".", place / "runs") == ".."
    assert beside(str(place / "photos"), place / "runs" / "x") == "../../photos"
    assert beside("photos", place.parent / "far" / "x") is None  # it would name the folder 'place'
    assert beside("nowhere", place) is None and beside("hf:user/photos", place) is None
    os.mkdir("digits")
    assert beside("digits", place) is None


def test_moved_alone_it_says_what_to_do(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_photos("runs/dm")
    shutil.move("runs/dm", place.parent / "alone")
    monkeypatch.chdir(place.parent)
    with pytest.raises(FileNotFoundError, match="made from 'photos', give --data if it is elsewhere"):
        data_of(open_artefact(Path("alone")), None)
    assert len(data_of(open_artefact(Path("alone")), "place/photos")) == 6


def test_the_way_belongs_to_the_folder_and_to_no_comparison(place: Path) -> None:
    first = load(of_photos("runs/dm"))
    second = load(first.save(Path("deeper/runs/dm")))
    assert second.meta["source"]["beside"] == "../../../photos"
    runs = [Entrant(Path(name), read_run(Path(name))) for name in ("runs/dm", "deeper/runs/dm")]
    assert runs[0].recipe == runs[1].recipe and runs[0].line == runs[1].line


def test_an_artefact_of_before_stays_as_it_was(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = artefact(2).with_meta(source={"data": "gone", "size": None})
    assert json.loads((old.save(Path("old")) / "distilled.json").read_text())["source"] == old.meta["source"]
    assert open_artefact(Path("old")).meta["source"] == old.meta["source"]
    monkeypatch.chdir(place / "old")
    with pytest.raises(FileNotFoundError, match="there is no data 'gone'"):
        data_of(open_artefact(Path()), None)
