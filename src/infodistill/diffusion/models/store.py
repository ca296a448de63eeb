"""A model folder of our own: the layout of a diffusers pipeline, and `infodistill.json`, which says the rest.

    infodistill.json            format, classes and their ids, shapes, latent scale, facts (licence, data, training),
                                and the sha256 of every other file; written last
    model_index.json            what diffusers reads first
    transformer|unet|denoiser/  config.json, diffusion_pytorch_model.safetensors
    vae/                        the same, where the model denoises latents
    scheduler/                  scheduler_config.json (its betas), alphas_bar.safetensors (the exact table)

Every file is replaced atomically: a crash leaves the old model, the new one, or one that `load_model` refuses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from infodistill.diffusion.model import Codec, DiffusionModel, Pixels
from infodistill.diffusion.models.adapters import Denoiser, adapted
from infodistill.diffusion.models.architecture import FOLDERS, class_codes, config_of, from_config
from infodistill.diffusion.models.autoencoder import LatentCodec
from infodistill.diffusion.models.class_ids import ids_by_name
from infodistill.diffusion.models.predictions import PREDICTIONS
from infodistill.diffusion.models.scheduler_config import scheduler_config
from infodistill.files import write_atomically
from infodistill.serialise import pretty_json, read_object, write_bytes

FORMAT = 1
RECORD, INDEX, WEIGHTS = "infodistill.json", "model_index.json", "diffusion_pytorch_model.safetensors"
TABLE = "scheduler/alphas_bar.safetensors"
NETWORKS = tuple(folder for folder in dict.fromkeys(FOLDERS.values()) if folder != "vae")
KINDS: Mapping[str, tuple[type, ...]] = {
    "network": (str,), "predicts": (str,), "classes": (dict,), "known": (int,), "latents": (dict, type(None)),
    "facts": (dict,), "sha256": (dict,),
}  # fmt: skip
LATENTS = {"scale", "shift", "shape"}
"""What is read of the record."""

PIPELINES = {("transformer", True): "DiTPipeline", ("unet", False): "DDPMPipeline"}
"""By the network's folder and whether there is a vae; other pairs have no pipeline in diffusers."""


def save_model(model: DiffusionModel, folder: str | Path) -> Path:
    """Write a model made by `adapters.adapted`, opened, or fine-tuned from one; what lay there is replaced.

    Raises:
        ValueError: a model or codec of another make, weights that are not finite, or a folder that holds the model of
            somebody else.
    """
    folder = Path(folder)
    if (folder / INDEX).exists() and not (folder / RECORD).exists():
        raise ValueError(f"'{folder}' holds a model that is not of this package: choose another folder")
    denoise = model.denoise
    if not isinstance(denoise, Denoiser):
        raise ValueError(f"a model is stored with its Denoiser, got a {type(denoise).__name__} in its place")
    own = FOLDERS.get(type(model.module).__name__, "denoiser")
    written = _network(folder, own, model.module)
    if isinstance(model.codec, LatentCodec):
        scaled = {"scaling_factor": model.codec.scale, "shift_factor": model.codec.shift or None}
        written |= _network(folder, "vae", model.codec.vae, **scaled)
    schedule = scheduler_config(model.alphas_bar, denoise.clean)
    written |= _write(folder, "scheduler/scheduler_config.json", _json(schedule))
    written |= _write(folder, TABLE, _tensors({"alphas_bar": model.alphas_bar}))
    written |= _write(folder, INDEX, _json(_index(model, denoise, own)))
    write_bytes(folder / RECORD, pretty_json({**_record(model, denoise, own), "sha256": written}))
    return folder


def load_model(
    folder: str | Path, class_names: Sequence[str] | None = None, class_ids: Mapping[str, int] | None = None
) -> DiffusionModel:
    """A model written by `save_model`, frozen, in eval mode, on the CPU.

    Args:
        folder: where it lies.
        class_names: the classes of the data, in its order, found among the model's by name; None: the model's own.
        class_ids: the model's ids of classes whose names say nothing.

    Raises:
        FileNotFoundError: no model lies there.
        ValueError: a file is missing, cut or edited, it is of another format, it has other classes, or diffusers cannot
            be imported.
    """
    folder = Path(folder)
    if not (folder / RECORD).is_file():
        raise FileNotFoundError(f"'{folder}' holds no model: {RECORD} is missing")
    record = _checked(folder, read_object(folder / RECORD))
    _verify(folder, record["sha256"], _read_by(record))
    named = cast("dict[str, int]", record["classes"])
    wanted = tuple(named) if class_names is None else tuple(class_names)
    labels = {one: name for name, one in named.items()}
    ids = ids_by_name(wanted, labels, class_ids, known=record["known"])
    facts = dict(record["facts"])
    if "class_ids" in facts:  # of the classes asked for, not of those it was saved with
        facts["class_ids"] = dict(zip(wanted, ids, strict=True))
    module = _loaded(folder, record["network"])
    return adapted(
        module,
        load_file(folder / TABLE)["alphas_bar"],
        wanted,
        predicts=PREDICTIONS[record["predicts"]],
        codec=_codec(folder, record["latents"]),
        ids=ids,
        known=record["known"],
        facts=facts,
    )


def _record(model: DiffusionModel, denoise: Denoiser, own: str) -> dict[str, Any]:
    codec = model.codec
    latents = None
    if isinstance(codec, LatentCodec):
        latents = {"scale": codec.scale, "shift": codec.shift, "shape": None if codec.shape is None else [*codec.shape]}
    elif not isinstance(codec, Pixels):
        raise ValueError(f"a stored model denoises Pixels or has a LatentCodec, got a {type(codec).__name__}")
    return {
        "format": FORMAT,
        "network": own,
        "predicts": next(name for name, known in PREDICTIONS.items() if known is denoise.clean),
        "shape": list(model.shape),
        "classes": dict(zip(model.class_names, denoise.ids, strict=True)),
        "known": class_codes(model.module) if denoise.null is None else denoise.null,
        "latents": latents,
        "facts": dict(model.facts),
    }


def _index(model: DiffusionModel, denoise: Denoiser, own: str) -> dict[str, Any]:
    """What diffusers reads; its DiTPipeline writes the class names there too."""
    latent = isinstance(model.codec, LatentCodec)
    library = "infodistill" if own == "denoiser" else "diffusers"
    parts = {own: [library, type(model.module).__name__], "scheduler": ["diffusers", "DDPMScheduler"]}
    if latent:
        parts["vae"] = ["diffusers", "AutoencoderKL"]
    labels = {str(one): name for name, one in zip(model.class_names, denoise.ids, strict=True)}
    return {"_class_name": PIPELINES.get((own, latent), "DiffusionPipeline"), "id2label": labels, **parts}


def _network(folder: Path, name: str, module: nn.Module, **changed: Any) -> dict[str, str]:
    weights = {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
    if broken := [key for key, value in weights.items() if not bool(torch.isfinite(value).all())]:
        raise ValueError(f"the weights '{broken[0]}' are not finite: the model at '{folder}' is kept as it was")
    written = _write(folder, f"{name}/config.json", _json({**config_of(module), **changed}))
    return written | _write(folder, f"{name}/{WEIGHTS}", _tensors(weights))


def _loaded(folder: Path, name: str) -> nn.Module:
    config = read_object(folder / name / "config.json")
    if (kind := FOLDERS.get(str(config.get("_class_name")))) != name:
        raise ValueError(f"{name}/config.json of the model at '{folder}' is of another part ({kind}): it was edited")
    try:
        module = from_config(config)
        module.load_state_dict(load_file(folder / name / WEIGHTS))
    except (RuntimeError, OSError, SafetensorError, TypeError, KeyError) as error:
        told = str(error).splitlines()[0]
        raise ValueError(f"the weights in '{folder / name}' do not fit its config.json: {told}") from error
    return module.requires_grad_(False)


def _codec(folder: Path, latents: Mapping[str, Any] | None) -> Codec:
    if latents is None:
        return Pixels()
    shape = None if latents["shape"] is None else tuple(latents["shape"])
    return LatentCodec(_loaded(folder, "vae"), latents["scale"], latents["shift"], shape)


def _checked(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """The record, if its entries are of the kinds that are read."""
    if record.get("format") != FORMAT:
        raise ValueError(f"{RECORD} in '{folder}' has format {record.get('format')}, this release reads {FORMAT}")
    if lacking := KINDS.keys() - set(record):
        raise ValueError(f"{RECORD} in '{folder}' lacks {', '.join(sorted(lacking))}: it was edited")
    odd = [name for name, kind in KINDS.items() if not isinstance(record[name], kind)]
    if not odd:
        odd = [name for name, known in (("network", NETWORKS), ("predicts", PREDICTIONS)) if record[name] not in known]
        odd += [] if all(type(one) is int for one in record["classes"].values()) else ["classes"]
        odd += [] if record["latents"] is None or set(record["latents"]) >= LATENTS else ["latents"]
    if odd:
        raise ValueError(f"{RECORD} in '{folder}' has an unknown {odd[0]}, {record[odd[0]]!r}: it was edited")
    return record


def _read_by(record: Mapping[str, Any]) -> list[str]:
    """The files a model of this record is read from."""
    networks = [record["network"], *(["vae"] if record["latents"] is not None else [])]
    return [TABLE, *(f"{network}/{name}" for network in networks for name in ("config.json", WEIGHTS))]


def _verify(folder: Path, hashes: Mapping[str, str], read: Sequence[str]) -> None:
    if unsigned := [name for name in read if name not in hashes]:
        raise ValueError(f"{RECORD} in '{folder}' has no sha256 of {unsigned[0]}: it was edited")
    for name, wanted in hashes.items():
        if not (folder / name).is_file():
            raise ValueError(f"the model at '{folder}' lacks {name}: copy or train it again")
        if _sha256(folder / name) != wanted:
            raise ValueError(f"{name} of the model at '{folder}' does not match its sha256: it was cut or edited")


def _write(folder: Path, name: str, fill: Callable[[Path], object]) -> dict[str, str]:
    """The file, and its hash."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / name, fill)
    return {name: _sha256(folder / name)}


def _json(content: object) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(pretty_json(content))


def _tensors(tensors: dict[str, Tensor]) -> Callable[[Path], object]:
    held = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    return lambda path: save_file(held, path, metadata={"format": "pt"})


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
