"""Rows of the admission table, see `table.py`: PDD, in stages of two updates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from infodistill.augment import diffaug
from infodistill.distillation import Distillation
from infodistill.evaluation.protocols import protocol_for
from infodistill.methods.pdd import pdd
from infodistill.nets.convnet import convnet
from infodistill.real import RealData

NET = convnet(depth=2, width=4)
SHORT = replace(protocol_for("idc"), epochs=3, batch=6, augment="none", mix="none")
"""How networks are trained on the subsets so far."""
SMALL = {
    "ipcs": (1, 1, 1), "stage_steps": 2, "inner": 2, "seed": 5, "lr": 0.5, "real_per_class": 4, "train_images": 6,
    "batch_train": 6, "augment": diffaug("color_crop"), "protocol": SHORT, "transition": 2, "stage_epochs": 3,
}  # fmt: skip

ROWS: Mapping[str, Callable[[RealData], Distillation]] = {"pdd": lambda real: pdd(real, NET, **SMALL)}
