"""Mistakes of `infodistill sample`: one sentence each, and nothing is left behind; what an artefact says of its run."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import infodistill
from infodistill.diffusion.models.pretrained import open_model
from infodistill.diffusion.running import conduct
from infodistill.diffusion.running.conduct import planned, prepare, provenance, told_of
from infodistill.diffusion.running.making import Steered
from infodistill.diffusion.running.request import SampleRequest
from infodistill.diffusion.samplers import ddim
from tinymodel import call, sampled, tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("--method", "magic"), "unknown method 'magic', sampling knows dit, igds"),
        (("--method", "dit", "--beta", "1"), "--beta says nothing to the method dit, which takes add"),
        (("--prototype", "p9"), "unknown prototype 'p9', known: p1, p2, p3"),
        (("--set", "speed=3"), "the method igds has no setting 'speed'"),
        (("--sampler", "euler"), "unknown sampler 'euler'"),
        (("--protocol", "fast"), "unknown protocol 'fast'"),
        (("--calibrate", "--beta", "0.1"), "--calibrate chooses how hard to push: leave --beta out"),
        (("--add", "love=1"), "--add takes cmi and mim"),
        (("--add", "cmi"), "--add cmi wants its push"),
        (("--cfg", "-1", "--steps", "0"), "--steps must be at least 1, got 0"),
        (("--ipc", "0"), "--ipc must be at least 1, got 0"),
        (("--most", "0"), "--most must be at least 1, got 0"),
        (("--together", "0"), "--together must be at least 1, got 0"),
        (("--steps", "2000"), "steps, got 2000"),
        (("--set", "window=[0.5, 0.5]"), "--set window wants two rising numbers in [0, 1], got [0.5, 0.5]"),
        (("--set", "window=[0.6, 0.1]"), "two rising numbers"),
        (("--set", "window=late"), "two rising numbers"),
        (("--prototype", "none", "--contextual", "none"), "leave nothing to guide by: take --method dit"),
        (("--calibrate", "--scale", "0"), "leave --scale out"),
        (("--calibrate", "--method", "dit", "--cfg", "2"), "leave --cfg out"),
        (("--calibrate", "--method", "mgd3", "--set", "pull=1"), "leave --set pull out"),
        (("--scale", "nan"), "--scale wants finite numbers, got nan"),
        (("--cfg", "inf"), "--cfg wants finite numbers, got inf"),
        (("--set", "clip=nan"), "--set wants finite numbers, got nan"),
        (("--add", "cmi=inf"), "--add wants a finite push, got cmi=inf"),
        (("--set", "clip=wide"), "--set clip wants a positive number, got 'wide'"),
        (("--set", "clip=-1"), "--set clip wants a positive number, got -1"),
        (("--set", "side=0"), "--set side wants a whole number of at least 1, got 0"),
        (("--set", "route=[1]"), "a value of --set (route=[1]) is of the wrong kind"),
        (("--method", "minimax", "--set", "lr=fast"), "--set lr wants a number, got 'fast'"),
        (("--method", "igd", "--set", "gamma=[1]"), "--set gamma wants a number, got [1]"),
        (("--method", "mgd3", "--set", "until=half"), "a value of --set (until='half') is of the wrong kind"),
        (("--set", "clip=1", "--set", "clip=2"), "--set clip is given twice: 1 and 2"),
        (("--revision", "0" * 40), "is a folder: --revision 0000"),
        (("--prototype", "p3-coupled", "--together", "2"), "needs all classes together"),
    ],
)
def test_mistakes_are_one_sentence(model: Path, tmp_path: Path, args: tuple[str, ...], sentence: str) -> None:
    told = call("sample", "--data", "digits", "--generator", model, *args, "--out", tmp_path / "out", code=2)
    assert sentence in " ".join(told.split())
    assert "Traceback" not in told and "a fault of this program" not in told
    assert not (tmp_path / "out").exists()  # a mistake leaves nothing behind


def test_a_commit_without_a_model_is_refused(tmp_path: Path) -> None:
    told = call("sample", "--data", "digits", "--revision", "0" * 40, "--out", tmp_path / "out", code=2)
    assert "--revision is the commit of a hub model" in " ".join(told.split())


@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
def test_a_setting_nobody_has_is_told_before_a_generator_is_trained(
    flags: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFODISTILL_CACHE", str(tmp_path / "cache"))
    told = call("sample", "--data", "digits", "--set", "speed=3", *flags, "--out", tmp_path / "out", code=2)
    assert "no setting 'speed'" in told and "no generator of digits" not in told
    assert not (tmp_path / "cache").exists()


def test_after_a_mistake_the_folder_is_free_and_after_a_stop_it_is_kept(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, asked = tmp_path / "out", ("sample", "--data", "digits", "--generator", model, "--ipc", "1", "--steps", "3")
    assert "no setting 'speed'" in call(*asked, "--set", "speed=3", "--out", out, code=2)

    def stopped(*args: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(conduct, "METHODS", {"igds": stopped})
        call(*asked, "--out", out, code=130)
    assert (out / "sample.json").exists()
    assert "already holds a run: continue it with --resume" in " ".join(call(*asked, "--out", out, code=2).split())
    call("sample", "--out", out, "--resume")
    assert infodistill.load(out).ipc == 1


def test_the_artefact_names_the_sampler_that_was_used(model: Path, tmp_path: Path) -> None:
    assert told_of(conduct.SAMPLERS["ddpm"]) == {"sampler": "ddpm", "variance": "learned"}
    assert told_of(conduct.SAMPLERS["dpm-solver"]) == {"sampler": "dpm-solver"}
    prepared = prepare(SampleRequest("digits", "dit", generator=str(model)), say=lambda text: None)
    plan = replace(prepared.plan, sampler=partial(ddim, eta=0.5), weight=2.0, steps=7)
    told = provenance(prepared, Steered(prepared.model, plan), 1.0)["sampling"]
    assert (told["sampler"], told["eta"], told["weight"], told["steps"]) == ("ddim", 0.5, 2.0, 7)


def test_the_limit_is_that_of_the_generator(model: Path) -> None:
    opened = open_model(str(model), infodistill.load_data("digits").class_names)
    for facts, limit in (({}, 1.5), ({"limit": None}, 1.5), ({"limit": 1.0}, 1.0)):
        assert planned(SampleRequest("digits"), replace(opened, facts=facts)).limit == limit
    assert planned(SampleRequest("digits"), replace(opened, facts={"limit": 1.0}, space=None)).limit is None


def test_the_artefact_names_no_path(model: Path, tmp_path: Path) -> None:
    out = sampled(model, tmp_path / "run", "--method", "dit", "--ipc", "1")
    told = json.loads((out / "distilled.json").read_text())
    assert str(model.parent) not in json.dumps(told)
