"""The artefact: exact round trips, a card whose loader runs, and refusal of everything damaged."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from infodistill import artefact as folders
from infodistill import manifest
from infodistill.card import LOADER
from infodistill.distilled import Distilled, load
from infodistill.real import RealData
from infodistill.serialise import canonical_json, pretty_json, safe_name, sha256
from toys import NAMES, SPACE, artefact, real_data, soft_artefact


def edit(folder: Path, **changes: Any) -> None:
    """Change the manifest and give it a hash that fits, as somebody who knows the format could."""
    content = json.loads((folder / "distilled.json").read_text()) | changes
    content.pop("manifest_sha256")
    content["manifest_sha256"] = sha256(canonical_json(content).encode())
    (folder / "distilled.json").write_bytes(pretty_json(content))


def test_round_trip_is_bitwise(tmp_path: Path) -> None:
    plan = ({"rows": [0, 1], "rates": [0.1], "steps": 2}, {"rows": None, "rates": None, "epochs": None})
    soft = soft_artefact()
    whole = Distilled(
        soft.images,
        soft.y,
        SPACE,
        NAMES,
        soft_labels=soft.soft_labels,
        scalars={"rate": torch.tensor(0.02)},
        whitening={"mean": torch.arange(3.0)},
        plan=plan,
        meta={"data": "toys", "recipe": {"steps": 10, "lr": 0.1}, "protocol": "quick", "seed": 3},
    )
    back = load(whole.save(tmp_path / "set"))
    assert torch.equal(back.images, whole.images) and torch.equal(back.y, whole.y)
    assert back.soft_labels is not None and torch.equal(back.soft_labels, soft.target())
    assert torch.equal(back.scalars["rate"], whole.scalars["rate"])
    assert torch.equal(back.whitening["mean"], whole.whitening["mean"])
    assert (back.space, back.class_names, back.plan) == (SPACE, NAMES, plan)
    assert {k: back.meta[k] for k in whole.meta} == whole.meta
    again = back.save(tmp_path / "again")
    assert (again / "distilled.json").read_bytes() == (tmp_path / "set" / "distilled.json").read_bytes()


def test_every_file_is_there_and_hashed(tmp_path: Path) -> None:
    folder = artefact().save(tmp_path / "set", files={"metrics.jsonl": b'{"step": 0}\n'})
    content = json.loads((folder / "distilled.json").read_text())
    names = {"distilled.safetensors", "README.md", "grid.png", "metrics.jsonl"}
    assert set(content["sha256"]) == names
    assert {path.name for path in folder.iterdir()} == names | {"distilled.json"}
    for name, digest in content["sha256"].items():
        assert sha256((folder / name).read_bytes()) == digest
    assert content["schema_version"] == 1
    assert content["images_bytes"] == 6 * 64 * 4 and content["labels_bytes"] == 6 * 8
    assert soft_artefact().labels_bytes == 6 * 8 + 6 * 3 * 4


def test_dataset_pairs_images_with_labels_or_soft_targets() -> None:
    plain, soft = artefact(), soft_artefact()
    assert plain.dataset()[4][1].item() == plain.y[4]
    assert torch.equal(soft.dataset()[4][1], soft.target()[4])
    loader = torch.utils.data.DataLoader(plain.dataset(), batch_size=4)
    assert [len(labels) for _, labels in loader] == [4, 2]


@pytest.mark.parametrize("make", [artefact, soft_artefact])
def test_the_loader_of_the_card_runs(make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make()
    folder = made.save(tmp_path / "set")
    [code] = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    statements = [line for line in code.splitlines() if line.strip()]
    assert len(statements) <= 15 and "infodistill" not in code
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(compile(code, "card", "exec"), names)
    assert torch.equal(names["dataset"].tensors[0], made.images)
    assert torch.equal(names["dataset"].tensors[1], made.y if made.soft_labels is None else made.soft_labels)
    pixels = torch.rand(4, 1, 8, 8)
    assert torch.allclose(names["prepare"](pixels), SPACE.from_pixels(pixels))
    torch.nn.functional.cross_entropy(torch.zeros(6, 3), names["dataset"].tensors[1])


def test_card_has_a_header_and_survives_hostile_names(tmp_path: Path) -> None:
    nasty = ("a|b", "<script>alert(1)</script>", 'quote"\nnewline \\[x](http://evil) ![y](z) `code`')
    made = artefact(data='x"\n---\nlicense: stolen', method="../../etc", label="x")
    folder = Distilled(made.images, made.y, SPACE, nasty, meta=made.meta).save(tmp_path / "set")
    text = (folder / "README.md").read_text()
    head = text.split("---\n")[1]
    assert "stolen" not in [line.partition(":")[2].strip() for line in head.splitlines()]
    assert "<script>" not in text and LOADER in text
    [classes] = [line for line in text.splitlines() if line.startswith("| Classes")]
    assert not set("[]()!`\\<>") & set(classes) and classes.count("|") == 3
    assert load(folder).class_names == nasty
    assert safe_name("../../etc/passwd") == "etc-passwd" and safe_name("..") == "unnamed"


def test_grid_is_a_picture_of_the_right_size(tmp_path: Path) -> None:
    folder = artefact(ipc=2).save(tmp_path / "set")
    with Image.open(folder / "grid.png") as picture:
        assert picture.size == (2 * 58 + 2, 3 * 58 + 2)
    assert "clipped to [0, 1]" in (folder / "README.md").read_text()


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


def test_data_that_does_not_fit() -> None:
    real, made = real_data(), artefact()
    made.check(real)
    other = RealData(real.images, real.labels, NAMES[::-1], SPACE, "toys")
    with pytest.raises(ValueError, match="another order"):
        made.check(other)
    with pytest.raises(ValueError, match="other classes"):
        made.check(RealData(real.images, real.labels, ("x", "y", "z"), SPACE, "toys"))
    with pytest.raises(ValueError, match=r"\(1, 8, 8\)"):
        made.check(real_data(side=6))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("images", torch.zeros(6, 8, 8), "images must be"),
        ("images", torch.full((6, 1, 8, 8), float("nan")), "finite"),
        ("y", torch.tensor([0, 0, 1, 1, 2, 3]), r"0\.\.2"),
        ("soft_labels", torch.zeros(6, 2), "soft labels"),
        ("soft_labels", torch.full((6, 3), 0.4), "sums off by 0.2"),
        ("soft_labels", torch.tensor([[1.5, -0.5, 0.0]] * 6), "down to -0.5"),
        ("soft_labels", torch.full((6, 3), float("nan")), "sum 1"),
        ("soft_labels", torch.eye(3).long().repeat(2, 1), "rows of floats"),
        ("y", torch.tensor([0.0, 0.0, 1.0, 1.0, 2.0, 2.0]), "y integers"),
        ("images", torch.zeros(6, 1, 8, 8, dtype=torch.uint8), "images must be floats"),
        ("plan", ("all",), "a phase of the plan must be a mapping, got 'all'"),
    ],
)
def test_contradictory_sets_are_refused(field: str, value: Any, message: str) -> None:
    made = artefact()
    parts = {"images": made.images, "y": made.y, field: value}
    with pytest.raises(ValueError, match=message):
        Distilled(space=SPACE, class_names=NAMES, **parts)


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
