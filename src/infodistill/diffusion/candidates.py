"""The settings calibration tries: one grid a method, all of `COUNT`, each with plain sampling among them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from infodistill.diffusion.calibration import Candidates, Setting
from infodistill.diffusion.encoded import Encoded
from infodistill.diffusion.given import Tightest
from infodistill.diffusion.igds import IGDS, Fixed, contextual_push, igds
from infodistill.diffusion.mgd3 import centre_pull, mgd3
from infodistill.diffusion.model import DiffusionModel
from infodistill.diffusion.samplers import Variance, ddim, learned
from infodistill.diffusion.sampling import Plan, Steer, plain

COUNT = 19
"""Settings of every method: plain sampling and eighteen more."""


def grid(**axes: Sequence[float]) -> tuple[Setting, ...]:
    """Every combination, in order."""
    return tuple(dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values()))


def plain_candidates() -> Candidates:
    """Plain sampling: the weight of classifier-free guidance, and the noise a step renews (eta of DDIM; 1 is DDPM).

    For models with a null class; others have nothing to choose.
    """

    def make(setting: Setting, model: DiffusionModel, encoded: Encoded, plan: Plan) -> tuple[Plan, Steer]:
        del model, encoded
        return replace(plan, weight=setting["weight"], sampler=partial(ddim, eta=setting["eta"])), plain

    tried = grid(weight=(1.25, 1.5, 2.0, 3.0, 4.0, 6.0), eta=(1.0, 0.5, 0.0))
    return Candidates("dit", ({"weight": 1.0, "eta": 1.0}, *tried), make, lambda setting: abs(setting["weight"] - 1))


def igds_candidates(ipc: int, settings: IGDS | None = None) -> Candidates:
    """IGDS: s, the bandwidth h in units of the tightest, and the contextual push beta * s (none at one image)."""
    if ipc == 1:
        tried = grid(s=(0.03, 0.1, 0.3, 1.0, 2.0, 3.0), h=(1.0, 3.0, 6.0), push=(0.0,))
    else:
        tried = grid(s=(0.1, 0.3, 1.0), h=(1.0, 3.0), push=tuple(contextual_push(ipc, most) for most in (0, 0.2, 0.4)))

    def make(setting: Setting, model: DiffusionModel, encoded: Encoded, plan: Plan) -> tuple[Plan, Steer]:
        how = with_setting(settings or IGDS(), setting)
        return plan, igds(model, encoded, plan.ipc, settings=how, seed=plan.seed)

    off = {"s": 0.0, "h": 1.0, "push": 0.0}
    return Candidates("igds", (off, *tried), make, lambda setting: setting["s"] + setting["push"])


def with_setting(settings: IGDS, setting: Setting) -> IGDS:
    """The settings of IGDS that a candidate of `igds_candidates` stands for."""
    s = setting["s"]
    beta = Fixed(setting["push"] / s if s != 0 else 0.0)
    return replace(settings, scale=Fixed(s), bandwidth=Tightest(setting["h"]), beta=beta)


def mgd3_candidates(*, variance: Variance = learned) -> Candidates:
    """MGD3 as published: the pull, and how far down it acts; `variance` is the sampler's."""

    def make(setting: Setting, model: DiffusionModel, encoded: Encoded, plan: Plan) -> tuple[Plan, Steer]:
        how: dict[str, Any] = {"steps": plan.steps, "seed": plan.seed, "variance": variance, **setting}
        return plan, mgd3(model, encoded, plan.ipc, **how)

    tried = grid(pull=(0.03, 0.1, 0.3, 1.0, 3.0, 10.0), until=(0.75, 0.5, 0.25))
    return Candidates("mgd3", ({"pull": 0.0, "until": 0.5}, *tried), make, lambda setting: setting["pull"])


def pull_candidates() -> Candidates:
    """The k-means pull as a force."""

    def make(setting: Setting, model: DiffusionModel, encoded: Encoded, plan: Plan) -> tuple[Plan, Steer]:
        how: dict[str, Any] = {"seed": plan.seed, **setting}
        return plan, centre_pull(model, encoded, plan.ipc, **how)

    tried = grid(pull=(0.03, 0.1, 0.3, 0.5, 1.0, 2.0), until=(0.9, 0.7, 0.5))
    return Candidates("pull", ({"pull": 0.0, "until": 0.9}, *tried), make, lambda setting: setting["pull"])
