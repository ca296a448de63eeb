"""Tiny pipelines with random weights, saved by diffusers as anybody's would be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from infodistill.seeding import build_seeded, stream

LABELS = {0: "tench, Tinca tinca", 1: "crane", 2: "French horn, horn", 3: "crane, bird", 4: "church", 5: "golf ball"}
DIT = {"num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 4, "out_channels": 8, "num_layers": 2}
VAE = {"block_out_channels": (8, 8), "norm_num_groups": 4, "latent_channels": 4, "scaling_factor": 0.5}
CARD = "---\nlicense: cc-by-nc-4.0\ntags: [dit]\n---\n# A model\n"


def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """The network with every parameter moved a little: what starts at zero answers, too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in module.parameters():
            value += 0.1 * torch.randn(value.shape, generator=generator)
    return module.eval()


def tiny_autoencoder() -> Any:
    from diffusers import AutoencoderKL

    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    return build_seeded(lambda: AutoencoderKL(**VAE, **blocks, sample_size=8), stream(0, "tiny vae")).eval()


def save_dit(folder: Path) -> Path:
    """A DiTPipeline of 4x4 latents of 8x8 colour images, six classes, a learned range."""
    from diffusers import DDIMScheduler, DiTPipeline, DiTTransformer2DModel

    size = {"sample_size": 4, "patch_size": 2, "num_embeds_ada_norm": 6}
    dit = shaken(build_seeded(lambda: DiTTransformer2DModel(**DIT, **size), stream(0, "tiny dit")))
    scheduler = DDIMScheduler(beta_start=1e-4, beta_end=0.02, clip_sample=False)
    DiTPipeline(dit, tiny_autoencoder(), scheduler).save_pretrained(folder)
    # diffusers reads labels from there (published DiTs have them) and drops them when it saves.
    edit(folder / "model_index.json", id2label={str(one): label for one, label in LABELS.items()})
    (folder / "README.md").write_text(CARD)
    return folder


def save_unet(folder: Path, **changed: Any) -> Path:
    """A pixel model: a class-conditional UNet2DModel of 8x8 images, three classes and a null class."""
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2, "layers_per_block": 1}
    shape = {"in_channels": 1, "out_channels": 1, "sample_size": 8, "block_out_channels": (8, 8), "norm_num_groups": 4}
    made = {"num_class_embeds": 4, **blocks, **shape, **changed}
    unet = shaken(build_seeded(lambda: UNet2DModel(**made), stream(0, "tiny unet")))
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
    DDPMPipeline(unet, scheduler).save_pretrained(folder)
    edit(folder / "model_index.json", id2label={"0": "zero", "1": "one", "2": "two"})
    return folder


def edit(path: Path, **changed: Any) -> None:
    """Change entries of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
