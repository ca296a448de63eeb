"""What a diffusers scheduler's configuration says of a model: its table of abar, and what the model predicts.

How the scheduler would sample is of no interest here; our samplers walk the table by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from infodistill.diffusion.models.predictions import PREDICTIONS, Clean, from_noise
from infodistill.diffusion.schedules import cosine_alphas_bar

SCHEDULERS = (
    "DDPMScheduler",
    "DDIMScheduler",
    "PNDMScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LMSDiscreteScheduler",
    "KDPM2DiscreteScheduler",
)
"""Those whose model is a variance-preserving one with a table of beta."""


def _linear(first: float, last: float, steps: int) -> Tensor:
    return torch.linspace(first, last, steps, dtype=torch.float64)


def _scaled_linear(first: float, last: float, steps: int) -> Tensor:
    return torch.linspace(first**0.5, last**0.5, steps, dtype=torch.float64).square()


def _sigmoid(first: float, last: float, steps: int) -> Tensor:
    return first + (last - first) * torch.linspace(-6, 6, steps, dtype=torch.float64).sigmoid()


BETAS: Mapping[str, Callable[[float, float, int], Tensor]] = {
    "linear": _linear,
    "scaled_linear": _scaled_linear,
    "sigmoid": _sigmoid,
}
"""beta by the name of its schedule; `squaredcos_cap_v2` is given by abar itself."""


def table_of(config: Mapping[str, Any]) -> Tensor:
    """alphas_bar (T,), float64: prod (1 - beta) of the configuration's betas.

    Raises:
        ValueError: a scheduler or a schedule that is not known, or one whose last level has no signal left.
    """
    name, schedule = config.get("_class_name"), config.get("beta_schedule", "linear")
    if name not in SCHEDULERS or config.get("use_flow_sigmas") or config.get("rescale_betas_zero_snr"):
        odd = next((f" with {key}" for key in ("use_flow_sigmas", "rescale_betas_zero_snr") if config.get(key)), "")
        raise ValueError(f"the model's scheduler is {name}{odd}, wanted a DDPM-like one with a table of beta")
    steps, trained = config.get("num_train_timesteps", 1000), config.get("trained_betas")
    if type(steps) is not int or steps < 1:
        raise ValueError(f"the scheduler's num_train_timesteps is {steps!r}, wanted a whole number from 1")
    if trained is not None:
        return _product(torch.tensor(_floats(trained), dtype=torch.float64))
    if schedule == "squaredcos_cap_v2":
        return cosine_alphas_bar(steps)
    if schedule not in BETAS:
        raise ValueError(f"the scheduler's beta_schedule is {schedule!r}, wanted one of {', '.join(BETAS)}")
    return _product(BETAS[schedule](config.get("beta_start", 1e-4), config.get("beta_end", 0.02), steps))


def prediction_of(config: Mapping[str, Any]) -> Clean:
    """What turns the model's prediction into x0.

    Raises:
        ValueError: a prediction type that is not known, or a variance learned without a range.
    """
    name = config.get("prediction_type")
    if name is not None and name not in PREDICTIONS:
        raise ValueError(f"the model predicts {name!r}, wanted one of {', '.join(PREDICTIONS)}")
    if config.get("variance_type") == "learned":
        raise ValueError("the model's variance_type is 'learned', wanted 'learned_range' or a fixed one")
    return from_noise if name is None else PREDICTIONS[name]


def scheduler_config(alphas_bar: Tensor, predicts: Clean) -> dict[str, Any]:
    """The configuration of a DDPMScheduler of diffusers with this table: its betas are listed one by one."""
    before = torch.cat([alphas_bar.new_ones(1), alphas_bar[:-1]])
    name = next(name for name, known in PREDICTIONS.items() if known is predicts)
    return {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": len(alphas_bar),
        "trained_betas": (1 - alphas_bar / before).tolist(),
        "prediction_type": name,
        "clip_sample": False,
    }


def _product(betas: Tensor) -> Tensor:
    if not bool(((betas > 0) & (betas < 1)).all()):
        low, high = float(betas.min()), float(betas.max())
        raise ValueError(f"betas must lie strictly between 0 and 1, the scheduler has {low:g} to {high:g}")
    return (1 - betas).cumprod(0)


def _floats(values: Sequence[float]) -> list[float]:
    return [float(value) for value in values]
