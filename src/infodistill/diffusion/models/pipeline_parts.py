"""The parts of a diffusers pipeline folder: what it lists, its networks from safetensors, its codec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from torch import nn

from infodistill.diffusion.model import Codec, Pixels
from infodistill.diffusion.models.architecture import denoised_shape, network_class
from infodistill.diffusion.models.autoencoder import LatentCodec
from infodistill.seeding import build_seeded, stream
from infodistill.serialise import read_object

INDEX, STEM = "model_index.json", "diffusion_pytorch_model"
SHARDS = f"{STEM}.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def read_index(folder: Path) -> dict[str, Any]:
    """`model_index.json`.

    Raises:
        ValueError: there is none, or the pipeline is conditioned on text.
    """
    if not (folder / INDEX).is_file():
        raise ValueError(f"'{folder}' holds no diffusion model: {INDEX} is missing")
    index = read_object(folder / INDEX)
    if written := [part for part in index if part.startswith(("text_encoder", "tokenizer")) and _there(index, part)]:
        name = index.get("_class_name")
        raise ValueError(f"{name} is conditioned on text (it has a {written[0]}), wanted a class-conditional model")
    return index


def network_of(folder: Path, index: Mapping[str, Any]) -> tuple[nn.Module, str]:
    """The denoising network, and the name of its class.

    Raises:
        ValueError: it is none this package runs, or its weights are not there as safetensors.
    """
    part = next((part for part in ("transformer", "unet") if _there(index, part)), None)
    name = None if part is None else config(folder, part).get("_class_name")
    if part is None or name not in ("DiTTransformer2DModel", "Transformer2DModel", "UNet2DModel"):
        what = f"{index.get('_class_name')} ({name or 'no denoising network'})"
        raise ValueError(f"{what} is another kind of model, wanted a DiTTransformer2DModel or a UNet2DModel")
    norm = config(folder, part).get("norm_type", "ada_norm_zero")
    if name == "Transformer2DModel" and norm != "ada_norm_zero":
        raise ValueError(f"this Transformer2DModel has norm_type {norm!r}, wanted a DiT ('ada_norm_zero')")
    return read_network(folder, part), name


def codec_of(folder: Path, index: Mapping[str, Any], denoiser: nn.Module) -> Codec:
    """From pixels to what the network denoises: the pipeline's autoencoder, or pixels themselves.

    Raises:
        ValueError: another kind of autoencoder, one with other latents than the network's, or without weights.
    """
    part = next((part for part in ("vae", "vqvae", "movq") if _there(index, part)), None)
    if part is None:
        return Pixels()
    told, (channels, h, w) = config(folder, part), denoised_shape(denoiser)
    if told.get("_class_name") != "AutoencoderKL" or told.get("latents_mean") is not None:
        raise ValueError(
            f"the autoencoder is a {told.get('_class_name')}, wanted an AutoencoderKL with one latent scale"
        )
    if told.get("latent_channels", 4) != channels:
        raise ValueError(f"the autoencoder has {told.get('latent_channels')} latent channels, its denoiser {channels}")
    vae = read_network(folder, part)
    own: Any = vae.config
    factor = 2 ** (len(own.block_out_channels) - 1)
    shape = (int(own.in_channels), h * factor, w * factor)
    return LatentCodec(vae, float(own.scaling_factor), float(own.shift_factor or 0.0), shape)


def read_network(folder: Path, part: str) -> nn.Module:
    """A network of a pipeline from its safetensors, all of its weights; frozen, in eval mode.

    Raises:
        ValueError: weights are missing, pickled, damaged or of another network, or diffusers cannot be imported.
    """
    told = config(folder, part)
    _require_safetensors(folder, part)
    made = network_class(str(told["_class_name"]))
    settings = {"use_safetensors": True, "local_files_only": True, "low_cpu_mem_usage": False}
    read = partial(made.from_pretrained, folder / part, output_loading_info=True, **settings)
    try:
        module, found = build_seeded(read, stream(0, "diffusion.pretrained"))
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"the network in '{folder / part}' cannot be read: {first}") from error
    if lost := sorted(found["missing_keys"]):
        raise ValueError(f"the weights in '{folder / part}' lack {len(lost)} tensors, '{lost[0]}' among them")
    constants = {name for name, _ in module.named_buffers()}  # what a network computes itself may lie there too
    if odd := sorted(set(found["unexpected_keys"]) - constants):
        raise ValueError(f"the weights in '{folder / part}' hold {len(odd)} tensors of another network, '{odd[0]}' too")
    return module.eval().requires_grad_(False)


def config(folder: Path, part: str) -> dict[str, Any]:
    """The configuration of a part.

    Raises:
        ValueError: it is not there, or not readable.
    """
    path = folder / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
    if not path.is_file():
        raise ValueError(f"the model at '{folder}' lacks {part}/{path.name}")
    return read_object(path)


def _require_safetensors(folder: Path, part: str) -> None:
    """All files of the weights: diffusers would read an index that names pickles."""
    files = sorted(path.name for path in (folder / part).iterdir())
    if SHARDS in files:
        return _require_shards(folder, part, files)
    if f"{STEM}.safetensors" in files:
        return
    pickled = [name for name in files if name.endswith(PICKLES)]
    remedy = "convert it once where you trust it: diffusers' from_pretrained(...).save_pretrained(FOLDER)"
    if pickled:
        raise ValueError(f"{part} has its weights only as a pickle ({pickled[0]}), which is not read: {remedy}")
    raise ValueError(f"{part}/{STEM}.safetensors is missing; if there are only pickles, {remedy}")


def _require_shards(folder: Path, part: str, files: Sequence[str]) -> None:
    listed: object = read_object(folder / part / SHARDS).get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise ValueError(f"{part}/{SHARDS} of the model at '{folder}' lists no weights: it was cut or edited")
    for name in sorted({str(name) for name in cast("dict[str, object]", listed).values()}):
        if not name.endswith(".safetensors"):
            raise ValueError(f"{part}/{SHARDS} names {name!r}, wanted safetensors alone: pickles are not read")
        if name not in files:
            raise ValueError(f"the model at '{folder}' lacks {part}/{name}, which its index names")


def _there(index: Mapping[str, Any], part: str) -> bool:
    """Whether the pipeline has a part; one it goes without is listed as [null, null]."""
    listed: Any = index.get(part)
    return isinstance(listed, list) and listed[0] is not None
