"""Generators of latents: the autoencoder first, and never again once a denoiser has begun to learn its latents."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from infodistill.diffusion.fitting.generator_plan import GeneratorPlan, planned
from infodistill.diffusion.fitting.generators import train_generator
from infodistill.diffusion.models.store import load_model
from infodistill.real import RealData
from infodistill.types import pixel_space

pytest.importorskip("diffusers")

VAE = "vae/diffusion_pytorch_model.safetensors"


def tiny() -> RealData:
    y = torch.arange(40) % 2
    images = (y.view(-1, 1, 1, 1) * 200).to(torch.uint8).expand(-1, 1, 8, 8).contiguous()
    return RealData(images, y, ("dark", "bright"), pixel_space(1), "tiny")


def plan_of(**changes: object) -> GeneratorPlan:
    settings = {"steps": 20, "batch": 8, "network.width": 16, "autoencoder.steps": 30, "autoencoder.width": 8,
                "autoencoder.batch": 8, "autoencoder.lr": 3e-3}  # fmt: skip
    return planned(tiny(), latent=True, settings={**settings, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_generator(tiny(), tmp_path_factory.mktemp("latent") / "model", plan_of())


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copied"))


def test_latents_come_after_an_autoencoder(folder: Path) -> None:
    real = tiny()
    told = json.loads((folder / "generator.json").read_text())["training"]["autoencoder"]
    assert told["stopped"] == "steps" and told["psnr"] > 10
    assert told["best"] == min(value for _, value in told["validations"])
    model = load_model(folder, real.class_names)
    assert model.shape == (4, 2, 2) and model.space is None
    latents = model.codec.encode(real.images.float() / 255)
    assert abs(float(latents.mean())) < 0.1 and float(latents.std()) == pytest.approx(1, abs=0.1)
    errors = (model.codec.decode(latents).clamp(0, 1) - real.images.float() / 255).double().square()
    assert -10 * float(errors.mean().log10()) == pytest.approx(told["psnr"], abs=1.0)


def test_a_denoiser_goes_on_with_the_autoencoder_it_was_begun_with(folder: Path, copied: Path) -> None:
    """More minutes or steps for both: the autoencoder is as it was, to the bit, and the denoiser has learned more."""
    plan = plan_of()
    assert plan.encoding is not None
    more = replace(plan.encoding.fit, steps=60, minutes=10.0)
    longer = replace(
        plan,
        encoding=replace(plan.encoding, fit=more),
        denoising=replace(plan.denoising, fit=replace(plan.denoising.fit, steps=30, minutes=10.0)),
    )
    train_generator(tiny(), copied, longer)
    told = json.loads((copied / "generator.json").read_text())["training"]
    assert told["autoencoder"]["step"] == 30 and told["denoiser"]["step"] == 30
    before, after = load_file(folder / VAE), load_file(copied / VAE)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_a_denoiser_of_another_autoencoder_is_refused(copied: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    train_generator(tiny(), other, plan_of(steps=2))
    (other / "denoiser.checkpoint").unlink()
    longer = plan_of(steps=2, **{"autoencoder.steps": 31})
    train_generator(tiny(), other, longer)  # without a denoiser the autoencoder may still go on
    shutil.copy(other / "autoencoder.checkpoint", copied / "autoencoder.checkpoint")
    with pytest.raises(ValueError, match=r"is the training of something else \(autoencoder differ"):
        train_generator(tiny(), copied, plan_of())
    (copied / "autoencoder.checkpoint").unlink()
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        train_generator(tiny(), copied, plan_of())
