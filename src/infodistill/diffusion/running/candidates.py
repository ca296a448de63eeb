"""The settings calibration tries: one grid a method, the one that pushes nothing first, the default next.

After these two come the settings that differ from the default in one number, nearest first, then the others, so that a
small budget sees what matters. What the user fixed stays as it is, and a number nothing depends on is not tried: two
settings that mean the same would waste the budget. `COUNT` in all at most, fewer where less is left to choose.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from infodistill.diffusion.encoded import Encoded
from infodistill.diffusion.given import Tightest
from infodistill.diffusion.igds import IGDS, Fixed, contextual_push, igds
from infodistill.diffusion.mgd3 import centre_pull, mgd3
from infodistill.diffusion.model import DiffusionModel
from infodistill.diffusion.running.calibration import Candidates, Make
from infodistill.diffusion.running.describing import described
from infodistill.diffusion.running.trials import Setting
from infodistill.diffusion.samplers import Variance, learned
from infodistill.diffusion.sampling import Plan, Steer, plain

COUNT = 19
"""Settings of a method at most: one that pushes nothing and eighteen more."""

CLOSE = 0.1
"""Values nearer to the default than this, relatively, are not tried beside it."""

Axis = tuple[float, Sequence[float]]
"""The default, and what else is tried."""

Axes = Mapping[str, Axis]


def grid(**axes: Sequence[float]) -> tuple[Setting, ...]:
    """Every combination, in order."""
    return tuple(dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values()))


def around(axes: Axes) -> tuple[Setting, ...]:
    """Every combination of the axes: all defaults first, then those of one other value, then the rest.

    Each part is in the order of how many places on the axes lie between a setting and the default.
    """
    lines = {
        name: sorted([own, *(value for value in tried if not math.isclose(value, own, rel_tol=CLOSE))])
        for name, (own, tried) in axes.items()
    }

    def far(setting: Setting) -> tuple[int, int]:
        places = [abs(lines[name].index(value) - lines[name].index(axes[name][0])) for name, value in setting.items()]
        return min(sum(place > 0 for place in places), 2), sum(places)

    return tuple(sorted(grid(**lines), key=far))


def plain_candidates(weight: float = 1.0) -> Candidates:
    """Plain sampling: the weight of classifier-free guidance, that of the plan first; ties go to the nearest to it.

    The sampler is that of the plan. For models with a null class; others have nothing to choose.
    """

    def make(setting: Setting, model: DiffusionModel, encoded: Encoded, plan: Plan) -> tuple[Plan, Steer]:
        del model, encoded
        return replace(plan, weight=setting["weight"]), plain

    tried = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0)
    return Candidates("dit", around({"weight": (weight, tried)}), make, lambda one: abs(one["weight"] - weight))


def igds_candidates(ipc: int, settings: IGDS | None = None) -> Candidates:
    """IGDS: s, the bandwidth h in units of the tightest, and the contextual push beta * s; of these what is free.

    `scale`, `beta` and `bandwidth` of the settings stay where they are given. s moves nothing without a prototype, the
    push nothing without a contextual term or at one image per class, h nothing where no term reads it.

    Raises:
        ValueError: nothing is left to choose.
    """
    how = settings or IGDS()
    axes = _axes(ipc, how)
    if not axes:
        raise ValueError(f"nothing is left to calibrate: no term that acts at {ipc} images per class has a free number")

    def make(setting: Setting, model: DiffusionModel, encoded: Encoded, plan: Plan) -> tuple[Plan, Steer]:
        return plan, igds(model, encoded, plan.ipc, settings=with_setting(how, setting, plan.ipc), seed=plan.seed)

    off = {name: 0.0 if name in ("s", "push") else own for name, (own, _) in axes.items()}
    tried = around(axes)
    if off.keys() & {"s", "push"}:
        tried = (off, *(setting for setting in tried if setting != off))
    return Candidates("igds", tried[:COUNT], make, _pushing, {"ipc": ipc, "settings": described(how)})


def with_setting(settings: IGDS, setting: Setting, ipc: int) -> IGDS:
    """The settings of IGDS that a candidate of `igds_candidates` stands for; what it does not name stays."""
    s = setting["s"] if "s" in setting else (settings.scale or settings.prototype.scale)(ipc)
    changes: dict[str, Any] = {}
    if "s" in setting:
        changes["scale"] = Fixed(s)
    if "push" in setting:
        changes["beta"] = Fixed(setting["push"] / s if s != 0 else 0.0)
    if "h" in setting:
        changes["bandwidth"] = Tightest(setting["h"])
    return replace(settings, **changes)


def mgd3_candidates(*, until: float | None = None, n_init: int = 1, variance: Variance = learned) -> Candidates:
    """MGD3 as published: the pull, and how far down it acts unless `until` says it; `variance` is the sampler's."""
    shared: dict[str, Any] = {"n_init": n_init, "variance": variance, **({} if until is None else {"until": until})}

    def make(setting: Setting, model: DiffusionModel, encoded: Encoded, plan: Plan) -> tuple[Plan, Steer]:
        how: dict[str, Any] = {"steps": plan.steps, "seed": plan.seed, **shared, **setting}
        return plan, mgd3(model, encoded, plan.ipc, **how)

    return _pulls("mgd3", (0.1, (0.03, 0.3, 1.0, 3.0, 10.0)), (0.5, (0.75, 0.25)), make, shared)


def pull_candidates() -> Candidates:
    """The k-means pull as a force."""

    def make(setting: Setting, model: DiffusionModel, encoded: Encoded, plan: Plan) -> tuple[Plan, Steer]:
        how: dict[str, Any] = {"seed": plan.seed, **setting}
        return plan, centre_pull(model, encoded, plan.ipc, **how)

    return _pulls("pull", (1.0, (0.03, 0.1, 0.3, 0.5, 2.0)), (0.9, (0.7, 0.5)), make, {})


def _pulls(method: str, pull: Axis, until: Axis, make: Make, shared: Mapping[str, Any]) -> Candidates:
    axes = {"pull": pull} if "until" in shared else {"pull": pull, "until": until}
    off = {name: own if name == "until" else 0.0 for name, (own, _) in axes.items()}
    return Candidates(method, (off, *around(axes)), make, lambda setting: setting["pull"], described(shared))


def _pushing(setting: Setting) -> float:
    return setting.get("s", 0.0) + setting.get("push", 0.0)


def _axes(ipc: int, how: IGDS) -> Axes:
    """The numbers of IGDS that are free and that something depends on."""
    s = (how.scale or how.prototype.scale)(ipc)
    prototype = how.prototype.build is not None and s != 0
    contextual = how.contextual.build is not None and ipc > 1 and s != 0
    reads = (prototype and how.prototype.reads_bandwidth) or (contextual and how.contextual.reads_bandwidth)
    free = {
        "s": prototype and how.scale is None,
        "h": reads and how.bandwidth == Tightest(),
        "push": contextual and how.beta is None,
    }
    few = all(free.values())
    doses = (0.0, 0.2, 0.4) if few else (0.0, 0.1, 0.2, 0.4, 0.6) if prototype else (0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
    axes: Axes = {
        "s": (s, (0.1, 0.3, 1.0) if few else (0.03, 0.1, 0.3, 1.0, 2.0, 3.0)),
        "h": (3.0 if ipc == 1 else 1.0, (1.0, 3.0) if few else (1.0, 3.0, 6.0)),
        "push": (contextual_push(ipc, how.prototype.push), tuple(contextual_push(ipc, dose) for dose in doses)),
    }
    return {name: axis for name, axis in axes.items() if free[name]}
