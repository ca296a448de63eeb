"""What training a generator will cost, from timed steps: the budget in minutes and `--dry-run` read it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from infodistill.diffusion.fitting.autoencoder_training import autoencoder_loss
from infodistill.diffusion.fitting.denoiser_training import task
from infodistill.diffusion.fitting.generator_plan import GeneratorPlan
from infodistill.diffusion.models.autoencoder import build_autoencoder
from infodistill.diffusion.models.networks import build, module_call
from infodistill.real import RealData

STEPS = 3
"""Timed, after one that warms up."""


def step_seconds(real: RealData, plan: GeneratorPlan) -> dict[str, float]:
    """Seconds of one step of every training of the plan on the device of the data: forward and backward."""
    seconds: dict[str, float] = {}
    device, how = real.device, plan.denoising
    if plan.autoencoder is not None and plan.encoding is not None:
        vae, images = build_autoencoder(plan.autoencoder).to(device), torch.zeros(plan.encoding.batch, *real.shape)
        kl, x = plan.encoding.kl, images.to(device)
        seconds["autoencoder"] = _timed(lambda: autoencoder_loss(vae, x, torch.zeros_like, kl), plan.encoding.fit, x)
    module = build(plan.network).to(device)
    x0 = torch.zeros(how.batch, *plan.network["shape"], device=device)
    places, ids = torch.zeros(how.batch, dtype=torch.int64), torch.zeros(how.batch, dtype=torch.int64, device=device)
    asked = task(x0, places, torch.ones_like(x0), ids, how)
    seconds["denoiser"] = _timed(lambda: asked.loss(lambda z, t, i: module_call(module, z, t, i)), how.fit, x0)
    return seconds


def cost(real: RealData, plan: GeneratorPlan) -> dict[str, Any]:
    """JSON-able: parameters, steps, seconds per step and in all of every training, bytes on disk."""
    speeds = step_seconds(real, plan)
    networks: dict[str, nn.Module] = {"denoiser": build(plan.network)}
    fits = {"denoiser": plan.denoising.fit}
    if plan.autoencoder is not None and plan.encoding is not None:
        networks["autoencoder"], fits["autoencoder"] = build_autoencoder(plan.autoencoder), plan.encoding.fit
    told: dict[str, Any] = {}
    for what, seconds in speeds.items():
        count = sum(value.numel() for value in networks[what].parameters())
        total = fits[what].steps * seconds / 0.85
        limit = fits[what].minutes
        told[what] = {
            "parameters": count,
            "steps": fits[what].steps,
            "steps_per_second": 1 / seconds,
            "seconds": total if limit is None else min(total, 60 * limit),
        }
    # A checkpoint holds the weights, two averages and two moments; the model the weights once more.
    disk = 6 * 4 * sum(one["parameters"] for one in told.values())
    return {"trainings": told, "seconds": sum(one["seconds"] for one in told.values()), "disk_bytes": disk}


def _timed(loss: Callable[[], Tensor], fit: Any, like: Tensor) -> float:
    def step() -> None:
        with torch.autocast(like.device.type, torch.bfloat16, enabled=fit.precision == "bf16"):
            value = loss()
        value.backward()
        if like.device.type == "cuda":
            torch.cuda.synchronize()

    step()
    begun = time.perf_counter()
    for _ in range(STEPS):
        step()
    return (time.perf_counter() - begun) / STEPS
