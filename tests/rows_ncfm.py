"""NCFM's rows of the admission table, on made-up experts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from infodistill.augment import diffaug
from infodistill.distillation import Distillation
from infodistill.methods.ncfm import HalvedWhenStill, ncfm
from infodistill.real import RealData
from infodistill.sources.frequencies import FrequencySampler, Gaussian
from trajectories import Walks

AUGMENT = diffaug("color_crop")


def made(real: RealData, **changes: object) -> Distillation:
    """Two stored images per class, seen as eight."""
    settings = {"ipc": 2, "seed": 5, "lr": 0.02, "real_per_class": 6, "augment": AUGMENT}
    return ncfm(real, Walks(), **{**settings, "frequencies": Gaussian(32, 5), **changes})  # type: ignore[arg-type]


def every_option(real: RealData) -> Distillation:
    """Psi, calibration, the falling rate, class by class."""
    psi = FrequencySampler(seed=5, count=8, lr=0.1)
    return made(real, frequencies=psi, calibration=1.0, group=1, plateau=HalvedWhenStill(patience=2))


ROWS: Mapping[str, Callable[[RealData], Distillation]] = {"ncfm": made, "ncfm, every option": every_option}
