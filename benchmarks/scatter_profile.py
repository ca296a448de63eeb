"""The profile of a set, every number by name, with all that is common to many sets read once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from scatter_sets import POLICY

from infodistill import nets
from infodistill import recipe as recipes
from infodistill.building import jobs
from infodistill.compute import View
from infodistill.distilled import Distilled
from infodistill.information import nce_numbers, penultimate
from infodistill.measures import seen as reading
from infodistill.measures.naming import FIXED
from infodistill.measures.profiling import ALONE, information_profile
from infodistill.measures.seen import Ground
from infodistill.measures.set_information import Seen, Yardstick, numbers
from infodistill.real import RealData
from infodistill.sources.teachers import train_teachers
from infodistill.training import Fit

PER_CLASS = 64
TWICE = ("p3", "c2", "c5")
"""Numbers of sampling that the profile has too."""

UNTESTED = ("usable_linear", "usable_network", "decoded")
"""Of digits read on training images too: accuracy and profile share test images, which a choice may not look at."""


class Reader:
    """The real side of one data set. The digits take the teachers of their recipe, MNIST three small ones."""

    def __init__(self, real: RealData, cache: Path) -> None:
        self.real, self.small = real, real.name == "digits"
        self.views: list[View] = list(self._teachers(cache).views)
        net = None if self.small else nets.by_name("convnet3-w16")
        self.ground, self.yardstick = Ground(real, self.views, net=net), Yardstick(real, self.views)
        self.training = Ground(real.replace(test=None), self.views, net=net)

    def _teachers(self, cache: Path) -> Any:
        if self.small:
            recipe = recipes.parse(recipes.find("digits", "dm", 10)[1])
            return jobs.teachers_for(recipe, self.real, policy=POLICY, cache=cache)
        fit = Fit(2, 64, 0.01, 0.9, 5e-4)
        return train_teachers(self.real, nets.by_name("convnet3-w16"), count=3, fit=fit, policy=POLICY, cache=cache)

    @cached_property
    def shown(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Features and classes of the real images of the NCE bound, per teacher; the draw of `infodistill measure`."""
        drawn = self.real.batch(0, 0, PER_CLASS, owner="measure")
        return [(penultimate(view, drawn.x, drawn.space).float(), drawn.y) for view in self.views]

    @torch.no_grad()
    def __call__(self, distilled: Distilled) -> dict[str, float]:
        """Name -> value; what is not defined for the set is left out."""
        batch = distilled.batch()
        stored = distilled.images_bytes + distilled.labels_bytes + distilled.scalars_bytes
        told = information_profile(batch, self.ground, stored=stored, effort=ALONE)
        found = {name: entry["mean"] for name, entry in told.items() if isinstance(entry, Mapping)}
        again = reading.Seen(batch, self.training, stored)
        found |= {f"{name}, training images": FIXED[name].read(again).value for name in UNTESTED if self.small}
        others = numbers(Seen(batch, self.yardstick)).values
        found |= {name: value for name, value in others.items() if name not in TWICE}
        features = [penultimate(view, batch.x, batch.space).float() for view in self.views]
        pairs = zip(features, self.shown, strict=True)
        found["nce"] = fmean(nce_numbers(f, batch.y, *real)["nce"] for f, real in pairs)
        return {name: float(value) for name, value in found.items() if value is not None}
