"""The precision a model is sampled in: for real and while settings are chosen for it, the same."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from infodistill.compute import Policy
from infodistill.diffusion.contract import Prediction
from infodistill.diffusion.model import DiffusionModel


def lowered(model: DiffusionModel, policy: Policy) -> DiffusionModel:
    """The model in the policy's precision: under bf16 its network runs in autocast, everything around it in float32."""
    if policy.precision != "bf16":
        return model

    def denoise(x: Tensor, sigma: Tensor, y: Tensor) -> Prediction:
        with torch.autocast(x.device.type, torch.bfloat16):
            told = model.denoise(x, sigma, y)
        return Prediction(told.x0.float(), None if told.spread is None else told.spread.float())

    return replace(model, denoise=denoise)
