"""Rows of the admission table for methods that unroll training, learn labels or solve a regression."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from infodistill.compute import Policy
from infodistill.compute.views import View
from infodistill.distillation import Distillation
from infodistill.evaluation.protocols import EvaluationProtocol
from infodistill.methods.datm import datm
from infodistill.methods.dd import dd
from infodistill.methods.frepo import frepo
from infodistill.methods.ftd import ftd
from infodistill.methods.ld import ld
from infodistill.methods.ld_ridge import ld_ridge
from infodistill.methods.mtt import mtt
from infodistill.methods.rtp import rtp
from infodistill.methods.seqmatch import seqmatch
from infodistill.methods.sldd import sldd
from infodistill.methods.tesla import tesla
from infodistill.real import RealData
from infodistill.synthetic import from_real
from trajectories import AUGMENT, NET, Recorder, Walks

SHORT = EvaluationProtocol("short", epochs=2, full_epochs=1)
"""How networks are trained on the subsets so far."""
COMMON = {"ipc": 2, "seed": 5, "real_per_class": 4}
STUDENT = {"steps": 3, "batch_syn": 4, "rate": 0.02, "augment": AUGMENT, **COMMON}
TAUGHT = {"batches": 2, "passes": 1, "init": from_real, **COMMON}
LABELS = {"batch": 4, "window": 3, "patience": 2, **COMMON}


def final(walks: Walks) -> list[View]:
    """The walks' ends, as DATM's experts."""
    return [View(walks.module, walk[5], Policy(), None) for walk in walks.walks]


def aligned(real: RealData) -> Distillation:
    """DATM from given real images (walks recognise nothing), never skipping."""
    walks = Walks()
    return datm(real, walks, final(walks), threshold=100.0, init=from_real, **STUDENT)


NEWER: Mapping[str, Callable[[RealData], Distillation]] = {
    "mtt": lambda real: mtt(real, Walks(), **STUDENT),
    "tesla": lambda real: tesla(real, Walks(), **STUDENT),
    "ftd": lambda real: ftd(real, Walks(), ema=0.9, **STUDENT),
    "datm": aligned,
    "seqmatch": lambda real: seqmatch(
        real, NET, Recorder(), ipcs=(1, 1), stage_steps=3, rates=(0.02,), protocol=SHORT,
        **{name: value for name, value in STUDENT.items() if name not in {"ipc", "rate"}},
    ),
    "dd": lambda real: dd(real, NET, **TAUGHT),
    "sldd": lambda real: sldd(real, NET, **TAUGHT),
    "ld": lambda real: ld(real, NET, **LABELS),
    "ld_ridge": lambda real: ld_ridge(real, NET, **LABELS),
    "rtp": lambda real: rtp(real, NET, bases=4, steps=3, rows=2, **COMMON),
    "frepo": lambda real: frepo(real, NET, members=2, life=3, **COMMON),
}  # fmt: skip
