"""What a network is, read off the network: its images, its class codes, and the JSON it is rebuilt from.

The JSON is that of diffusers ("_class_name" and the constructor's arguments), so that a folder of ours opens there too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import nn

from infodistill.diffusion.models.networks import ResidualMLP, diffusers_class
from infodistill.seeding import build_seeded, stream

FOLDERS: Mapping[str, str] = {
    "ResidualMLP": "denoiser",
    "DiTTransformer2DModel": "transformer",
    "Transformer2DModel": "transformer",
    "UNet2DModel": "unet",
    "AutoencoderKL": "vae",
}
"""The networks this package runs, and the folder of a pipeline each lies in. Published DiTs bear an older name."""

RENAMED = {"Transformer2DModel": "DiTTransformer2DModel"}


def network_class(name: str) -> Any:
    """The class of a name in `FOLDERS`."""
    return ResidualMLP if name == "ResidualMLP" else diffusers_class(RENAMED.get(name, name))


def config_of(module: nn.Module) -> dict[str, Any]:
    """The JSON of a network.

    Raises:
        ValueError: it is no network of `FOLDERS`.
    """
    name = type(module).__name__
    if name not in FOLDERS:
        raise ValueError(f"a stored network is one of {', '.join(FOLDERS)}, got a {name}")
    if isinstance(module, ResidualMLP):
        own = {"shape": list(module.shape), "classes": module.classes, "width": module.width, "depth": module.depth}
        return {"_class_name": name, **own}
    return cast("dict[str, Any]", json.loads(cast(Any, module).to_json_string()))


def from_config(config: Mapping[str, Any]) -> nn.Module:
    """The network of a JSON, in eval mode; its weights are drawn by a fixed key and about to be replaced.

    Raises:
        ValueError: it is no network of `FOLDERS`, or diffusers cannot be imported.
    """
    name = str(config.get("_class_name"))
    if name not in FOLDERS:
        raise ValueError(f"a stored network is one of {', '.join(FOLDERS)}, got {name}")
    made = network_class(name)
    own = {key: value for key, value in config.items() if not key.startswith("_")}
    make = partial(made, **own) if made is ResidualMLP else partial(made.from_config, dict(config))
    module: nn.Module = build_seeded(make, stream(0, "diffusion.stored"))
    return module.eval()


def denoised_shape(module: nn.Module) -> tuple[int, int, int]:
    """(c, h, w) of what a denoising network is fed.

    Raises:
        ValueError: a UNet that does not say its size.
    """
    if isinstance(module, ResidualMLP):
        c, h, w = module.shape
        return c, h, w
    config: Any = cast(Any, module).config
    size = config.sample_size
    if size is None:
        raise ValueError("the configuration of this UNet names no sample_size, wanted the side of its images")
    h, w = (size, size) if isinstance(size, int) else size
    return int(config.in_channels), int(h), int(w)


def class_codes(module: nn.Module) -> int:
    """Rows of a denoising network's table of class codes; 0 where it has none."""
    holder: Any = module
    if isinstance(module, ResidualMLP):
        return module.label.num_embeddings
    if hasattr(module, "transformer_blocks"):
        return int(holder.transformer_blocks[0].norm1.emb.class_embedder.embedding_table.num_embeddings)
    found = getattr(holder, "class_embedding", None)
    return found.num_embeddings if isinstance(found, nn.Embedding) else 0


def weights_digest(modules: Iterable[nn.Module]) -> str:
    """A digest of the names and the bits of every weight of some networks."""
    told = hashlib.blake2b(digest_size=8)
    for module in modules:
        for name, value in module.state_dict().items():
            told.update(name.encode())
            told.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return told.hexdigest()


def null_id(module: nn.Module, known: int) -> int | None:
    """The id of the null class: the code after those of the `known` classes; None where there is none.

    A DiT of diffusers says itself how many classes it has; its table has one more row where labels were dropped.

    Raises:
        ValueError: the table has neither `known` nor `known` + 1 rows.
    """
    rows = class_codes(module)
    known = int(getattr(getattr(module, "config", None), "num_embeds_ada_norm", None) or known)
    if rows not in (known, known + 1):
        raise ValueError(f"a network of {known} classes has {known} class codes, or one more for none, got {rows}")
    return known if rows > known else None
