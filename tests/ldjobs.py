"""Tiny label distillations that several test files share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from infodistill.distillation import Distillation
from infodistill.sources.carried import Carried
from infodistill.types import NetFactory
from table import NET, tiny_real

Make = Callable[..., Distillation]


def small(make: Make, net: NetFactory = NET, **changes: Any) -> Distillation:
    settings: dict[str, Any] = {"ipc": 2, "seed": 5, "batch": 4, "window": 3, "patience": 2, "real_per_class": 6}
    return make(tiny_real(), net, **{**settings, **changes})


def carried(job: Distillation) -> Carried:
    return job.terms["match"].term.carried  # type: ignore[attr-defined]


def after(job: Distillation, steps: int) -> list[Tensor]:
    for _ in job.run(steps):
        pass
    return [tensor.detach().clone() for tensor in job.syn.trainable()]
