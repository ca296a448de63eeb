"""From a recipe to its method's job: one small function per family of methods, found by the name of the method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from infodistill.building import bilevel, features, formation, matching, trajectory
from infodistill.building.making import INITS, Making, Size, Trained
from infodistill.distillation import Distillation


def one_step(recipe: Any) -> int:
    """A network drawn anew for every update."""
    del recipe
    return 1


@dataclass(frozen=True)
class Family:
    """What is known of a method.

    Attributes:
        build: (recipe, making) -> the job without any added term.
        work: (recipe, size) -> flops of one step.
        life: recipe -> steps a matching network lives for; a teacher is kept as long.
    """

    build: Callable[[Any, Making], Distillation]
    work: Callable[[Any, Size], float]
    life: Callable[[Any], int] = one_step


_GRADIENTS = Family(matching.gradients, matching.work, matching.life)
_TRAJECTORY = Family(trajectory.matched, trajectory.work)
_REPLAYED = Family(bilevel.replayed, bilevel.replayed_work)
_LABELLING = Family(bilevel.labelling, bilevel.labelling_work)

FAMILIES: Mapping[str, Family] = {
    "dm": Family(matching.distribution, matching.work, matching.life),
    "dc": _GRADIENTS,
    "dsa": _GRADIENTS,
    "mtt": _TRAJECTORY,
    "tesla": _TRAJECTORY,
    "ftd": Family(trajectory.flat, trajectory.work),
    "datm": Family(trajectory.aligned, trajectory.work),
    "seqmatch": Family(trajectory.staged, trajectory.work),
    "dd": _REPLAYED,
    "sldd": _REPLAYED,
    "ld": _LABELLING,
    "ld_ridge": _LABELLING,
    "rtp": Family(bilevel.remembering, bilevel.remembering_work),
    "frepo": Family(bilevel.regression, bilevel.regression_work),
    "dcc": Family(matching.aggregated, matching.work, matching.life),
    "cafe": Family(features.featured, features.featured_work),
    "idc": Family(formation.formed, formation.work),
    "dream": Family(formation.representative, formation.representative_work),
    "pdd": Family(formation.progressive, formation.progressive_work),
    "idm": Family(features.queued, features.queued_work),
    "iid": Family(features.related, features.related_work),
    "ncfm": Family(features.characteristic, features.characteristic_work),
}

__all__ = ["FAMILIES", "INITS", "Family", "Making", "Size", "Trained"]
