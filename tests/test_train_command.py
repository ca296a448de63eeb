"""`infodistill train`: the network that evaluation tests, stored so that its README's own lines use it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from typer.testing import CliRunner

import infodistill
from infodistill.cli import app
from infodistill.distilled import Distilled
from infodistill.evaluation.assessing import opened
from infodistill.evaluation.evaluating import evaluate
from infodistill.evaluation.network_for_use import LOADER, lasting, save_network, train
from infodistill.evaluation.protocols import EvaluationProtocol
from infodistill.real import RealData
from infodistill.types import ValueSpace
from infodistill.whitening import fit_whitening
from toys import artefact, real_data

HOW = EvaluationProtocol("brief", epochs=8, full_epochs=1, lr=0.1)


def whitened(real: RealData) -> Distilled:
    plain, space = artefact(3), ValueSpace((0.0,), (1.0,), fit_whitening(real))
    images = space.from_pixels(plain.space.to_pixels(plain.images))
    return Distilled(images, plain.y, space, plain.class_names, meta=plain.meta)


def loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that the README's code defines when it is run beside the files."""
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    assert code == LOADER
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    return names


@pytest.mark.parametrize("make", [lambda real: artefact(3), whitened], ids=["normalised", "whitened"])
def test_the_readme_loads_the_network_that_was_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    real = real_data()
    set_ = make(real)
    result = train(set_, real, "convnet1-w4", protocol=HOW)
    about = save_network(result, set_, tmp_path / "model")
    assert json.loads((tmp_path / "model" / "model.json").read_text()) == about
    names = loaded(tmp_path / "model", monkeypatch)
    test = real.test
    assert test is not None
    pixels: Tensor = test.images.float() / 255
    told = names["classify"](pixels)
    wanted = [real.class_names[label] for label in test.labels.tolist()]
    assert sum(a == b for a, b in zip(told, wanted, strict=True)) / len(wanted) == pytest.approx(about["accuracy"])


def test_it_is_the_network_of_evaluate_and_the_first_not_the_best(tmp_path: Path) -> None:
    real, set_ = real_data(), artefact(3)
    result = train(set_, real, "convnet1-w4", seeds=range(3), protocol=HOW)
    nets = {"convnet1-w4": infodistill.nets.by_name("convnet1-w4")}
    scores = evaluate(set_, real, nets, protocol=HOW, seeds=range(3), full=True, cache=tmp_path)
    assert result.accuracies == scores.nets["convnet1-w4"]["distilled"].values
    assert result.accuracy == result.accuracies[0] and not result.full and "not known" in result.words()
    known = train(set_, real, "convnet1-w4", protocol=HOW, cache=tmp_path)
    assert known.full == scores.nets["convnet1-w4"]["full"].values and "full data: " in known.words()
    with pytest.raises(ValueError, match="at least one network"):
        train(set_, real, "convnet1-w4", seeds=(), protocol=HOW)


@pytest.mark.parametrize("verb", ["import", "export", "train"])
def test_help_has_an_example(verb: str) -> None:
    shown = CliRunner().invoke(app, [verb, "--help"], catch_exceptions=False).output
    assert f"Example: infodistill {verb}" in shown


def test_the_command(tmp_path: Path) -> None:
    real = infodistill.load_data("digits")
    rows = real.rows(real.sample(0, 1))
    meta = {"data": "digits", "fingerprint": real.fingerprint, "net": "convnet1-w4", "source": {"data": "digits"}}
    how = {"name": "brief", "epochs": 4, "full_epochs": 1}
    set_ = Distilled(rows.x, rows.y, real.space, real.class_names, meta={**meta, "protocol": how}).save(
        tmp_path / "set"
    )
    args = ["train", str(set_), "--out", str(tmp_path / "model"), "--seeds", "2", "--json"]
    result = CliRunner().invoke(app, args, catch_exceptions=False)
    told = json.loads(result.stdout)
    assert (told["net"], len(told["accuracies"]), told["classes"]) == ("convnet1-w4", 2, list(real.class_names))
    assert (
        told["trained_on_sha256"]
        == json.loads((set_ / "distilled.json").read_text())["sha256"]["distilled.safetensors"]
    )
    assert {name.split(".")[0] for name in load_file(tmp_path / "model" / "model.safetensors")} == {
        "blocks",
        "classifier",
    }
    assert torch.isfinite(load_file(tmp_path / "model" / "model.safetensors")["classifier.weight"]).all()
    for extra, words in ((["--net", "nonet"], "unknown network"), (["--out", str(set_)], "holds other files")):
        wrong = CliRunner().invoke(app, [*args, *extra])
        assert wrong.exit_code == 2 and words in wrong.stderr


@pytest.mark.parametrize("meta", [{"recipe": {"dataset": "mnist"}}, {"data": "hf:ylecun/mnist"}, {}], ids=str)
def test_it_is_trained_under_the_protocol_that_evaluate_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meta: dict[str, Any]
) -> None:
    real = infodistill.load_data("digits")
    rows = real.rows(real.sample(0, 1))
    about = {"data": "", "fingerprint": real.fingerprint, "net": "convnet1-w4", "source": {"data": "digits"}, **meta}
    set_ = Distilled(rows.x, rows.y, real.space, real.class_names, meta=about).save(tmp_path / "set")
    seen: dict[str, EvaluationProtocol] = {}

    def caught(*args: Any, protocol: EvaluationProtocol, **options: Any) -> None:
        seen["train"] = protocol
        raise ValueError("caught")

    monkeypatch.setattr("infodistill.evaluation.network_for_use.train", caught)
    for name in ("dc", "dsa"):
        result = CliRunner().invoke(app, ["train", str(set_), "--out", str(tmp_path / "model"), "--protocol", name])
        assert "caught" in result.stderr and seen["train"] == opened(set_, protocol=name).protocol
        if name == "dc":
            assert (seen["train"].epochs == 1000) == bool(meta)
        else:
            assert "flip" not in seen["train"].augment
    CliRunner().invoke(app, ["train", str(set_), "--out", str(tmp_path / "model"), "--protocol", "dc", "--epochs", "7"])
    assert seen["train"].fit(rows=10).epochs == 7 and seen["train"].name == "dc"


def test_epochs_contradict_a_plan_of_its_own() -> None:
    planned = replace(artefact(3), plan=({"rows": None, "rates": None, "epochs": 4},))
    with pytest.raises(ValueError, match="--epochs is of no use here"):
        lasting(planned, HOW, 7)
    assert lasting(artefact(3), replace(HOW, updates=100), 7).passes(1000) == 7
