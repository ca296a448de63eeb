"""Plain sampling, the baseline "DiT" (Peebles & Xie, ICCV 2023), arXiv:2212.09748; of any class-conditional model.

The set is n samples of p(x | y): 50 respaced DDPM steps, classifier-free guidance of weight 4, nothing else. The real
images are not looked at while sampling. Every guided method here is this with a `Steer` between model and sampler.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from infodistill.diffusion.encoded import Encoded
from infodistill.diffusion.guidance import Watched
from infodistill.diffusion.model import DiffusionModel
from infodistill.diffusion.samplers import ddpm, learned
from infodistill.diffusion.sampling import Plan, Steer, plain

STEPS = 50
"""Respaced DDPM steps of the dataset-distillation papers; DiT's own default is 250."""

WEIGHT = 4.0
"""Their weight of classifier-free guidance."""


def published_plan(model: DiffusionModel, ipc: int, *, seed: int = 0, **changes: Any) -> Plan:
    """What Minimax, IGD and MGD3 sample with, for this model: 50 steps, weight 4, learned variance.

    A model without a null class is sampled at weight 1, one that has not learned its variance with the posterior's. A
    four-channel latent is extrapolated in its first three channels, as in the authors' `forward_with_cfg`.

    Differs: there both halves of a doubled batch are sampled with noise of their own and one is thrown away; here there
    is one row an image. Classes of the model's ids belong to its adapter.

    Args:
        model: what is sampled.
        ipc: images per class.
        seed: of the noise.
        changes: other fields of `Plan`.
    """
    channels = 3 if model.space is None and model.shape[0] == 4 else None
    told: dict[str, Any] = {
        "steps": STEPS,
        "weight": WEIGHT if model.null else 1.0,
        "channels": channels,
        "sampler": partial(ddpm, variance=learned),
    }
    return Plan(ipc, seed, **{**told, **changes})


def dit(
    model: DiffusionModel,
    encoded: Encoded,
    ipc: int,
    *,
    seed: int = 0,
    watch: Callable[[Watched], None] | None = None,
) -> Steer:
    """No guidance beyond the model's own, in the signature all sampling methods have; nothing is watched."""
    del model, encoded, ipc, seed, watch
    return plain
