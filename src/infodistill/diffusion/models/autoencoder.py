"""Latents: the KL autoencoder of diffusers as a codec, z = (posterior mean - shift) * scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from infodistill.diffusion.models.networks import diffusers_class
from infodistill.seeding import build_seeded, stream

PIECE = 32
"""Images the autoencoder sees at a time where no gradient is wanted."""


@dataclass(frozen=True)
class LatentCodec:
    """[0, 1] pixels to scaled latents by the mean of the posterior, and back; deterministic both ways.

    Attributes:
        vae: an AutoencoderKL of [-1, 1] images, in eval mode.
        scale: latents are (mean - shift) * scale, of about unit variance.
        shift: see scale.
        shape: (c, h, w) of the images; None takes any that the network halves.
        most: images per forward.

    Raises:
        ValueError: on `encode`, images of another shape.
    """

    vae: nn.Module
    scale: float
    shift: float = 0.0
    shape: tuple[int, int, int] | None = None
    most: int = PIECE

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels (n, c, h, w) in [0, 1] to latents (n, z, h', w')."""
        if self.shape is not None and tuple(pixels.shape[1:]) != self.shape:
            raise ValueError(
                f"the autoencoder takes images {self.shape}, got {tuple(pixels.shape[1:])}: --size sets it"
            )
        vae: Any = self.vae
        means = [vae.encode(self._own(2 * part - 1)).latent_dist.mean for part in pixels.split(self.most)]
        return (torch.cat(means).to(pixels) - self.shift) * self.scale

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (n, z, h', w') to pixels (n, c, h, w), about [0, 1]: what leaves it is not cut."""
        vae: Any = self.vae
        unscaled = latents / self.scale + self.shift
        images = [vae.decode(self._own(part), return_dict=False)[0] for part in unscaled.split(self.most)]
        return (torch.cat(images).to(latents) + 1) / 2

    def to(self, device: torch.device | str) -> LatentCodec:
        """This codec with the network (shared, moved in place) on a device."""
        self.vae.to(device)
        return self

    def _own(self, x: Tensor) -> Tensor:
        return x.to(next(self.vae.parameters()).dtype)


def autoencoder_config(shape: Sequence[int], *, latents: int = 4, width: int = 32) -> dict[str, Any]:
    """A small autoencoder for (c, h, w) images that halves their sides twice: 28x28 gives 4x7x7, 64x64 gives 4x16x16.

    Raises:
        ValueError: a side is not divisible by 4.
    """
    c, h, w = shape
    if h % 4 or w % 4:
        raise ValueError(f"an autoencoder that halves twice needs sides divisible by 4, got {h}x{w}")
    return {"shape": [c, h, w], "latents": latents, "channels": [width, 2 * width, 2 * width], "layers": 1}


def build_autoencoder(config: Mapping[str, Any], generator: torch.Generator | None = None) -> nn.Module:
    """The AutoencoderKL of a config of `autoencoder_config`, in eval mode, its weights drawn from `generator`.

    Raises:
        ValueError: other entries, sides that do not fit, or diffusers is missing.
    """
    if set(config) != {"shape", "latents", "channels", "layers"}:
        raise ValueError(f"an autoencoder is shape, latents, channels, layers; got {', '.join(sorted(config))}")
    (c, h, w), channels = config["shape"], tuple(config["channels"])
    if h % 2 ** (len(channels) - 1) or w % 2 ** (len(channels) - 1):
        raise ValueError(f"an autoencoder of {len(channels)} resolutions does not divide {h}x{w} images")
    make = partial(
        diffusers_class("AutoencoderKL"),
        in_channels=c,
        out_channels=c,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=config["layers"],
        latent_channels=config["latents"],
        norm_num_groups=8,
        sample_size=max(h, w),
        scaling_factor=1.0,
    )
    return build_seeded(make, generator or stream(0, "diffusion.autoencoder")).eval()


def latent_shape(config: Mapping[str, Any]) -> tuple[int, int, int]:
    """(z, h', w') of the latents of a config."""
    _, h, w = config["shape"]
    factor = 2 ** (len(config["channels"]) - 1)
    return config["latents"], h // factor, w // factor
