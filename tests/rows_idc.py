"""Rows of the admission table, see `table.py`: IDC and DREAM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from infodistill.distillation import Distillation
from infodistill.methods.dream import dream
from infodistill.methods.idc import conv_l1, idc
from infodistill.nets.convnet import convnet
from infodistill.real import RealData

NET = convnet(depth=2, width=8)
COMMON: dict[str, Any] = {
    "ipc": 2, "seed": 5, "lr": 0.02, "real_per_class": 4, "inner": 3, "train_images": 10, "batch_train": 6
}  # fmt: skip

ROWS: Mapping[str, Callable[[RealData], Distillation]] = {
    "idc": lambda real: idc(real, NET, **COMMON),
    "idc, as released": lambda real: idc(
        real, NET, distance=conv_l1, most=5, group=1, clamp_every=3, early=1, **COMMON
    ),
    "dream": lambda real: dream(real, NET, interval=3, **COMMON),
    "dream+": lambda real: dream(real, NET, interval=2, features=1.0, early=1, **COMMON),
}
