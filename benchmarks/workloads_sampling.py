"""A step of a diffusion sampler: plain, guided by IGDS (P3 and C2) past the denoiser, and guided through it.

All images are sampled together, 10 of each of 10 classes, without classifier-free guidance (which would double the
network's share and so hide the guide's). A step is one call of the denoiser and the move to the next level, at levels
inside the window. Weights are random: they change no time. Guidance is what `infodistill.diffusion.igds` builds by
default, real images drawn anew at every level included; building it (k-means, bandwidths) is timed apart.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from infodistill.data import load_data
from infodistill.diffusion.contract import Denoise
from infodistill.diffusion.encoded import encode
from infodistill.diffusion.igds import IGDS, igds, through_denoiser
from infodistill.diffusion.model import DiffusionModel
from infodistill.diffusion.models.adapters import adapted
from infodistill.diffusion.models.networks import build, default_config
from infodistill.diffusion.samplers import ddpm
from infodistill.diffusion.schedules import cosine_alphas_bar
from infodistill.real import RealData
from infodistill.seeding import stream

IPC = 10
STEPS = 4
COLUMNS = ("plain", "guided", "exact")


class Sampling:
    """`steps` by column: STEPS denoising steps each, from the same images with the same noise."""

    def __init__(self, real: RealData) -> None:
        self.real, self.model = real, _random(real)
        encoded, start = encode(self.model, real), time.process_time()
        surrogate = igds(self.model, encoded, IPC)
        self.building = time.process_time() - start
        exact = igds(self.model, encoded, IPC, settings=IGDS(route=through_denoiser))
        plain = self.model.denoise
        guides: dict[str, Denoise] = {"plain": plain, "guided": surrogate(plain), "exact": exact(plain)}
        self.steps: Mapping[str, Callable[[], None]] = {name: self._step(guides[name]) for name in COLUMNS}
        self.shown = len(surrogate.real(1.0))

    def _step(self, denoise: Denoise) -> Callable[[], None]:
        classes, shape = self.model.num_classes, self.model.shape
        y = torch.arange(classes).repeat_interleave(IPC)
        noise = torch.randn(len(y), *shape, generator=stream(0, "benchmark.noise"))
        # From t/T = 0.8 down to 0.2: all inside the window, the last level is not 0.
        sigmas = torch.tensor([self.model.sigma_at(0.8 - 0.6 * k / STEPS) for k in range(STEPS + 1)])

        def step() -> None:
            for _ in ddpm(denoise, sigmas, y, lambda k: noise):
                pass

        return step

    def facts(self) -> dict[str, Any]:
        config = default_config(self.model.shape, self.model.num_classes)
        weights = sum(value.numel() for value in self.model.module.parameters())
        return {
            "network": {**config, "parameters": weights},
            "images": IPC * self.model.num_classes,
            "real_images_a_step": self.shown,
            "steps": STEPS,
            "building_s": self.building,
        }


def _random(real: RealData) -> DiffusionModel:
    module = build(default_config(real.shape, real.num_classes)).requires_grad_(False)
    generator = stream(0, "benchmark.weights")
    for value in module.parameters():
        value.add_(0.02 * torch.randn(value.shape, generator=generator))
    return adapted(module, cosine_alphas_bar(), real.class_names)


def digits() -> RealData:
    return load_data("digits")


def mnist() -> RealData:
    """MNIST at 28x28 where $INFODISTILL_DATA has it, else the digits enlarged: ten classes of as many pixels."""
    folder = os.environ.get("INFODISTILL_DATA")
    if folder and (path := Path(folder) / "mnist").is_dir():
        return load_data(path)
    data = digits()
    large = torch.nn.functional.interpolate(data.images.float(), (28, 28), mode="bilinear", align_corners=False)
    return RealData(large.round().to(torch.uint8), data.labels, data.class_names, data.space, "digits at 28x28")
