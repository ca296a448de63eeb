"""`infodistill tune`: the rule, the budget, what is known is not tried again, and both commands it serves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import infodistill
from infodistill.cli import app
from infodistill.distilled import Distilled
from infodistill.running.asking import Asked
from infodistill.tuning.settings import Budget, Trial, chosen, grid, record, tune, within
from infodistill.tuning.tuned import Distilling, Held, axes_of, changed
from infodistill.types import ValueSpace
from tinymodel import tiny_model


def trial(value: float, *accuracies: float) -> Trial:
    return Trial({"s": value}, accuracies, 1.0, 10)


def test_the_first_within_a_standard_error_of_the_best_is_chosen() -> None:
    trials = [trial(0, 0.80, 0.80), trial(1, 0.88, 0.90), trial(2, 0.86, 0.94)]  # best 0.90, its error 0.04
    assert chosen(trials).setting == {"s": 1}
    assert chosen([trials[0], replace(trials[2], accuracies=(0.90, 0.90)), trials[1]]).setting == {"s": 2}
    assert chosen([trial(0, 0.5), trial(1, 0.5)]).setting == {"s": 0}
    alone = record([trial(0, 0.5), trial(1, 0.6)], 2, Budget(2), {})
    assert alone["chosen"] == {"s": 1} and "best mean" in alone["rule"]
    told = record(trials, 9, Budget(3), {"nets": 2})
    assert "one standard error" in told["rule"]
    assert (told["best"], told["chosen"], told["settings_tried"], told["settings_of_the_grid"]) == (
        {"s": 2}, {"s": 1}, 3, 9,
    )  # fmt: skip


def test_a_grid_and_its_draw() -> None:
    settings = grid({"a": [0, 1], "b": [0, 1, 2]})
    assert settings[:4] == [{"a": 0, "b": 0}, {"a": 0, "b": 1}, {"a": 0, "b": 2}, {"a": 1, "b": 0}]
    drawn = within(settings, 4, seed=3)
    assert len(drawn) == 4 and drawn[0] == settings[0] and [s for s in settings if s in drawn] == drawn
    assert drawn == within(settings, 4, seed=3) and within(settings, 6, 0) == settings
    assert {len(within(settings, 4, seed)) for seed in range(5)} == {4}
    assert len({str(within(settings, 4, seed)) for seed in range(9)}) > 1
    for axes in ({}, {"a": [1]}, {"a": [1, 1, 2]}):
        with pytest.raises(ValueError, match="--try"):
            grid(axes)


def test_axes_and_flags_of_a_setting() -> None:
    assert axes_of(["steps=5,10", "cmi=0,ratio:0.1"]) == {"steps": [5, 10], "cmi": [0, "ratio:0.1"]}
    assert axes_of(["cmi=ratio:0,0.1"]) == {"cmi": ["ratio:0", "ratio:0.1"]}  # as --add reads it
    with pytest.raises(ValueError, match="key=value,value"):
        axes_of(["steps"])
    with pytest.raises(ValueError, match="twice"):
        axes_of(["a=1,2", "a=3,4"])
    asked = Asked(data="digits", add=("cmi=1", "mim"), set=("lr=1",))
    made = changed(asked, {"cmi": "ratio:0.1", "ipc": 5, "momentum": 0.5})
    assert made == Asked(data="digits", add=("mim", "cmi=ratio:0.1"), ipc=5, set=("lr=1", "momentum=0.5"))
    assert changed(asked, {"cmi": 0}).add == ("mim",)


def set_of(value: float) -> Distilled:
    space = ValueSpace((0.0,), (1.0,))
    return Distilled(torch.full((2, 1, 2, 2), value), torch.arange(2), space, ("a", "b"))


def test_what_is_known_is_not_tried_again_and_the_budget_ends_it(tmp_path: Path) -> None:
    made: list[Any] = []

    def make(setting: Any, folder: Path) -> Distilled:
        made.append(setting["s"])
        return set_of(float(setting["s"]))

    def judge(distilled: Distilled) -> list[float]:
        if float(distilled.images.mean()) == 2 and made.count(2) == 1:
            raise KeyboardInterrupt  # stopped in the middle of the third
        return [float(distilled.images.mean()) / 10]

    settings = [{"s": s} for s in range(4)]
    options: dict[str, Any] = {"budget": Budget(4), "circumstances": {"data": "x"}}
    with pytest.raises(KeyboardInterrupt):
        tune(settings, make, judge, tmp_path, **options)
    trials = tune(settings, make, judge, tmp_path, **options)
    assert made == [0, 1, 2, 2, 3]
    assert [t.setting["s"] for t in trials] == [0, 1, 2, 3] and trials[3].accuracies == (0.3,)
    with pytest.raises(ValueError, match="another data"):
        tune(settings, make, judge, tmp_path, budget=Budget(4), circumstances={"data": "y"})
    short = tune(settings, make, judge, tmp_path / "b", budget=Budget(4, seconds=1e-12), circumstances={})
    assert len(short) == 1  # one is tried, else there is nothing to choose from
    for wrong in ({"settings": 1}, {"seconds": 0.0}):
        with pytest.raises(ValueError, match="budget"):
            Budget(**wrong)


def test_distilling_is_tuned_on_training_images_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFODISTILL_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    flags = ["tune", "--data", "digits", "--ipc", "1", "--nets", "1", "--out", str(out)]
    told = CliRunner().invoke(app, [*flags, "--try", "steps=1,3", "--json"])
    assert told.exit_code == 0, told.output
    facts = json.loads(told.stdout)
    assert "129 held-out images, 1 network; to be chosen: the best mean" in told.stderr
    assert " ± " not in told.stderr  # a spread of one network
    assert [entry["setting"] for entry in facts["trials"]] == [{"steps": 1}, {"steps": 3}]
    assert facts == json.loads((out / "tune.json").read_text()) and (out / "tune.png").stat().st_size > 1000
    assert facts["held_out_images"] == 129 and facts["fraction"] == 0.1
    best = infodistill.load(out / "best")
    assert best.meta["steps"] == facts["chosen"]["steps"]
    assert best.meta["validation"]["chosen"] == facts["chosen"]
    assert best.meta["fingerprint"] == infodistill.load_data("digits").fingerprint  # from all training images
    again = CliRunner().invoke(app, [*flags, "--try", "steps=1,3", "--json"])
    assert again.exit_code == 0 and json.loads(again.stdout)["trials"] == facts["trials"]
    longer = CliRunner().invoke(app, [*flags, "--try", "steps=1,3,9", "--set", "lr=10.0", "--json"])
    assert longer.exit_code == 2 and "another" in longer.output
    other = CliRunner().invoke(app, [*flags, "--validate", "0.2", "--try", "steps=1,3"])
    assert other.exit_code == 2 and "another" in other.output


def test_sampling_is_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFODISTILL_CACHE", str(tmp_path / "cache"))
    model, out = tiny_model(tmp_path / "model"), tmp_path / "out"
    flags = ["tune", "--data", "digits", "--method", "igds", "--ipc", "2", "--steps", "3", "--nets", "1"]
    told = CliRunner().invoke(app, [*flags, "--generator", str(model), "--try", "beta=0,0.5", "--out", str(out)])
    assert told.exit_code == 0, told.output
    best = infodistill.load(out / "best")
    assert best.meta["guidance"]["beta"] == best.meta["validation"]["chosen"]["beta"]
    assert "may have seen" in best.meta["validation"]["generator_note"]
    for axis in ("data=digits,mnist", "scal=1,2", "precision=float32,bf16"):
        wrong = CliRunner().invoke(
            app, [*flags, "--generator", str(model), "--try", axis, "--out", str(tmp_path / "w")]
        )
        assert wrong.exit_code == 2 and "nothing to choose" in wrong.output
    assert not (tmp_path / "w").exists()


def test_test_images_choose_nothing(tmp_path: Path) -> None:
    scores: list[list[float]] = []
    for number, other in enumerate((False, True)):
        runs = Distilling(Asked(data="digits", ipc=1), Held(0.1, 1))
        if other:  # other images to test on: nothing may change
            runs.base.real.test = infodistill.load_data("digits").split(0.5, 7)[1]
        scores.append(list(runs.judge(runs.make({"steps": 2}, tmp_path / str(number)))))
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--try", "steps=10"], "at least two"),
        (["--try", "steps=1,2", "--validate", "1"], "--validate"),
        (["--try", "nonsense=1,2"], "nonsense"),
        (["--try", "cmi=0,much"], "much"),
        (["--try", "steps=1,2", "--generator", "x"], "--generator"),
        (["--try", "protocol=dsa,quick"], "one protocol"),
        (["--method", "igds", "--try", "beta=0,1", "--net", "mlp"], "--net"),
    ],
    ids=["one value", "fraction", "unknown key", "strength", "generator", "protocol", "net"],
)
def test_mistakes_are_told_in_one_sentence(tmp_path: Path, flags: list[str], said: str) -> None:
    told = CliRunner().invoke(app, ["tune", "--data", "digits", "--ipc", "1", "--out", str(tmp_path / "o"), *flags])
    assert told.exit_code == 2 and said in told.output and "Traceback" not in told.output
    assert not (tmp_path / "o").exists()
