"""`infodistill sample --calibrate` with a model of random weights: what is tried, on which images, how precisely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import infodistill
from infodistill.diffusion import mgd3
from infodistill.diffusion.running import making
from infodistill.distilled import Distilled
from infodistill.real import RealData
from tinymodel import STEPS, call, sampled, tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Distilled]:
    """A judge that likes the last setting best, and keeps the sets it saw; it never sees test data."""
    shown: list[Distilled] = []

    def judge_by_order(*args: object, **settings: object) -> Any:
        def judge(made: Distilled, rest: RealData) -> list[float]:
            assert rest.test is not None and len(rest) + len(rest.test) == 1297
            shown.append(made)
            return [len(shown) / 20]

        return judge

    monkeypatch.setattr(making, "held_out_accuracy", judge_by_order)
    return shown


def calibration(model: Path, out: Path, *args: str, budget: int = 3) -> dict[str, Any]:
    sampled(model, out, "--ipc", "2", "--calibrate", "--budget", str(budget), *args)
    return infodistill.load(out).meta["guidance"]["calibration"]


@pytest.mark.parametrize(
    ("method", "best"),
    [("igds", {"s": 0.3, "h": 1.0}), ("mgd3", {"pull": 0.03, "until": 0.5}), ("dit", {"weight": 5.0})],
)
def test_calibration_chooses_within_its_budget(
    model: Path, tmp_path: Path, seen: list[Distilled], method: str, best: dict[str, float]
) -> None:
    """Nothing, the default, its first neighbour (plain sampling: its second): the third is chosen."""
    told = calibration(model, tmp_path / "run", "--method", method)
    assert [len(made) for made in seen] == [20, 20, 20] and len(told["cells"]) == 3 and told["budget"] == 3
    assert best.items() <= told["chosen"]["setting"].items()
    call("sample", "--out", tmp_path / "run", "--resume")
    assert len(seen) == 3  # kept in calibration.json


def test_settings_that_were_given_stay_while_the_rest_is_chosen(
    model: Path, tmp_path: Path, seen: list[Distilled], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = calibration(model, tmp_path / "igds", "--set", "bandwidth=2.0", "--set", "clip=0.5", budget=2)
    assert all(set(cell["setting"]) == {"s", "push"} for cell in told["cells"])
    bandwidths = [
        infodistill.load(out).meta["guidance"]["prototype"]["bandwidth"]
        for out in (tmp_path / "igds", sampled(model, tmp_path / "plainly", "--ipc", "2", "--set", "bandwidth=2.0"))
    ]
    assert bandwidths[0] == bandwidths[1]
    starts: list[int] = []
    found = mgd3.modes

    def modes(*args: Any, n_init: int) -> Tensor:
        starts.append(n_init)
        return found(*args, n_init=n_init)

    monkeypatch.setattr(mgd3, "modes", modes)
    told = calibration(
        model, tmp_path / "mgd3", "--method", "mgd3", "--set", "until=0.3", "--set", "n_init=2", budget=2
    )
    assert all(set(cell["setting"]) == {"pull"} for cell in told["cells"]) and starts == [2] * 3
    facts = infodistill.load(tmp_path / "mgd3").meta["guidance"]
    assert (facts["until"], facts["n_init"], facts["pull"]) == (0.3, 2, told["chosen"]["setting"]["pull"])
    calibration(model, tmp_path / "dit", "--method", "dit", "--sampler", "dpm-solver", budget=2)
    assert infodistill.load(tmp_path / "dit").meta["sampling"]["sampler"] == "dpm-solver"


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("--scale", "0"), "--calibrate chooses how hard to push: leave --scale out"),
        (("--method", "mgd3", "--set", "pull=0"), "--calibrate chooses how hard to push: leave --set pull out"),
        (("--method", "dit", "--cfg", "2"), "--calibrate chooses how hard to push: leave --cfg out"),
        (("--prototype", "none", "--ipc", "1"), "nothing is left to calibrate: no term that acts at 1 images"),
    ],
)
def test_what_calibration_would_override_is_refused(
    model: Path, tmp_path: Path, args: tuple[str, ...], sentence: str
) -> None:
    asked = ("sample", "--data", "digits", "--generator", model, "--calibrate")
    told = call(*asked, *args, "--out", tmp_path / "out", code=2)
    assert sentence in " ".join(told.split()) and "Traceback" not in told


def test_held_out_images_are_shown_to_no_classifier_that_guides_while_settings_are_chosen(
    model: Path, tmp_path: Path, seen: list[Distilled], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two classifiers: of the rest, which guides the candidates, and of all images, which guides the set."""
    trained: dict[int, list[Tensor]] = {}

    def classifier(model: object, real: RealData, **settings: object) -> Any:
        asked = trained.setdefault(len(real), [])
        shift = 0.1 if len(real) == 1297 else -0.1

        def logits(x: Tensor, sigma: Tensor) -> Tensor:
            asked.append(x)
            return shift * x.flatten(1)[:, :10]

        return logits

    monkeypatch.setattr(making, "noise_aware_classifier", classifier)
    assert calibration(model, tmp_path / "run", "--prototype", "p1", budget=2)["cells"][1]["setting"]["s"] == 0.2
    rest = seen[0].meta["fingerprint"]
    assert rest != infodistill.load_data("digits").fingerprint and set(trained) == {1297, 1038}
    assert len(trained[1038]) == STEPS - 1  # one guided set: that of no push asks nobody
    assert len(trained[1297]) == 2 * (STEPS - 1)  # and that of the run, which is watched too


def test_settings_are_chosen_in_the_precision_of_the_run(model: Path, tmp_path: Path, seen: list[Distilled]) -> None:
    for precision in ("float32", "bf16"):
        calibration(model, tmp_path / precision, "--method", "dit", "--precision", precision, budget=1)
    exact, rounded = (made.images for made in seen)
    assert float((exact - rounded).abs().max()) > 0 and not torch.equal(exact, rounded)
