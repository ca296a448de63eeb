"""Our own model folders: what was saved comes back to the bit, opens in diffusers, and a damaged one is refused."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from infodistill.diffusion.contract import UNCONDITIONAL
from infodistill.diffusion.model import DiffusionModel
from infodistill.diffusion.models.adapters import adapted
from infodistill.diffusion.models.autoencoder import LatentCodec
from infodistill.diffusion.models.networks import build
from infodistill.diffusion.models.predictions import from_noise, from_velocity
from infodistill.diffusion.models.pretrained import open_model
from infodistill.diffusion.models.store import load_model, save_model
from infodistill.diffusion.schedules import cosine_alphas_bar, linear_alphas_bar
from pipelines import edit, save_dit, shaken, tiny_autoencoder

pytest.importorskip("diffusers")

NAMES = ("cat", "dog", "newt, wild")
FACTS = {"licence": "cc0", "data": "pets", "fingerprint": "ab" * 32, "training": {"steps": 3, "losses": [[1, 0.5]]}}


def mlp() -> DiffusionModel:
    module = shaken(build({"kind": "mlp", "shape": [1, 6, 5], "classes": 3, "width": 16, "depth": 2}))
    return adapted(module, cosine_alphas_bar(50), NAMES, predicts=from_velocity, facts=FACTS)


def unet() -> DiffusionModel:
    module = shaken(build({"kind": "unet", "shape": [1, 8, 4], "classes": 3, "channels": [8, 16]}))
    return adapted(module, linear_alphas_bar(400), NAMES, predicts=from_noise, facts=FACTS)


def latent_dit() -> DiffusionModel:
    size = {"shape": [4, 4, 4], "classes": 3, "patch": 2, "heads": 2, "head_width": 8, "depth": 2}
    codec = LatentCodec(tiny_autoencoder(), 0.75, 0.125, (3, 8, 8))
    module = shaken(build({"kind": "dit", "out_channels": 8, **size}))
    return adapted(module, cosine_alphas_bar(100), NAMES, codec=codec, facts=FACTS)


MODELS = {"mlp": mlp, "unet": unet, "latent dit": latent_dit}
EACH = pytest.mark.parametrize("name", MODELS)


@torch.no_grad()
def answers(model: DiffusionModel) -> tuple[torch.Tensor, ...]:
    # torch multiplies matrices in another order where a weight asks for a gradient: freeze, as a stored model is.
    for module in (model.module, getattr(model.codec, "vae", model.module)):
        module.requires_grad_(False)
    x = torch.randn(4, *model.shape, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([*range(model.num_classes), *[UNCONDITIONAL] * (4 - model.num_classes)])
    told = model.denoise(x, torch.linspace(0.5, 2, 4), labels)
    return (
        told.x0.detach(),
        model.codec.decode(x).detach(),
        torch.zeros(0) if told.spread is None else told.spread.detach(),
    )


@EACH
def test_a_model_comes_back_to_the_bit(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    before = torch.get_rng_state()
    found = load_model(save_model(model, tmp_path / "model"))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one, other) for one, other in zip(answers(model), answers(found), strict=True))
    assert torch.equal(model.alphas_bar, found.alphas_bar)
    for field in ("shape", "class_names", "space", "null", "facts"):
        assert getattr(model, field) == getattr(found, field), field
    assert not any(value.requires_grad for value in found.module.parameters())
    save_model(replace(found, facts={}), tmp_path / "model")  # saving again replaces
    assert load_model(tmp_path / "model").facts == {"architecture": type(model.module).__name__}


def test_classes_are_found_by_name_in_the_order_of_the_data(tmp_path: Path) -> None:
    save_model(mlp(), tmp_path)
    found = open_model(str(tmp_path), ("Newt, wild", "beast"), class_ids={"beast": 0})
    assert (found.class_names, found.null) == (("Newt, wild", "beast"), True)
    x = torch.randn(1, 1, 6, 5, generator=torch.Generator().manual_seed(0)).expand(3, -1, -1, -1)
    sigma = torch.ones(3)
    told = found.denoise(x, sigma, torch.tensor([0, 1, UNCONDITIONAL])).x0
    assert torch.equal(told, mlp().denoise(x, sigma, torch.tensor([2, 0, UNCONDITIONAL])).x0)
    with pytest.raises(ValueError, match=r"no class called 'bird' \(it has 'cat', 'dog', 'newt, wild'\)"):
        load_model(tmp_path, ("cat", "bird"))


def test_diffusers_opens_the_folder_of_a_latent_dit(tmp_path: Path) -> None:
    from diffusers import DiTPipeline

    model = latent_dit()
    pipeline: Any = DiTPipeline.from_pretrained(
        save_model(model, tmp_path), use_safetensors=True, low_cpu_mem_usage=False
    )
    mine, theirs = model.module.state_dict(), pipeline.transformer.state_dict()
    assert list(mine) == list(theirs) and all(torch.equal(mine[key], theirs[key]) for key in mine)
    assert pipeline.vae.config.scaling_factor == 0.75 and pipeline.labels["newt"] == pipeline.labels["wild"] == 2
    table = pipeline.scheduler.alphas_cumprod.double()
    torch.testing.assert_close(table, model.alphas_bar, rtol=1e-4, atol=1e-7)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    # Without our record the same folder still opens, as anybody's pipeline.
    (tmp_path / "infodistill.json").unlink()
    found = open_model(str(tmp_path), ("wild", "cat"))
    x, sigma, y = torch.ones(2, 4, 4, 4), torch.ones(2), torch.tensor([0, 1])
    torch.testing.assert_close(found.denoise(x, sigma, y).x0, model.denoise(x, sigma, torch.tensor([2, 0])).x0)


def test_a_pretrained_model_is_stored_with_its_own_ids(tmp_path: Path) -> None:
    opened = open_model(str(save_dit(tmp_path / "theirs")), ("church", "horn"))
    found = load_model(save_model(opened, tmp_path / "ours"))
    assert all(torch.equal(one, other) for one, other in zip(answers(opened), answers(found), strict=True))
    assert found.facts["licence"] == "cc-by-nc-4.0"
    fewer = load_model(tmp_path / "ours", ("horn",))  # the ids are those of the classes that are asked for
    assert (found.facts["class_ids"], fewer.facts["class_ids"]) == ({"church": 4, "horn": 2}, {"horn": 2})
    with pytest.raises(ValueError, match="holds a model that is not of this package"):
        save_model(opened, tmp_path / "theirs")


def test_a_copy_runs_its_own_network() -> None:
    model = mlp()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for value in twin.module.parameters():
            value.zero_()
    assert not answers(twin)[0].equal(answers(model)[0])
    assert all(torch.equal(one, other) for one, other in zip(answers(model), answers(mlp()), strict=True))


@EACH
def test_a_damaged_folder_is_refused(name: str, tmp_path: Path) -> None:
    save_model(MODELS[name](), tmp_path)
    record = json.loads((tmp_path / "infodistill.json").read_text())
    for file in record["sha256"]:
        content = (tmp_path / file).read_bytes()
        (tmp_path / file).write_bytes(content[:-1])
        with pytest.raises(ValueError, match=r"does not match its sha256: it was cut or edited"):
            load_model(tmp_path)
        (tmp_path / file).unlink()
        with pytest.raises(ValueError, match=f"lacks {file}"):
            load_model(tmp_path)
        (tmp_path / file).write_bytes(content)
    for change, told in (({"format": 9}, "has format 9, this release reads 1"), ({"sha256": None}, "lacks sha256")):
        kept = {key: value for key, value in {**record, **change}.items() if value is not None}
        (tmp_path / "infodistill.json").write_text(json.dumps({**kept, "latents": record["latents"]}))
        with pytest.raises(ValueError, match=told):
            load_model(tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no model"):
        load_model(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"network": "../elsewhere"}, "has an unknown network, '../elsewhere'"),
        ({"network": "vae"}, "has an unknown network, 'vae'"),
        ({"network": "unet"}, "has no sha256 of unet/config.json"),
        ({"predicts": "flow"}, "has an unknown predicts, 'flow'"),
        ({"classes": ["cat"]}, "has an unknown classes"),
        ({"classes": {"cat": "0"}}, "has an unknown classes"),
        ({"latents": {"scale": 1}}, "has an unknown latents"),
        ({"sha256": {}}, "has no sha256 of scheduler/alphas_bar.safetensors"),
    ],
)
def test_an_edited_record_is_refused(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    save_model(mlp(), tmp_path)
    edit(tmp_path / "infodistill.json", **change)
    with pytest.raises(ValueError, match=re.escape(told)):
        load_model(tmp_path)


def test_every_file_that_is_read_has_a_hash(tmp_path: Path) -> None:
    save_model(latent_dit(), tmp_path)
    hashes = json.loads((tmp_path / "infodistill.json").read_text())["sha256"]
    for name in set(hashes) - {"model_index.json", "scheduler/scheduler_config.json"}:  # those are read by diffusers
        edit(tmp_path / "infodistill.json", sha256={key: value for key, value in hashes.items() if key != name})
        with pytest.raises(ValueError, match=f"has no sha256 of {re.escape(name)}"):
            load_model(tmp_path)


def test_what_cannot_be_stored_is_refused_and_the_old_model_kept(tmp_path: Path) -> None:
    save_model(mlp(), tmp_path)
    broken = mlp()
    with torch.no_grad():
        next(broken.module.parameters())[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"'enter\.weight' are not finite"):
        save_model(broken, tmp_path)
    assert torch.equal(answers(load_model(tmp_path))[0], answers(mlp())[0])
    with pytest.raises(ValueError, match="stored with its Denoiser, got a function"):
        save_model(replace(broken, denoise=lambda x, sigma, y: broken.denoise(x, sigma, y)), tmp_path)


def test_a_table_of_class_codes_that_fits_no_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="a network of 5 classes has 5 class codes, or one more for none, got 4"):
        adapted(mlp().module, cosine_alphas_bar(50), ("a", "b", "c", "d", "e"))
    assert adapted(mlp().module, cosine_alphas_bar(50), ("a", "b", "c", "d")).null is False
