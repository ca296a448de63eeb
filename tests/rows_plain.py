"""Rows of the admission table: DCC, DSAC and CAFE, see `table.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from infodistill.augment import dsa, dsa_per_image
from infodistill.distillation import Distillation
from infodistill.methods.cafe import cafe
from infodistill.methods.dcc import dcc
from infodistill.nets.convnet import convnet
from infodistill.real import RealData

NET = convnet(depth=2, width=8)
STRATEGY = "color_crop_cutout_scale_rotate"
COMMON: dict[str, Any] = {"ipc": 3, "seed": 5, "real_per_class": 6}
SIAMESE: dict[str, Any] = {"augment": dsa(STRATEGY), "augment_train": dsa_per_image(STRATEGY)}
WARM: dict[str, Any] = {"outer": 3, "inner_epochs": 2, "warm_outer": 1, "warm_inner": 2}
"""Of seven steps the first two are the warm-up's."""
BRIEF: dict[str, Any] = {"window": 2, "probe": 4, "most_updates": 3, "most_epochs": 3, "halved": (1, 2)}
"""Seven steps see three networks, and the rate halved twice."""

ROWS: Mapping[str, Callable[[RealData], Distillation]] = {
    "dcc": lambda real: dcc(real, NET, **WARM, **COMMON),
    "dsac": lambda real: dcc(real, NET, **WARM, **SIAMESE, **COMMON),
    "cafe": lambda real: cafe(real, NET, **BRIEF, **SIAMESE, **COMMON),
}
