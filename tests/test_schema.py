"""Schema version 1 is readable for ever: an artefact as the first release wrote it. Never write this folder again."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from infodistill import artefact, load
from infodistill.evaluation.evaluating import protocol_of, scored
from infodistill.manifest import changed_files
from infodistill.serialise import canonical_json, pretty_json, sha256
from toys import NAMES, Affine, real_data

FOLDER = Path(__file__).parent / "fixtures" / "artefact-v1"
HASHES = {
    "factors.basis": "4c9c4f354e74153d",
    "factors.rows": "84a3baa07e169ca4",
    "images": "7b08013fa3049179",
    "labels": "b8d04b8e4644977d",
    "scalars.lr": "8b35fe1a9b331dc0",
    "soft_labels": "28e87810089223d8",
    "whitening.matrix": "4bf1a4c85976fa5f",
    "whitening.mean": "8f97b3556f9b9676",
}
"""The first 16 digits of the sha256 of every tensor's bytes."""


def test_every_tensor_is_the_one_that_was_written() -> None:
    found = load(FOLDER)
    whitening = found.space.whitening
    assert whitening is not None and found.soft_labels is not None
    tensors = {
        "images": found.images,
        "labels": found.y,
        "soft_labels": found.soft_labels,
        **{f"scalars.{name}": value for name, value in found.scalars.items()},
        **{f"factors.{name}": value for name, value in found.factors.items()},
        **{f"whitening.{name}": value for name, value in whitening.tensors().items()},
    }
    assert {name: hashlib.sha256(t.numpy().tobytes()).hexdigest()[:16] for name, t in tensors.items()} == HASHES


def test_what_the_manifest_says_is_understood() -> None:
    found = load(FOLDER)
    assert (found.class_names, found.shape, found.ipc, found.stored_ipc) == (NAMES, (1, 8, 8), 2, 1)
    assert found.plan[0] == {"rows": [0, 2, 4], "rates": 0.02, "epochs": 2} and len(found.plan) == 2
    assert (found.images_bytes, found.labels_bytes) == (3 * 64 * 4 + 16, 6 * 8 + 18 * 4)
    assert found.meta["notes"] == {"kept": "as version 1 wrote it"} and found.meta["license"] == "MIT"
    assert artefact.measure_of(FOLDER) is not None and artefact.log_of(FOLDER) == b'{"step": 0, "loss": 1.0}\n'
    assert not changed_files(FOLDER)


def test_it_is_evaluated_as_it_says() -> None:
    found, real = load(FOLDER), real_data()
    assert protocol_of(found, real).epochs == 4
    score = scored(found, real, Affine, seeds=range(2))
    assert (score.n, score.sets) == (2, 1) and all(0 <= value <= 1 for value in score.values)
    assert real.fingerprint == found.meta["fingerprint"]


def test_saving_it_again_changes_no_tensor(tmp_path: Path) -> None:
    again = load(load(FOLDER).save(tmp_path / "copy"))
    assert torch.equal(again.images, load(FOLDER).images) and again.meta == load(FOLDER).meta


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_other_versions_are_refused(tmp_path: Path, version: object) -> None:
    shutil.copytree(FOLDER, tmp_path / "set")
    content = json.loads((tmp_path / "set" / "distilled.json").read_text()) | {"schema_version": version}
    content.pop("manifest_sha256")
    content["manifest_sha256"] = sha256(canonical_json(content).encode())
    (tmp_path / "set" / "distilled.json").write_bytes(pretty_json(content))
    with pytest.raises(ValueError, match=f"schema version {version}, this release reads version 1"):
        load(tmp_path / "set")
