"""The artefact's folder: everything damaged is refused, and results stay with the tensors they were measured on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from infodistill import artefact as folders
from infodistill import manifest
from infodistill.distilled import load
from infodistill.serialise import canonical_json, pretty_json, sha256
from toys import artefact


def edit(folder: Path, **changes: Any) -> None:
    """Change the manifest and give it a hash that fits, as somebody who knows the format could."""
    content = json.loads((folder / "distilled.json").read_text()) | changes
    content.pop("manifest_sha256")
    content["manifest_sha256"] = sha256(canonical_json(content).encode())
    (folder / "distilled.json").write_bytes(pretty_json(content))


def test_truncated_tensors(tmp_path: Path) -> None:
    folder = artefact().save(tmp_path / "set")
    path = folder / "distilled.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="truncated or was edited"):
        load(folder)


def test_one_flipped_byte(tmp_path: Path) -> None:
    folder = artefact().save(tmp_path / "set")
    path = folder / "distilled.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="sha256"):
        load(folder)


def test_missing_tensors(tmp_path: Path) -> None:
    folder = artefact().save(tmp_path / "set")
    (folder / "distilled.safetensors").unlink()
    with pytest.raises(ValueError, match="sha256"):
        load(folder)


def test_edited_manifest(tmp_path: Path) -> None:
    folder = artefact().save(tmp_path / "set")
    path = folder / "distilled.json"
    path.write_text(path.read_text().replace("0.4", "0.5"))
    with pytest.raises(ValueError, match="edited"):
        load(folder)
    path.write_text(path.read_text()[:100])
    with pytest.raises(ValueError, match="truncated"):
        load(folder)
    path.write_text("[]")
    with pytest.raises(ValueError, match="JSON object"):
        load(folder)


def test_rehashed_manifest_that_lies(tmp_path: Path) -> None:
    folder = artefact().save(tmp_path / "set")
    edit(folder, sha256={"distilled.safetensors": "0" * 64})
    with pytest.raises(ValueError, match="sha256"):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, "schema version 2"),
        ({"classes": ["one", "two"]}, "labels must lie in"),
        ({"space": {"mean": [0.1, 0.2], "std": [1.0, 1.0]}}, "channels"),
        ({"space": {"mean": [0.1], "std": [0.0]}}, "std must be positive"),
        ({"space": None}, "not a complete artefact"),
        ({"plan": None}, "not a complete artefact"),
    ],
)
def test_manifest_that_makes_no_sense(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = artefact().save(tmp_path / "set")
    edit(folder, **changes)
    with pytest.raises(ValueError, match=message):
        load(folder)


def test_no_artefact(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"distilled\.json is missing"):
        load(tmp_path)


def test_a_crash_while_saving_never_leaves_a_readable_mixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = artefact(seed=0), artefact(seed=1)
    write, order = folders.write_bytes, ["distilled.safetensors", "grid.png", "README.md", "distilled.json"]
    for stop in order:
        folder = old.save(tmp_path / stop)

        def failing(path: Path, content: bytes, stop: str = stop) -> None:
            if path.name == stop:
                raise OSError("disk full")
            write(path, content)

        monkeypatch.setattr(folders, "write_bytes", failing)
        monkeypatch.setattr(manifest, "write_bytes", failing)
        with pytest.raises(OSError, match="disk full"):
            new.save(folder)
        monkeypatch.undo()
        if stop == order[0]:
            assert torch.equal(load(folder).images, old.images)
        else:
            with pytest.raises(ValueError, match="sha256"):
                load(folder)
        assert not list(folder.glob(".*"))
        assert torch.equal(load(new.save(folder)).images, new.images)


def test_a_card_edited_by_hand_is_allowed_and_noticed(tmp_path: Path) -> None:
    folder = artefact().save(tmp_path / "set")
    assert folders.changed_files(folder) == []
    (folder / "README.md").write_text("licence: mine")
    (folder / "grid.png").unlink()
    load(folder)
    assert sorted(folders.changed_files(folder)) == ["README.md", "grid.png"]


def test_results_are_kept_by_protocol_and_shown_on_the_card(tmp_path: Path) -> None:
    folder = artefact().save(tmp_path / "set")
    score = {"mean": 0.5, "std": 0.1, "n": 5, "sets": 1, "nets_per_set": 5}
    for protocol in ("quick", "dc", "quick"):
        nets = {"convnet3": {"distilled": score, "random": score, "full": None, "full_reason": "no"}}
        folders.record_result(folder, {"protocol": protocol, "ipc": 2, "nets": nets})
    assert list(folders.results_of(folder) or {}) == ["quick", "dc"]
    assert "| dc | convnet3 | distilled | 50.0 ± 10.0 | 5 |" in (folder / "README.md").read_text()
    assert folders.changed_files(folder) == []
    assert "results.json" in json.loads((folder / "distilled.json").read_text())["sha256"]


def test_results_go_when_other_tensors_take_their_place(tmp_path: Path) -> None:
    folder, score = artefact().save(tmp_path / "set"), {"mean": 0.5, "std": 0.1, "n": 5, "sets": 1, "nets_per_set": 5}
    folders.record_result(folder, {"protocol": "quick", "ipc": 2, "nets": {"convnet3": {"distilled": score}}})
    folders.record_measure(folder, {"unit": "nats"})
    stamp = json.loads((folder / "distilled.json").read_text())["sha256"]["distilled.safetensors"]
    assert json.loads((folder / "results.json").read_text())["quick"]["tensors_sha256"] == stamp
    artefact(seconds=3).save(folder)  # the same tensors, as when a finished run is resumed
    assert "50.0 ± 10.0" in (folder / "README.md").read_text()
    assert folders.measure_of(folder) == {"unit": "nats"} and folders.results_of(folder)
    artefact(seed=1).save(folder)
    assert folders.measure_of(folder) is None and folders.results_of(folder) is None
    assert "Not evaluated yet" in (folder / "README.md").read_text()
    assert {path.name for path in folder.iterdir()} == {
        n for n in folders.COMPANIONS if n in ("README.md", "grid.png")
    } | {
        "distilled.safetensors",
        "distilled.json",
    }


def test_a_measure_is_of_the_tensors_that_were_read(tmp_path: Path) -> None:
    folder = artefact().save(tmp_path / "set")
    read = folders.recorded(folder, folders.TENSORS)
    folders.record_measure(folder, {"unit": "nats"}, tensors=read)
    assert json.loads((folder / "measure.json").read_text())["tensors_sha256"] == read
    artefact(seed=1).save(folder)  # while the next measure runs
    with pytest.raises(ValueError, match="replaced while it was measured"):
        folders.record_measure(folder, {"unit": "bits"}, tensors=read)
    assert folders.measure_of(folder) is None and not folders.changed_files(folder)


def test_results_of_other_tensors_are_dropped(tmp_path: Path) -> None:
    folder = artefact().save(tmp_path / "set")
    for name, content in (
        ("results.json", {"quick": {"tensors_sha256": "0" * 64}}),
        ("measure.json", {"tensors_sha256": "0"}),
    ):
        (folder / name).write_text(json.dumps(content))
    assert folders.results_of(folder) is None  # never recorded
    folders.seal(folder, written=("results.json", "measure.json"))
    assert folders.results_of(folder) is None and folders.measure_of(folder) is None


def test_sealing_does_not_bless_edited_tensors(tmp_path: Path) -> None:
    folder = artefact().save(tmp_path / "set")
    path = folder / "distilled.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(ValueError, match="sha256"):
        folders.seal(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tensors_sha256": "0" * 64}, "not the one that was evaluated"),
        ({"ipc": 50}, "50 images per class, the set in 'set' has 2"),
        ({"images_bytes": 10**9}, "1,000,000,000 bytes of images"),
        ({"labels_bytes": 1}, "1 bytes of labels"),
        ({"settings": {"classes": 10}}, "10 classes, the set in 'set' has 3"),
    ],
)
def test_an_evaluation_of_another_set_is_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    folder = artefact().save(tmp_path / "set")
    with pytest.raises(ValueError, match=words):
        folders.record_result(folder, {"protocol": "quick", "ipc": 2, "nets": {}, **change})
    assert folders.results_of(folder) is None


@pytest.mark.parametrize("content", [[], {}, {"nets": []}, {"nets": {"small": {"distilled": {"mean": "high"}}}}])
def test_results_that_are_none_are_refused(content: Any, tmp_path: Path) -> None:
    folder = artefact().save(tmp_path / "set")
    (folder / "results.json").write_text(json.dumps({"quick": content}))
    folders.seal(folder, written=("results.json",))
    with pytest.raises(ValueError, match=r"results\.json in 'set' holds no evaluations: quick"):
        folders.results_of(folder)
