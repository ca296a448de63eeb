"""Schema version 1 for ever, the rest: regression scores, guidance, and evaluations as version 1 first stored them.

The folder was written by the first release and is never written again. Its results.json has two protocols, networks
that were evaluated one by one, and robust scores.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from infodistill import load, nets
from infodistill.artefact import record_result, results_of
from infodistill.evaluation.evaluating import evaluate, protocol_of, scored
from infodistill.evaluation.result import seeds_of, values_of
from infodistill.manifest import changed_files
from infodistill.report import report
from infodistill.running.runs import read_run
from infodistill.types import LabelKind
from toys import NAMES, Affine, real_data

FOLDER = Path(__file__).parent / "fixtures" / "artefact-v1-evaluated"
DISTILLED = {
    ("frepo", "convnet1-w4"): [13, 12, 6],
    ("frepo", "convnet2-w4"): [8, 5, 12],
    ("frepo-shifted", "convnet2-w4"): [8, 4],
}
"""Right answers of 24."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(FOLDER, tmp_path / "set")
    return tmp_path / "set"


def test_the_labels_are_the_scores_that_were_written() -> None:
    found = load(FOLDER)
    assert found.label_kind is LabelKind.SCORES and found.soft_labels is not None and found.class_names == NAMES
    hashes = [hashlib.sha256(t.numpy().tobytes()).hexdigest()[:16] for t in (found.images, found.y, found.soft_labels)]
    assert hashes == ["fe84f3ac00ac57d0", "b8d04b8e4644977d", "98a1da2c1b01beab"]
    assert (found.labels_bytes, found.ipc) == (6 * 8 + 18 * 4, 2) and not changed_files(FOLDER)


def test_it_is_evaluated_by_squared_error_as_it_says() -> None:
    found, real = load(FOLDER), real_data()
    protocol = protocol_of(found, real)
    assert (protocol.loss, protocol.optimiser, protocol.epochs) == ("squared_error", "adam", 4)
    assert scored(found, real, Affine, seeds=range(2)).n == 2


def test_every_number_of_the_evaluations_is_read() -> None:
    results = results_of(FOLDER)
    assert results is not None and list(results) == ["frepo", "frepo-shifted"]
    for (protocol, net), right in DISTILLED.items():
        assert [24 * value for value in values_of(results[protocol], net, "distilled")] == pytest.approx(right)
        assert seeds_of(results[protocol], net) == list(range(len(right)))
        assert results[protocol]["nets"][net]["distilled"]["n"] == len(right)
    assert results["frepo"]["net_seconds"] == {"convnet1-w4": 2.094, "convnet2-w4": 0.129}
    assert results["frepo"]["nets"]["convnet2-w4"]["full"] is None
    assert len(values_of(results["frepo"], "convnet1-w4", "full")) == 3


def test_what_was_evaluated_then_stands_beside_what_is_evaluated_now(folder: Path) -> None:
    found, real, before = load(folder), real_data(), results_of(folder)
    now = evaluate(found, real, {"convnet2-w4": nets.by_name("convnet2-w4")}, seeds=range(3))
    record_result(folder, now.record())
    after = results_of(folder)
    assert before is not None and after is not None and after["frepo-shifted"] == before["frepo-shifted"]
    for column in ("random", "distilled", "full"):
        then = values_of(before["frepo"], "convnet1-w4", column)
        assert values_of(after["frepo"], "convnet1-w4", column) == then
    assert seeds_of(after["frepo"], "convnet1-w4") == [0, 1, 2]
    assert "convnet1-w4" in (folder / "README.md").read_text()


def test_guidance_and_robust_scores_are_in_the_report(folder: Path) -> None:
    run = read_run(folder)
    assert run.guidance is not None and set(run.guidance) == {
        "sigmas", "values.cmi", "pushes.cmi", "pushes.all", "labels",
    }  # fmt: skip
    assert torch.equal(run.guidance["labels"], run.distilled.y) and run.guidance["values.cmi"].shape == (3, 6)
    page = report([folder], folder).read_text()
    lrs = json.loads((FOLDER / "results.json").read_text())["frepo-shifted"]["robust"]["convnet2-w4"]["lrs"]
    assert "nats (cmi)" in page and f"{lrs:.3f}" in page
