"""`infodistill generator train`: the folder, resuming to the bit, the cache, refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

import infodistill
from infodistill.cli import app
from infodistill.diffusion.fitting.generator_folder import find_generator, finished
from infodistill.diffusion.fitting.generator_plan import GeneratorPlan, planned
from infodistill.diffusion.fitting.generators import Training, train_generator
from infodistill.diffusion.model import Pixels
from infodistill.diffusion.models.store import load_model
from infodistill.diffusion.sampling import Plan, sample
from infodistill.real import RealData
from infodistill.types import pixel_space
from pipelines import edit

TINY = ["--steps", "12", "--batch", "8", "--set", "network.width=16", "--set", "network.depth=1"]
TINY += ["--set", "validate_every=6"]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["generator", *map(str, arguments)])


def tiny(rows: int = 40, side: int = 4, name: str = "tiny") -> RealData:
    y = torch.arange(rows) % 2
    images = (y.view(-1, 1, 1, 1) * 200).to(torch.uint8).expand(-1, 1, side, side).contiguous()
    return RealData(images, y, ("dark", "bright"), pixel_space(1), name)


def tiny_plan(real: RealData) -> GeneratorPlan:
    return planned(
        real, settings={"steps": 20, "batch": 8, "network.width": 16, "network.depth": 1, "validate_every": 5}
    )


def test_train_writes_a_model_that_can_be_sampled_and_shown(tmp_path: Path) -> None:
    out = tmp_path / "model"
    result = run("train", "--data", "digits", *TINY, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["denoises"] == "pixels (1, 8, 8)" and told["data"] == "digits"
    assert told["training"]["denoiser"]["step"] == 12 and told["training"]["denoiser"]["stopped"] == "steps"
    assert json.loads(run("show", out, "--json").stdout) == told
    assert "trained        denoiser: " in (shown := run("show", out).stdout) and "{" not in shown
    assert len(list((out / "samples").glob("step-*.png"))) == 2 and (out / "loss.png").exists()
    real = infodistill.load_data("digits")
    model = load_model(out, real.class_names)
    assert model.null and model.class_names == real.class_names and isinstance(model.codec, Pixels)
    assert model.facts["data"]["fingerprint"] == real.fingerprint
    (shown,) = sample(model, Plan(1, steps=3, weight=2.0))
    assert shown.pixels.shape == (10, 1, 8, 8)


def test_resuming_takes_totals_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "model"
    asked = ["train", "--data", "digits", "--out", out]
    assert run(*asked, *TINY).exit_code == 0
    again = run(*asked, *TINY)
    assert again.exit_code == 2 and "holds a generator: give --resume" in again.stderr
    other = run(*asked, "--resume", "--lr", "0.1")
    assert other.exit_code == 2 and "--resume takes --steps and --minutes and no other setting" in other.stderr
    longer = run(*asked, "--resume", "--steps", "15", "--json")
    assert longer.exit_code == 0, longer.output
    assert json.loads(longer.stdout)["training"]["denoiser"]["step"] == 15
    with pytest.raises(ValueError, match=r"holds a generator of other data \(digits\)"):
        train_generator(tiny(), out, tiny_plan(tiny()))


def test_a_killed_training_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    """The weights on disk are equal to the bit, and so are the sample grids."""
    real = tiny()
    plan = tiny_plan(real)
    whole = train_generator(real, tmp_path / "whole", plan)

    def killed(what: str, done: int, total: int, detail: str = "") -> None:
        if done >= 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Training(real, plan, tmp_path / "killed", killed, save_every=0.0).run()
    assert not finished(tmp_path / "killed")
    unfinished = run("show", tmp_path / "killed")
    assert unfinished.exit_code == 2 and "its training is not finished, continue it with --resume" in unfinished.stderr
    train_generator(real, tmp_path / "killed", plan)
    for name in ("denoiser/diffusion_pytorch_model.safetensors", "samples/step-000020.png"):
        assert (whole / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    with pytest.raises(ValueError, match="holds a generator with other settings"):
        train_generator(real, whole, replace(plan, denoising=replace(plan.denoising, drop=0.2)))


def test_the_cache_is_searched_by_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFODISTILL_CACHE", str(tmp_path))
    real = infodistill.load_data("digits")
    assert find_generator(real, tmp_path) is None
    first = run("train", "--data", "digits", *TINY, "--json")
    assert first.exit_code == 0, first.output
    found = find_generator(real, tmp_path)
    assert found is not None and str(found) == json.loads(first.stdout)["folder"]
    assert find_generator(tiny(), tmp_path) is None
    again = run("train", "--data", "digits", "--json")
    assert again.exit_code == 0 and "there is one already" in again.stderr
    assert again.stdout == first.stdout


def test_a_plan_survives_json_and_follows_the_size_of_the_images() -> None:
    small, large = tiny(), tiny(side=64)
    for plan in (planned(small), planned(large), planned(tiny(side=28), latent=True, seed=3)):
        assert GeneratorPlan.from_dict(json.loads(json.dumps(plan.as_dict()))) == plan
    assert planned(small).name == "pixels-mlp" and planned(large).name == "latents-dit"
    assert planned(tiny(side=28)).name == "pixels-unet" and planned(tiny(side=28), kind="dit").network["patch"] == 4
    timed = planned(large).within(10, {"autoencoder": 0.5, "denoiser": 0.1}, steps=False)
    assert timed.encoding is not None and timed.encoding.fit.minutes == pytest.approx(3.5)
    assert timed.denoising.fit.steps == pytest.approx(0.85 * 6.5 * 60 / 0.1, abs=1)
    assert timed.denoising.fit.validate_every == timed.denoising.fit.steps // 20
    kept = planned(small, settings={"steps": 100, "ema": 0.5}).within(1, {"denoiser": 0.01}, steps=False)
    assert kept.denoising.fit.ema == 0.5


def test_mistakes_are_told_in_a_sentence(tmp_path: Path) -> None:
    def told(*more: str) -> str:
        result = run("train", "--data", "digits", "--out", tmp_path / "model", *more)
        assert result.exit_code == 2 and not (tmp_path / "model").exists()
        return result.stderr

    assert "a network's kind is one of mlp, dit, unet, got 'gan'" in told("--kind", "gan")
    assert "unknown setting 'wdith'; known: batch" in told("--set", "wdith=3")
    assert "steps is given twice" in told("--steps", "3", "--set", "steps=4")
    assert "pixels have no autoencoder: --latent" in told("--set", "autoencoder.width=8")
    assert "schedule is one of constant, cosine, got 'step'" in told("--set", "schedule=step")
    assert "--minutes must be positive" in told("--minutes", "-1")
    assert "--minutes must be positive, got nan" in told("--minutes", "nan")
    assert "--set lr wants a number, got 'fast'" in told("--set", "lr=fast")
    assert "--set lr wants finite numbers, got inf" in told("--set", "lr=inf")
    assert "--set batch wants a whole number, got 1.5" in told("--set", "batch=1.5")
    assert "--set betas wants two numbers in [0, 1), got 3" in told("--set", "betas=3")
    assert "network.depth wants whole numbers of at least 1, got -1" in told("--set", "network.depth=-1")
    assert "network.width wants whole numbers of at least 1, got 'wide'" in told("--set", "network.width=wide")
    assert "network.kind is not to be set: --kind says it" in told("--set", "network.kind=gan")
    assert "has no 'wdith'" in told("--set", "network.wdith=3")
    assert "precision is one of float32, bf16, got 'fp8'" in told("--precision", "fp8")
    assert "--set drop is given twice" in told("--set", "drop=0.1", "--set", "drop=0.2")
    assert "no model" in run("show", tmp_path / "model").stderr


def test_a_training_stays_on_its_device_unless_told_otherwise(tmp_path: Path) -> None:
    out = tmp_path / "model"
    asked = ["train", "--data", "digits", "--out", out]
    assert run(*asked, *TINY).exit_code == 0
    assert json.loads((out / "generator.json").read_text())["device"] == "cpu"
    edit(out / "generator.json", device="cuda:99")
    away = run(*asked, "--resume")
    assert away.exit_code == 2 and "the training was begun on cuda:99 in float32, which is not here" in away.stderr
    here = run(*asked, "--resume", "--device", "cpu", "--steps", "13")
    assert here.exit_code == 0 and "was begun on cuda:99 and goes on on cpu" in here.stderr


@pytest.mark.parametrize(
    "change", [{"plan": None}, {"plan": {"network": {}}}, {"data": None}, {"plan": {"denoising": {}, "encoding": None}}]
)
def test_a_record_that_was_edited_is_one_sentence(tmp_path: Path, change: dict[str, object]) -> None:
    written = {"status": "running", "plan": tiny_plan(tiny()).as_dict(), "data": {"name": "tiny", "fingerprint": "a"}}
    (tmp_path / "generator.json").write_text(json.dumps({**written, **change}))
    said = run("train", "--data", "digits", "--out", tmp_path, "--resume")
    told = " ".join(said.stderr.split())
    assert said.exit_code == 2 and "generator.json in" in told and "it was edited" in told


def test_a_dry_run_says_the_cost_and_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "model"
    result = run("train", "--data", "digits", *TINY, "--out", out, "--dry-run", "--json")
    told = json.loads(result.stdout)
    assert told["trainings"]["denoiser"]["steps"] == 12 and told["trainings"]["denoiser"]["steps_per_second"] > 0
    assert told["disk_bytes"] == 24 * told["trainings"]["denoiser"]["parameters"]
    assert not out.exists()
    assert "would train    denoiser" in run("train", "--data", "digits", *TINY, "--out", out, "--dry-run").stdout


def test_the_command_line_starts_without_diffusers() -> None:
    asked = "import sys, infodistill.cli; print([name for name in sys.modules if 'diffus' in name])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
