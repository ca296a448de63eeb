"""A class-conditional diffusion model, wherever it came from: its denoiser, its noise levels, its codec, its facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from infodistill.diffusion import schedules
from infodistill.diffusion.contract import Denoise
from infodistill.types import ValueSpace


class Codec(Protocol):
    """Between [0, 1] pixels (n, c, h, w) and what is denoised. Deterministic, both ways."""

    def encode(self, pixels: Tensor) -> Tensor: ...
    def decode(self, latents: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Pixels:
    """No codec: the model denoises images in [-1, 1]."""

    def encode(self, pixels: Tensor) -> Tensor:
        return 2 * pixels - 1

    def decode(self, latents: Tensor) -> Tensor:
        return (latents + 1) / 2


def signed_pixels(channels: int) -> ValueSpace:
    """The value space of `Pixels`: [-1, 1]."""
    return ValueSpace((0.5,) * channels, (0.5,) * channels)


def _empty() -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class DiffusionModel:
    """What can be sampled, and guided.

    Attributes:
        denoise: the model without classifier-free guidance; classes count `class_names`.
        alphas_bar: (T,) the noise levels it was trained at, falling.
        shape: (c, h, w) of what is denoised.
        codec: from pixels and back.
        class_names: the classes in the order of the data.
        space: value space of what is denoised where that is pixels; None for latents, which have none.
        null: whether the denoiser knows UNCONDITIONAL.
        module: the network itself, for whoever trains it further; in eval mode.
        facts: JSON-able: architecture, licence, revision, data it was trained on, training record.
    """

    denoise: Denoise
    alphas_bar: Tensor
    shape: tuple[int, int, int]
    codec: Codec
    class_names: tuple[str, ...]
    space: ValueSpace | None
    null: bool
    module: nn.Module
    facts: Mapping[str, Any] = field(default_factory=_empty)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def device(self) -> torch.device:
        parameter = next(self.module.parameters(), None)
        return torch.device("cpu") if parameter is None else parameter.device

    def sigmas(self, steps: int) -> Tensor:
        """(steps + 1,) noise levels of a sampler, see `schedules.respaced`."""
        return schedules.respaced(self.alphas_bar, steps)

    def sigma_at(self, fraction: float) -> float:
        """Sigma at t = fraction * T."""
        return schedules.sigma_at(self.alphas_bar, fraction)

    def latent_space(self) -> ValueSpace:
        """The space batches of what is denoised are written in; for latents the identity, which converts nothing."""
        return self.space or ValueSpace((0.0,) * self.shape[0], (1.0,) * self.shape[0])
