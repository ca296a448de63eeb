"""The methods `family.py` compares, each with the settings it is run with on MNIST, and its controls.

A contender is a function (real, net, ipc, seed, policy, experts) -> Distillation; its second entry is its own protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from infodistill.augment import dsa, shift
from infodistill.compute import Policy
from infodistill.distillation import Distillation
from infodistill.methods.dd import dd, rates_only
from infodistill.methods.dm import dm
from infodistill.methods.frepo import frepo
from infodistill.methods.ld import ld
from infodistill.methods.ld_ridge import ld_ridge
from infodistill.methods.mtt import mtt
from infodistill.methods.rtp import AtRate, rtp, rtp_rates_only
from infodistill.methods.sldd import sldd
from infodistill.real import RealData
from infodistill.sources.experts import Experts, ExpertStore, up_to
from infodistill.storage.bases import principal_factors
from infodistill.storage.labels import learned_logits
from infodistill.synthetic import from_real
from infodistill.types import NetFactory


class Setting(NamedTuple):
    """What a contender is built from."""

    real: RealData
    net: NetFactory
    ipc: int
    seed: int
    policy: Policy
    cache: Path
    experts: Callable[[], ExpertStore]

    @property
    def common(self) -> dict[str, Any]:
        return {"ipc": self.ipc, "seed": self.seed, "policy": self.policy}


def _dm(s: Setting) -> Distillation:
    return dm(s.real, s.net, real_per_class=64, augment=shift(1), **s.common)


def _mtt(s: Setting) -> Distillation:
    experts = Experts(s.experts(), span=1, window=up_to(2), seed=s.seed)
    return mtt(
        s.real, experts, steps=20, batch_syn=10 if s.ipc == 1 else 50, lr=1000.0, lr_rate=1e-4, rate=0.02,
        augment=shift(1), real_per_class=1, **s.common,
    )  # fmt: skip


def _teaching(s: Setting) -> dict[str, Any]:
    """DD's and SLDD's settings: all images in one batch, or ten batches of one image a class."""
    return {
        "passes": 10 if s.ipc == 1 else 2, "rate": 0.1, "lr": 0.03, "real_per_class": 50, "init": from_real, **s.common
    }  # fmt: skip


def _rtp(s: Setting) -> dict[str, Any]:
    return {"steps": 30 if s.ipc == 1 else 15, "rate": 0.05, "rows": 10 if s.ipc == 1 else 5, "real_per_class": 50}


def _frepo(s: Setting) -> Distillation:
    """Short training at a higher rate than the protocol's 3e-4, which its plan says; width 32 learns slowly at that."""
    job = frepo(
        s.real, s.net, lr=2e-2, steps=1800, lr_net=1e-3, real_per_class=32, augment=dsa("crop_cutout_scale_rotate"),
        **s.common,
    )  # fmt: skip
    job.syn.plan = AtRate(2e-3)
    return job


CONTENDERS: dict[str, tuple[Callable[[Setting], Distillation], str]] = {
    "dm": (_dm, "quick"),
    "dm-frepo": (_dm, "quick"),
    "mtt": (_mtt, "quick"),
    "frepo": (_frepo, "frepo"),
    "dd": (lambda s: dd(s.real, s.net, **_teaching(s)), "dd"),
    "dd-control": (lambda s: dd(s.real, s.net, learns=rates_only, **_teaching(s)), "dd"),
    "sldd": (lambda s: sldd(s.real, s.net, labels=learned_logits, **_teaching(s)), "dd"),
    "sldd-simplex": (lambda s: sldd(s.real, s.net, **_teaching(s)), "dd"),
    "rtp": (
        lambda s: rtp(
            s.real,
            s.net,
            bases=24 if s.ipc == 1 else 100,
            lr=2.0 if s.ipc == 1 else 0.2,
            init=principal_factors,
            **_rtp(s),
            **s.common,
        ),
        "rtp",
    ),
    "rtp-control": (lambda s: rtp_rates_only(s.real, s.net, **_rtp(s), **s.common), "rtp"),
    "ld": (lambda s: ld(s.real, s.net, real_per_class=40, **s.common), "ld"),
    "ld-ridge": (lambda s: ld_ridge(s.real, s.net, real_per_class=40, **s.common), "ld"),
}
