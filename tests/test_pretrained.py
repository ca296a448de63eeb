"""A user's pretrained model: opened as diffusers saved it, sampled and guided, or refused in one sentence."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from infodistill.diffusion.contract import UNCONDITIONAL, classifier_free
from infodistill.diffusion.models.pretrained import open_model
from infodistill.diffusion.samplers import ddpm, learned
from infodistill.diffusion.sampling import Plan, sample
from infodistill.diffusion.schedules import sigmas_of
from pipelines import edit, save_dit, save_unet

pytest.importorskip("diffusers")

NAMES = ("golf_ball", "Tinca Tinca", "horn")
IDS = (5, 0, 2)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="session")
def dit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_dit(tmp_path_factory.mktemp("dit"))


@pytest.fixture(scope="session")
def unet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_unet(tmp_path_factory.mktemp("unet"))


@pytest.fixture
def copied(dit: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(dit, tmp_path / "copied"))


def noisy(shape: tuple[int, ...], n: int = 3) -> torch.Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("level", [0, 120, 600, 999])
def test_a_dit_says_what_diffusers_would_with_guidance_in_three_of_four_channels(dit: Path, level: int) -> None:
    from diffusers import DDIMScheduler, DiTTransformer2DModel

    model = open_model(str(dit), NAMES)
    sigma = sigmas_of(model.alphas_bar)[level].float()
    x, y = noisy((4, 4, 4)) * (1 + sigma**2).sqrt(), torch.arange(3)
    told = classifier_free(model.denoise, 4.0, channels=3)(x, sigma.expand(3), y)

    network = DiTTransformer2DModel.from_pretrained(dit / "transformer").eval()
    scheduler = DDIMScheduler.from_pretrained(dit / "scheduler")
    scheduler.set_timesteps(1000)
    abar = scheduler.alphas_cumprod[level]
    z = abar.sqrt() * x
    with torch.no_grad():
        labels = torch.tensor([*IDS, 6, 6, 6])  # six classes: the null class is the seventh
        out = network(torch.cat([z, z]), torch.full((6,), level), labels).sample
    eps, null = out[:3, :4].clone(), out[3:, :4]
    eps[:, :3] = null[:, :3] + 4 * (eps[:, :3] - null[:, :3])
    wanted = scheduler.step(eps, level, z).pred_original_sample
    scale = float(wanted.abs().max())
    torch.testing.assert_close(told.x0, wanted, rtol=1e-5, atol=1e-5 * max(scale, 1.0))
    assert told.spread is not None
    torch.testing.assert_close(told.spread, (out[:3, 4:] + 1) / 2, rtol=1e-5, atol=1e-5)


def test_its_facts_and_codec_are_those_of_the_folder(dit: Path) -> None:
    from diffusers import AutoencoderKL

    before = torch.get_rng_state()
    model = open_model(str(dit), NAMES)
    assert torch.equal(torch.get_rng_state(), before)
    assert (model.shape, model.space, model.null, model.class_names) == ((4, 4, 4), None, True, NAMES)
    assert model.facts["licence"] == "cc-by-nc-4.0" and model.facts["pipeline"] == "DiTPipeline"
    assert model.facts["class_ids"] == dict(zip(NAMES, IDS, strict=True))
    assert not model.module.training and not any(value.requires_grad for value in model.module.parameters())
    vae, pixels = AutoencoderKL.from_pretrained(dit / "vae").eval(), noisy((3, 8, 8)).sigmoid()
    with torch.no_grad():
        latents = vae.encode(2 * pixels - 1).latent_dist.mode() * 0.5
        wanted = vae.decode(latents / 0.5).sample / 2 + 0.5
    torch.testing.assert_close(model.codec.encode(pixels), latents, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.codec.decode(latents), wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"images \(3, 8, 8\), got \(3, 16, 16\)"):
        model.codec.encode(noisy((3, 16, 16)))


def test_it_samples_and_gradients_reach_the_image(dit: Path) -> None:
    model = open_model(str(dit), NAMES)
    plan = Plan(2, steps=4, weight=4.0, channels=3, sampler=lambda *a: ddpm(*a, variance=learned), limit=3.0)
    (drawn,) = sample(model, plan)
    assert drawn.pixels.shape == (6, 3, 8, 8) and drawn.y.tolist() == [0, 0, 1, 1, 2, 2]
    assert drawn.pixels.isfinite().all() and drawn.pixels.min() >= 0 and drawn.pixels.max() <= 1
    x = noisy(model.shape).requires_grad_()
    told = model.denoise(x, torch.full((3,), model.sigma_at(0.5)), torch.tensor([0, UNCONDITIONAL, 2]))
    (slope,) = torch.autograd.grad(told.x0.square().sum(), x)
    assert slope.abs().sum() > 0


def test_a_unet_of_pixels_with_velocity_and_a_cosine_table(unet: Path) -> None:
    from diffusers import DDPMScheduler, UNet2DModel

    model = open_model(str(unet), ("two", "zero"))
    assert model.space is not None and model.null and model.facts["limit"] == 1.0
    level, y = 400, torch.tensor([0, 1, UNCONDITIONAL])
    sigma = sigmas_of(model.alphas_bar)[level].float()
    x = noisy((1, 8, 8)) * (1 + sigma**2).sqrt()
    told = model.denoise(x, sigma.expand(3), y)
    network, scheduler = (
        UNet2DModel.from_pretrained(unet / "unet").eval(),
        DDPMScheduler.from_pretrained(unet / "scheduler"),
    )
    z = x * scheduler.alphas_cumprod[level].sqrt()
    with torch.no_grad():
        v = network(z, level, class_labels=torch.tensor([2, 0, 3])).sample
    abar = scheduler.alphas_cumprod[level]
    torch.testing.assert_close(told.x0, abar.sqrt() * z - (1 - abar).sqrt() * v, rtol=1e-5, atol=1e-5)
    assert told.spread is None


def test_a_published_dit_with_its_old_class_name_opens(copied: Path, dit: Path) -> None:
    edit(copied / "transformer" / "config.json", _class_name="Transformer2DModel", num_vector_embeds=None)
    x, sigma, y = noisy((4, 4, 4)), torch.full((3,), 1.0), torch.arange(3)
    found = [open_model(str(folder), NAMES).denoise(x, sigma, y).x0 for folder in (copied, dit)]
    assert torch.equal(*found)


def test_classes_are_found_by_name_or_given(dit: Path) -> None:
    assert open_model(str(dit), ("CHURCH", "tench, tinca tinca")).facts["class_ids"] == {
        "CHURCH": 4,
        "tench, tinca tinca": 0,
    }
    given = open_model(str(dit), ("n02", "crane", "church"), class_ids={"n02": 0, "crane": 3})
    assert list(given.facts["class_ids"].values()) == [0, 3, 4]


def test_a_model_without_labels_needs_ids(copied: Path) -> None:
    edit(copied / "model_index.json", id2label=None)
    with pytest.raises(ValueError, match=r"no class called 'tench' \(it names no classes\): give class ids by name"):
        open_model(str(copied), ("tench",))
    model = open_model(str(copied), ("tench",), class_ids={"tench": 0})
    assert model.null and model.facts["class_ids"] == {"tench": 0}


def test_other_classes_are_refused(dit: Path) -> None:
    with pytest.raises(ValueError, match=r"no class called 'zebra', 'okapi' \(it has .*6 in all\)\): give class ids"):
        open_model(str(dit), ("tench", "zebra", "okapi"))
    with pytest.raises(ValueError, match=r"'none' has id 6, this model's classes count 0\.\.5"):
        open_model(str(dit), ("none",), class_ids={"none": 6})  # the null class is nobody's class


def test_an_unconditional_unet_is_refused(tmp_path: Path) -> None:
    folder = save_unet(tmp_path / "unet", num_class_embeds=None)
    with pytest.raises(ValueError, match="UNet2DModel knows no classes"):
        open_model(str(folder), ("one",))


def test_a_hub_model_is_opened_at_a_commit_without_pickles(dit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def snapshot_download(name: str, **how: Any) -> str:
        asked.update(how, name=name)
        if name == "owner/gone":
            raise OSError("404\nmore")
        return str(dit)

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=snapshot_download))
    model = open_model(f"hf:owner/model@{COMMIT}", NAMES)
    assert model.facts["source"] == "hf:owner/model" and model.facts["revision"] == COMMIT == asked["revision"]
    assert set(asked["allow_patterns"]) == {"*.safetensors", "*.json", "README.md"}
    assert open_model("owner/model", NAMES, revision=COMMIT).facts["licence"] == "cc-by-nc-4.0"
    for where, revision, told in (
        ("owner/model", None, "no revision was given"),
        ("owner/model", "main", "40 hex digits.*got revision 'main'"),
        ("nowhere/at/all", COMMIT, "neither a folder nor OWNER/NAME"),
        (str(dit), COMMIT, "is a folder: --revision 0123.* is for models on the hub"),
        ("owner/gone", COMMIT, "did not give owner/gone at 01234567: 404$"),
    ):
        with pytest.raises(ValueError, match=told):
            open_model(where, NAMES, revision=revision)


def test_without_diffusers_the_extra_is_named(dit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ValueError, match=r'pip install "infodistill\[diffusion\]"'):
        open_model(str(dit), NAMES)
