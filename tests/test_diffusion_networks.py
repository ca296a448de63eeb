"""The three networks and the autoencoder: shapes, null class, keyed weights, the global generator left alone."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from infodistill.diffusion.models.autoencoder import LatentCodec, autoencoder_config, build_autoencoder, latent_shape
from infodistill.diffusion.models.networks import build, default_config, diffusers_class, module_call
from infodistill.seeding import stream
from pipelines import shaken

pytest.importorskip("diffusers")

MLP = {"kind": "mlp", "shape": [1, 6, 5], "classes": 3, "width": 16, "depth": 2}
DIT = {"kind": "dit", "shape": [2, 8, 8], "classes": 3, "patch": 2, "heads": 2, "head_width": 8, "depth": 2}
UNET = {"kind": "unet", "shape": [2, 8, 4], "classes": 3, "channels": [8, 16]}
EACH = pytest.mark.parametrize("config", [MLP, DIT, UNET], ids=["mlp", "dit", "unet"])


def ask(
    module: nn.Module, config: dict[str, Any], *, t: float = 500.0, ids: tuple[int, ...] = (0, 2, 3)
) -> torch.Tensor:
    z = torch.randn(len(ids), *config["shape"], generator=torch.Generator().manual_seed(1))
    return module_call(module, z, torch.full((len(ids),), t), torch.tensor(ids))


@EACH
def test_a_network_answers_images_and_knows_its_null_class(config: dict[str, Any]) -> None:
    module = shaken(build(json.loads(json.dumps(config))))
    told = ask(module, config)
    assert told.shape == (3, *config["shape"]) and told.isfinite().all()
    for other in (ask(module, config, ids=(1, 2, 3)), ask(module, config, t=501.0)):
        assert not torch.equal(other[0], told[0])  # both the class and the time are read
    torch.testing.assert_close(ask(module, config, ids=(1, 2, 3))[1:], told[1:], rtol=1e-5, atol=1e-5)
    with pytest.raises(IndexError):
        ask(module, config, ids=(0, 2, 4))


@EACH
def test_weights_come_from_the_key_and_nothing_touches_the_global_generator(config: dict[str, Any]) -> None:
    before = torch.get_rng_state()
    one, again, other = build(config), build(config), build(config, stream(1, "another"))
    ask(one, config)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(part.training for part in one.modules())
    weights = [torch.cat([value.flatten() for value in module.parameters()]) for module in (one, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


@EACH
def test_gradients_reach_the_image_and_every_parameter(config: dict[str, Any]) -> None:
    module = shaken(build(config))
    z = torch.randn(3, *config["shape"], requires_grad=True)
    module_call(module, z, torch.tensor([0.0, 10.5, 999.0]), torch.tensor([0, 1, 3])).square().sum().backward()
    assert z.grad is not None and z.grad.abs().sum() > 0
    assert all(value.grad is not None for value in module.parameters() if value.requires_grad)


def test_a_network_in_half_precision_answers_in_the_type_it_is_asked_in() -> None:
    module = shaken(build(DIT))
    wanted, told = ask(module, DIT), ask(module.bfloat16(), DIT)
    assert told.dtype == torch.float32
    assert (told - wanted).norm() < 0.1 * wanted.norm()


@pytest.mark.parametrize("config", [MLP, DIT], ids=["mlp", "dit"])
def test_an_untrained_network_predicts_zero(config: dict[str, Any]) -> None:
    assert not ask(build(config), config).any()


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((1, 8, 8), "mlp"),
        ((4, 7, 7), "mlp"),
        ((1, 28, 28), "dit"),
        ((3, 32, 32), "dit"),
        ((4, 16, 16), "dit"),
        ((3, 64, 64), "dit"),
        ((1, 28, 20), "unet"),
        ((1, 26, 34), "unet"),
    ],
)
def test_default_sizes_fit_the_images(shape: tuple[int, int, int], kind: str) -> None:
    config = default_config(shape, 10)
    assert config["kind"] == kind
    small = {**config, "depth": 1} if kind != "unet" else config
    z = torch.zeros(1, *shape)
    assert module_call(build(small), z, torch.zeros(1), torch.tensor([10])).shape == z.shape


def test_what_does_not_fit_is_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"29x29 images: give them even sides \(--size 32\)"):
        default_config((3, 29, 29), 10)
    for change, told in (
        ({"shape": [2, 8, 6]}, "square images"),
        ({"patch": 3}, "8x8 and patches of 3"),
        ({"kind": "gan"}, "one of mlp, dit, unet, got 'gan'"),
        ({"dept": 2}, "has no 'dept'"),
    ):
        with pytest.raises(ValueError, match=told):
            build({**DIT, **change})
    with pytest.raises(ValueError, match="needs patch"):
        build({name: value for name, value in DIT.items() if name != "patch"})
    with pytest.raises(ValueError, match="sides divisible by 4, got 8x6"):
        build({**UNET, "shape": [2, 8, 6], "channels": [8, 8, 8]})


def test_a_missing_or_broken_diffusers_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ValueError, match=r'pip install "infodistill\[diffusion\]"'):
        diffusers_class("UNet2DModel")
    monkeypatch.setitem(sys.modules, "diffusers", Broken("diffusers"))
    with pytest.raises(ValueError, match=r"nms does not exist.*uninstall"):
        build(DIT)


@pytest.mark.parametrize(("shape", "latents"), [((1, 28, 28), (4, 7, 7)), ((3, 64, 64), (4, 16, 16))])
def test_small_autoencoders_halve_twice(shape: tuple[int, int, int], latents: tuple[int, int, int]) -> None:
    config = autoencoder_config(shape, width=8)
    before = torch.get_rng_state()
    codec = LatentCodec(build_autoencoder(config), 1.0, shape=shape)
    z = codec.encode(torch.rand(1, *shape, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), before)  # the mean of the posterior: nothing is drawn
    assert tuple(z.shape[1:]) == latents == latent_shape(config)
    assert tuple(codec.decode(z).shape[1:]) == shape


def test_the_codec_scales_the_posterior_mean_and_pieces_do_not_matter() -> None:
    vae: Any = build_autoencoder(autoencoder_config((1, 8, 8), width=8))
    pixels = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    codec = LatentCodec(vae, 2.5, 0.25, (1, 8, 8), most=2)
    mean = vae.encode(2 * pixels - 1).latent_dist.mean
    torch.testing.assert_close(codec.encode(pixels), (mean - 0.25) * 2.5, rtol=1e-4, atol=1e-5)
    decoded = (vae.decode(mean).sample + 1) / 2
    torch.testing.assert_close(codec.decode((mean - 0.25) * 2.5), decoded, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"takes images \(1, 8, 8\), got \(1, 12, 12\)"):
        codec.encode(torch.rand(1, 1, 12, 12))
    with pytest.raises(ValueError, match="sides divisible by 4"):
        autoencoder_config((1, 10, 8))
