"""The methods `family.py` compares, each with the settings it is run with on MNIST, and its controls.

A contender is a function (real, net, ipc, seed, policy, experts) -> Distillation; its second entry is its own protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from infodistill.augment import shift
from infodistill.compute import Policy
from infodistill.distillation import Distillation
from infodistill.methods.dd import dd, rates_only
from infodistill.methods.dm import dm
from infodistill.methods.frepo import frepo
from infodistill.methods.ld import ld
from infodistill.methods.ld_ridge import ld_ridge
from infodistill.methods.mtt import mtt
from infodistill.methods.rtp import rtp, rtp_rates_only
from infodistill.methods.sldd import sldd
from infodistill.real import RealData
from infodistill.sources.experts import Experts, ExpertStore
from infodistill.synthetic import from_real
from infodistill.types import NetFactory


class Setting(NamedTuple):
    """What a contender is built from."""

    real: RealData
    net: NetFactory
    ipc: int
    seed: int
    policy: Policy
    experts: Callable[[], ExpertStore]

    @property
    def common(self) -> dict[str, Any]:
        return {"ipc": self.ipc, "seed": self.seed, "policy": self.policy}


def _dm(s: Setting) -> Distillation:
    return dm(s.real, s.net, real_per_class=64, augment=shift(1), **s.common)


def _mtt(s: Setting) -> Distillation:
    experts = Experts(s.experts(), span=1, window=lambda step: (0, 2), seed=s.seed)
    batch = None if s.ipc == 1 else 50
    return mtt(
        s.real, experts, steps=20, batch_syn=batch, lr=100.0, lr_rate=1e-4, rate=0.02, augment=shift(1),
        real_per_class=1, **s.common,
    )  # fmt: skip


def _dd(s: Setting, learns: Any = None) -> Distillation:
    more = {"init": from_real, "learns": learns} if learns else {"init": from_real}
    return dd(s.real, s.net, rate=0.02, lr=0.02, real_per_class=40, passes=10 if s.ipc == 1 else 3, **more, **s.common)


def _sldd(s: Setting) -> Distillation:
    passes = 10 if s.ipc == 1 else 3
    return sldd(s.real, s.net, rate=0.02, lr=0.02, real_per_class=40, passes=passes, init=from_real, **s.common)


def _frepo(s: Setting) -> Distillation:
    return frepo(s.real, s.net, lr=3e-3, steps=2000, real_per_class=40, **s.common)


CONTENDERS: dict[str, tuple[Callable[[Setting], Distillation], str]] = {
    "dm": (_dm, "quick"),
    "mtt": (_mtt, "mtt"),
    "frepo": (_frepo, "frepo"),
    "dd": (_dd, "dd"),
    "dd-control": (lambda s: _dd(s, rates_only), "dd"),
    "sldd": (_sldd, "dd"),
    "rtp": (lambda s: rtp(s.real, s.net, real_per_class=40, **s.common), "rtp"),
    "rtp-control": (lambda s: rtp_rates_only(s.real, s.net, real_per_class=40, **s.common), "rtp"),
    "ld": (lambda s: ld(s.real, s.net, real_per_class=40, **s.common), "ld"),
    "ld-ridge": (lambda s: ld_ridge(s.real, s.net, real_per_class=40, **s.common), "ld"),
}
