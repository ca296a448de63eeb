"""Sets with learned labels, factors and scalars on disk: round trips, bytes, the card and its loader, old artefacts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from infodistill.distilled import Distilled, load
from infodistill.serialise import canonical_json, pretty_json, sha256
from infodistill.types import LabelKind
from toys import NAMES, SPACE, artefact, soft_artefact


def scored() -> Distilled:
    plain = artefact()
    scores = (plain.target() - 1 / 3) / 0.3**0.5 + 0.1 * torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    return replace(plain, soft_labels=scores, label_kind=LabelKind.SCORES)


def factored() -> Distilled:
    plain = artefact()
    factors = {"rows": torch.randn(6, 2), "bases": torch.randn(2, 1, 4, 4)}
    return replace(plain, factors=factors, scalars={"rate": torch.tensor(0.1)})


def test_scores_round_trip_with_their_kind(tmp_path: Path) -> None:
    made = scored()
    folder = made.save(tmp_path / "set")
    back = load(folder)
    assert back.label_kind is LabelKind.SCORES and back.batch().kind is LabelKind.SCORES
    assert back.soft_labels is not None and torch.equal(back.soft_labels, made.target())
    assert json.loads((folder / "distilled.json").read_text())["label_kind"] == "scores"
    assert "label_kind" not in back.meta
    again = back.save(tmp_path / "again")
    assert (again / "distilled.json").read_bytes() == (folder / "distilled.json").read_bytes()


def test_a_reader_that_knows_no_scores_finds_hard_labels_only(tmp_path: Path) -> None:
    tensors = load_file(scored().save(tmp_path / "set") / "distilled.safetensors")
    assert "soft_labels" not in tensors and torch.equal(tensors["labels"], artefact().y)


def test_factors_round_trip_and_count(tmp_path: Path) -> None:
    made = factored()
    back = load(made.save(tmp_path / "set"))
    assert set(back.factors) == {"rows", "bases"} and set(back.scalars) == {"rate"}
    assert all(torch.equal(back.factors[name], value) for name, value in made.factors.items())
    assert back.images_bytes == made.images_bytes == 4 * (12 + 32) and back.scalars_bytes == 4
    assert json.loads((tmp_path / "set" / "distilled.json").read_text())["images_bytes"] == 4 * 44
    assert artefact().images_bytes == 6 * 64 * 4


def test_artefacts_of_older_releases_are_read(tmp_path: Path) -> None:
    folder = soft_artefact().save(tmp_path / "set")
    content = json.loads((folder / "distilled.json").read_text())
    content.pop("manifest_sha256"), content.pop("label_kind")
    content["manifest_sha256"] = sha256(canonical_json(content).encode())
    (folder / "distilled.json").write_bytes(pretty_json(content))
    back = load(folder)
    assert back.label_kind is LabelKind.PROBABILITIES and back.soft_labels is not None and not back.factors


@pytest.mark.parametrize("make", [scored, soft_artefact, factored, artefact])
def test_the_loader_of_the_card_finds_the_right_targets(make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make()
    folder = made.save(tmp_path / "set")
    [code] = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(compile(code, "card", "exec"), names)
    x, targets = names["dataset"].tensors
    assert torch.equal(x, made.images)
    assert torch.equal(targets, made.y if made.soft_labels is None else made.soft_labels)
    loss = torch.nn.functional.mse_loss if made.label_kind is LabelKind.SCORES else torch.nn.functional.cross_entropy
    assert loss(torch.zeros(6, 3), targets).isfinite()


def test_the_card_says_what_the_labels_and_images_are(tmp_path: Path) -> None:
    text = (scored().save(tmp_path / "scores") / "README.md").read_text()
    assert "| Labels | regression scores, 120 bytes |" in text and "by squared error" in text
    text = (soft_artefact().save(tmp_path / "soft") / "README.md").read_text()
    assert "| Labels | soft, 120 bytes |" in text and "- The labels (`scores`)" not in text
    text = (factored().save(tmp_path / "factors") / "README.md").read_text()
    assert "decoded from rows (6×2), bases (2×1×4×4), which take 176 bytes" in text
    assert "| Learned beside them | rate (one number) |" in text


def test_hard_labels_of_a_set_with_scores() -> None:
    hard = scored().hard()
    assert hard.soft_labels is None and hard.batch().kind is LabelKind.PROBABILITIES
    assert torch.equal(hard.target(), artefact().target())


@pytest.mark.parametrize(
    ("labels", "kind", "message"),
    [
        (None, LabelKind.SCORES, "hard labels are probabilities"),
        (torch.full((6, 3), float("inf")), LabelKind.SCORES, "finite floats"),
        (torch.zeros(6, 3, dtype=torch.int64), LabelKind.SCORES, "finite floats"),
        (torch.zeros(6, 2), LabelKind.SCORES, r"must be \(6, 3\)"),
        (torch.randn(6, 3), LabelKind.PROBABILITIES, "rows of floats >= 0"),
    ],
)
def test_labels_that_contradict_their_kind(labels: Any, kind: LabelKind, message: str) -> None:
    made = artefact()
    with pytest.raises(ValueError, match=message):
        Distilled(made.images, made.y, SPACE, NAMES, soft_labels=labels, label_kind=kind)
