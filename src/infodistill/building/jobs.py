"""From a recipe to a job: names become functions, a data set becomes teachers, published weights become terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.flop_counter import FlopCounterMode

from infodistill.building import FAMILIES, Making, Size, Trained
from infodistill.building.strengths import DEFAULT_RATIO, Strength, described, listed, parse_add, resolve_strength
from infodistill.building.supplies import (
    Same,
    experts_for,
    in_recipe_space,
    net_name,
    network,
    recorder,
    schooling,
    teachers_data,
    teachers_for,
    untrained,
)
from infodistill.compute import Policy
from infodistill.distillation import Distillation
from infodistill.evaluation.protocols import EvaluationProtocol, flippable, protocol_for
from infodistill.information import CMI, MIM
from infodistill.information.cmi import penultimate, penultimate_of_pixels
from infodistill.real import RealData
from infodistill.recipe import Recipe
from infodistill.settings import Aligned, Characteristic, Regression, Related, Staged, Trajectory
from infodistill.sources.staged import Record
from infodistill.sources.teachers import Teachers, Told, random_teachers
from infodistill.weights import Weighted, whole_set

SMALL_STEP = 3e9
"""Flops of a step below which one thread serves best. DM on the digits (0.3e9): 1000 steps in 16 s on one thread while
other work filled both cores, 155 s on two."""


def protocol(recipe: Recipe, real: RealData, name: str | None = None) -> EvaluationProtocol:
    """The evaluation protocol as it applies to this data."""
    size = {"ipc": recipe.ipc, "classes": real.num_classes}
    found = protocol_for(name or recipe.protocol, recipe.data_name(real.name), **size)
    return replace(found, updates=recipe.updates) if isinstance(recipe, Regression) and found.updates else found


def plain(
    recipe: Recipe,
    real: RealData,
    *,
    seed: int = 0,
    policy: Policy | None = None,
    cache: Path | None = None,
    progress: Told | None = None,
    teachers: Teachers | None = None,
    experts: Trained | None = None,
) -> Distillation:
    """The recipe's method without any added term; what it needs trained is trained, or found in the cache."""
    real = in_recipe_space(recipe, real)

    made: dict[str, Any] = {"seed": seed, "policy": policy, "cache": cache, "progress": progress}

    def trained() -> Trained:
        return experts or experts_for(recipe, real, **made)

    def record() -> Record:
        return Same(experts.segments) if experts else recorder(cast(Staged, recipe), real, **made)

    def schooled() -> Teachers:
        return teachers or teachers_for(recipe, real, **made)

    making = Making(real, network(recipe.net, real.shape), seed, policy, trained, record, schooled)
    return FAMILIES[recipe.method].build(recipe, making)


def build(
    recipe: Recipe,
    real: RealData,
    *,
    seed: int = 0,
    policy: Policy | None = None,
    add: Mapping[str, Strength] | None = None,
    cache: Path | None = None,
    progress: Told | None = None,
    teachers: Teachers | None = None,
    experts: Trained | None = None,
) -> Distillation:
    """The job a recipe describes, with terms added at given strengths; a strength of 0 adds nothing.

    Raises:
        ValueError: a name nobody knows, an ipc the data cannot give, or a term that is structurally zero.
    """
    made: dict[str, Any] = {"seed": seed, "policy": policy, "cache": cache, "progress": progress}
    real = in_recipe_space(recipe, real)
    job = plain(recipe, real, **made, teachers=teachers, experts=experts)
    strengths = {name: resolve_strength(recipe, name, asked) for name, asked in (add or {}).items()}
    strengths = {name: strength for name, strength in strengths.items() if strength.value > 0}
    entries: dict[str, Weighted] = {}
    if "mim" in strengths:
        entries["mim"] = Weighted(strengths["mim"].weight(), MIM(_looks(job, recipe.method)), whole_set)
    if "cmi" in strengths:
        pool = teachers or teachers_for(recipe, real, **made)
        entries["cmi"] = Weighted(strengths["cmi"].weight(), _cmi(recipe, pool), whole_set)
    return job.adding(**{name: entries[name] for name in ("cmi", "mim") if name in entries}) if entries else job


def _cmi(recipe: Recipe, pool: Teachers) -> CMI:
    told = recipe.terms.get("cmi")
    feature = penultimate_of_pixels if told is not None and told.shown == "pixels" else penultimate
    return CMI(pool.held(network_life(recipe)), feature=feature)


def _looks(job: Distillation, method: str) -> Any:
    """What the method's own term looks through.

    Raises:
        ValueError: it looks through nothing that features of synthetic images could be read from.
    """
    looks = getattr(job.terms["match"].term, "looks", None)
    if looks is None:
        raise ValueError(f"MIM cannot be added to {method}: its loss looks at no features of synthetic images")
    return looks


def needs_teachers(recipe: Recipe) -> bool:
    """Whether the method itself looks through pretrained networks (IID)."""
    return isinstance(recipe, Related)


def network_life(recipe: Recipe) -> int:
    """Steps a matching network lives for; a teacher is kept as long (in the authors' DC and DSA, one per iteration)."""
    return FAMILIES[recipe.method].life(recipe)


def rehearse(
    recipe: Recipe,
    real: RealData,
    add: Mapping[str, Strength],
    *,
    policy: Policy | None = None,
    teacher: str = "convnet1-w1",
) -> Distillation:
    """The same job with one untrained teacher and untrained experts: for its errors and its speed, never its result."""
    real = in_recipe_space(recipe, real)
    network(recipe.teachers.net, real.shape)
    pool = random_teachers(network(teacher, real.shape), real, count=1)
    if isinstance(recipe, Aligned):  # there is nothing that untrained experts recognise
        recipe = recipe.model_copy(update={"recognised": False})
    return build(recipe, real, add=add, policy=policy, teachers=pool, experts=untrained(recipe, real))


def forward_flops(name: str, shape: tuple[int, int, int], classes: int) -> float:
    """Floating-point operations of one image's forward pass."""
    module = network(name, shape)(shape, classes)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.zeros(2, *shape))
    return counter.get_total_flops() / 2


def step_flops(recipe: Recipe, real: RealData) -> float:
    """Floating-point operations of one step, roughly, inner training included."""
    one = forward_flops(recipe.net, real.shape, real.num_classes)
    teacher = forward_flops(recipe.teachers.net, real.shape, real.num_classes) if needs_teachers(recipe) else 0.0
    return FAMILIES[recipe.method].work(recipe, Size(one, real.num_classes, len(real), teacher))


def spare_threads(work: float) -> None:
    """Programs only: one thread when a step is small. Two are no faster there, and far slower on a busy machine."""
    if work < SMALL_STEP:
        torch.set_num_threads(1)


def fitted(recipe: Recipe, real: RealData) -> Recipe:
    """The recipe with the names that depend on the data filled in, as it is stored in a run."""
    teachers = recipe.teachers.model_copy(update={"net": net_name(recipe.teachers.net, real.shape)})
    filled: dict[str, Any] = {"net": net_name(recipe.net, real.shape), "teachers": teachers}
    if recipe.dataset == "any" and not flippable(real.name):  # the generic recipe does not know what it is used for
        filled |= _without_flips(recipe)
    return recipe.model_copy(update=filled)


def _without_flips(recipe: Recipe) -> dict[str, Any]:
    """Every augmentation the recipe names, without the operation `flip`."""
    changes: dict[str, Any] = {
        key: unflipped(getattr(recipe, key)) for key in ("augment", "augment_train") if hasattr(recipe, key)
    }
    if isinstance(recipe, Trajectory | Characteristic):
        augment = unflipped(recipe.experts.augment)
        changes["experts"] = recipe.experts.model_copy(update={"augment": augment})
    if isinstance(recipe, Regression):
        changes["mirrored"] = False
    return changes


def unflipped(name: str) -> str:
    """An augmentation's name without the operation `flip`."""
    kind, colon, strategy = name.rpartition(":")
    return f"{kind}{colon}{'_'.join(word for word in strategy.split('_') if word != 'flip')}"


__all__ = [
    "DEFAULT_RATIO",
    "Strength",
    "build",
    "described",
    "experts_for",
    "fitted",
    "forward_flops",
    "in_recipe_space",
    "listed",
    "needs_teachers",
    "net_name",
    "network",
    "network_life",
    "parse_add",
    "plain",
    "protocol",
    "rehearse",
    "resolve_strength",
    "schooling",
    "spare_threads",
    "step_flops",
    "teachers_data",
    "teachers_for",
    "unflipped",
]
