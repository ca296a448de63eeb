"""The distilled set: exact round trips, a card whose loader runs, and contradictory sets refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from infodistill.card import LOADER
from infodistill.distilled import Distilled, load
from infodistill.methods.dm import dm
from infodistill.nets.convnet import convnet
from infodistill.real import RealData
from infodistill.serialise import safe_name, sha256
from toys import NAMES, SPACE, artefact, real_data, soft_artefact


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
        plan=plan,
        meta={"data": "toys", "recipe": {"steps": 10, "lr": 0.1}, "protocol": "quick", "seed": 3},
    )
    back = load(whole.save(tmp_path / "set"))
    assert torch.equal(back.images, whole.images) and torch.equal(back.y, whole.y)
    assert back.soft_labels is not None and torch.equal(back.soft_labels, soft.target())
    assert torch.equal(back.scalars["rate"], whole.scalars["rate"])
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


def test_objects_introduce_themselves_in_a_line() -> None:
    """A notebook shows the last expression: never a dump of tensors or of an address."""
    real = real_data()
    job = dm(real, convnet(depth=1, width=4), ipc=2, real_per_class=4)
    for thing in (real, job, job.syn, job.export(), artefact()):
        told = repr(thing)
        assert type(thing).__name__ in told and "\n" not in told and "0x" not in told and len(told) < 300
