"""From a recipe to a job: names become functions, a data set becomes teachers, published weights become terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.flop_counter import FlopCounterMode

from infodistill import augment, nets
from infodistill.compute import Policy
from infodistill.distillation import Distillation
from infodistill.information import CMI, MIM
from infodistill.methods.dc import dc, loops
from infodistill.methods.dm import dm
from infodistill.methods.dsa import dsa
from infodistill.protocols import EvaluationProtocol, flippable, protocol_for
from infodistill.real import RealData
from infodistill.recipe import TERMS, Recipe, RecipeError
from infodistill.sources.teachers import Schooling, Teachers, Told, random_teachers, train_teachers
from infodistill.synthetic import Initialise, from_kmeans, from_noise, from_real
from infodistill.training import Fit
from infodistill.types import NetFactory
from infodistill.weights import Ratio, Weighted, whole_set

INITS: dict[str, Initialise] = {"real": from_real, "noise": from_noise, "kmeans": from_kmeans}
DEFAULT_RATIO = {"cmi": 0.01, "mim": 0.03}
"""Used when neither the command line nor the recipe gives a strength (docs/methods/cmi.md and mim.md say why)."""

SMALL_STEP = 3e9
"""Flops of a step below which one thread serves best. DM on the digits (0.3e9): 1000 steps in 16 s on one thread while
other work filled both cores, 155 s on two."""

AUTO = ((12, "convnet2-w32"), (32, "convnet3-w64"), (64, "convnet4-w64"), (128, "convnet5-w64"))


@dataclass(frozen=True)
class Strength:
    """How strongly a term counts: a weight, a ratio of gradient norms, or whatever the recipe says."""

    kind: str = "recipe"
    value: float = 0.0
    origin: str = "asked for"

    def __str__(self) -> str:
        return {"recipe": "", "ratio": f"ratio:{self.value:g}"}.get(self.kind, f"{self.value:g}")

    def weight(self) -> float | Ratio:
        return Ratio(self.value) if self.kind == "ratio" else self.value


def parse_add(text: str) -> tuple[str, tuple[Strength, ...]]:
    """`cmi`, `cmi=8000`, `cmi=ratio:0.1` or a grid `cmi=ratio:0,0.01,0.03` as (term, strengths).

    Raises:
        RecipeError: no such term, or a strength that is not a number >= 0.
    """
    name, equals, value = text.partition("=")
    if name not in TERMS:
        raise RecipeError(f"unknown term '{name}' in --add {text}, known: {', '.join(TERMS)}")
    if not equals:
        return name, (Strength(),)
    kind = "ratio" if value.startswith("ratio:") else "weight"
    try:
        values = [float(part) for part in value.removeprefix("ratio:").split(",")]
    except ValueError:
        raise RecipeError(
            f"--add {text}: the strength is a number, ratio:NUMBER or a comma list, got '{value}'"
        ) from None
    if not all(0 <= v < float("inf") for v in values):
        raise RecipeError(f"--add {text}: a strength must be a finite number of at least 0")
    return name, tuple(Strength(kind, v) for v in values)


def resolve_strength(recipe: Recipe, term: str, asked: Strength) -> Strength:
    """The strength in numbers; `origin` says where it comes from."""
    if asked.kind != "recipe":
        return asked
    entry = recipe.terms.get(cast(Any, term))
    if entry is not None and entry.weight is not None:
        return Strength("weight", entry.weight, f"the recipe's published weight ({entry.source})")
    if entry is not None and entry.ratio is not None:
        return Strength("ratio", entry.ratio, "the recipe's gradient-norm ratio (ours)")
    return Strength(
        "ratio", DEFAULT_RATIO[term], "the default gradient-norm ratio (ours; no published weight is known)"
    )


def net_name(name: str, shape: tuple[int, int, int]) -> str:
    """The network a recipe means: `auto` follows the image size, ours."""
    if name != "auto":
        return name
    return next((net for size, net in AUTO if max(shape[1:]) <= size), "convnet6-w64")


def network(name: str, shape: tuple[int, int, int]) -> NetFactory:
    """The factory of a recipe's network name."""
    return nets.by_name(net_name(name, shape))


def protocol(recipe: Recipe, real: RealData, name: str | None = None) -> EvaluationProtocol:
    """The evaluation protocol as it applies to this data."""
    return protocol_for(name or recipe.protocol, real.name if recipe.dataset == "any" else recipe.dataset)


def plain(recipe: Recipe, real: RealData, *, seed: int = 0, policy: Policy | None = None) -> Distillation:
    """The recipe's method without any added term."""
    settings: dict[str, Any] = {
        "ipc": recipe.ipc,
        "seed": seed,
        "lr": recipe.lr,
        "momentum": recipe.momentum,
        "real_per_class": recipe.real_per_class,
        "init": INITS[recipe.init],
        "augment": augment.by_name(recipe.augment),
        "policy": policy,
    }
    factory = network(recipe.net, real.shape)
    if recipe.method == "dm":
        return dm(real, factory, **settings, share=recipe.share)
    inner = {"outer": recipe.outer, "inner_epochs": recipe.inner_epochs}
    settings |= {**inner, "lr_net": recipe.lr_net, "batch_train": recipe.batch_train}
    make = {"dc": dc, "dsa": dsa}[recipe.method]
    return make(real, factory, **settings, augment_train=augment.by_name(recipe.augment_train))


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
) -> Distillation:
    """The job a recipe describes, with terms added at given strengths; a strength of 0 adds nothing.

    Raises:
        ValueError: a name nobody knows, an ipc the data cannot give, or a term that is structurally zero.
    """
    job = plain(recipe, real, seed=seed, policy=policy)
    strengths = {name: resolve_strength(recipe, name, asked) for name, asked in (add or {}).items()}
    strengths = {name: strength for name, strength in strengths.items() if strength.value > 0}
    entries: dict[str, Weighted] = {}
    if "cmi" in strengths:
        pool = teachers or teachers_for(recipe, real, seed=seed, policy=policy, cache=cache, progress=progress)
        entries["cmi"] = Weighted(strengths["cmi"].weight(), CMI(pool.held(network_life(recipe))), whole_set)
    if "mim" in strengths:
        looks = cast(Any, job.terms["match"].term).looks
        entries["mim"] = Weighted(strengths["mim"].weight(), MIM(looks), whole_set)
    return job.adding(**entries) if entries else job


def network_life(recipe: Recipe) -> int:
    """Steps a matching network lives for; a teacher is kept as long (in the authors' DC and DSA, one per iteration)."""
    return 1 if recipe.method == "dm" else recipe.outer or loops(recipe.ipc)[0]


def rehearse(recipe: Recipe, real: RealData, add: Mapping[str, Strength]) -> Distillation:
    """The same job with one tiny untrained teacher: built for its errors, or to be timed, never for its result."""
    network(recipe.teachers.net, real.shape)
    tiny = random_teachers(nets.by_name("convnet1-w1"), real, count=1)
    return build(recipe, real, add=add, teachers=tiny)


def schooling(recipe: Recipe, seed: int = 0) -> Schooling:
    """How the recipe's teachers are trained."""
    t = recipe.teachers
    return Schooling(t.count, Fit(t.epochs, t.batch, t.lr, t.momentum, t.weight_decay), seed)


def teachers_for(
    recipe: Recipe,
    real: RealData,
    *,
    seed: int = 0,
    policy: Policy | None = None,
    cache: Path | None = None,
    progress: Told | None = None,
) -> Teachers:
    """The recipe's pretrained networks, from the cache where they are there."""
    school = schooling(recipe, seed)
    settings: dict[str, Any] = {"policy": policy, "cache": cache, "progress": progress}
    factory = network(recipe.teachers.net, real.shape)
    least = recipe.teachers.at_least
    pool = train_teachers(real, factory, count=school.count, fit=school.fit, seed=seed, at_least=least, **settings)
    if progress is not None:
        progress("teachers", school.count, school.count)
    return pool


def forward_flops(name: str, shape: tuple[int, int, int], classes: int) -> float:
    """Floating-point operations of one image's forward pass."""
    module = network(name, shape)(shape, classes)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.zeros(2, *shape))
    return counter.get_total_flops() / 2


def step_flops(recipe: Recipe, real: RealData) -> float:
    """Floating-point operations of one step, roughly, inner training included."""
    one = forward_flops(recipe.net, real.shape, real.num_classes)
    images, drawn = recipe.ipc * real.num_classes, recipe.real_per_class * real.num_classes
    if recipe.method == "dm":
        return one * (drawn + 2 * images)
    outer, inner = loops(recipe.ipc)
    outer, inner = recipe.outer or outer, inner if recipe.inner_epochs is None else recipe.inner_epochs
    return one * (3 * drawn + 7 * images + 3 * images * inner * (outer - 1) / outer)


def spare_threads(work: float) -> None:
    """Programs only: one thread when a step is small. Two are no faster there, and far slower on a busy machine."""
    if work < SMALL_STEP:
        torch.set_num_threads(1)


def fitted(recipe: Recipe, real: RealData) -> Recipe:
    """The recipe with the names that depend on the data filled in, as it is stored in a run."""
    teachers = recipe.teachers.model_copy(update={"net": net_name(recipe.teachers.net, real.shape)})
    filled: dict[str, Any] = {"net": net_name(recipe.net, real.shape), "teachers": teachers}
    if recipe.dataset == "any" and not flippable(real.name):  # the generic recipe does not know what it is used for
        filled |= {key: unflipped(getattr(recipe, key)) for key in ("augment", "augment_train")}
    return recipe.model_copy(update=filled)


def unflipped(name: str) -> str:
    """An augmentation's name without the operation `flip`."""
    kind, colon, strategy = name.rpartition(":")
    return f"{kind}{colon}{'_'.join(word for word in strategy.split('_') if word != 'flip')}"


def described(strength: Strength) -> dict[str, Any]:
    """JSON-able, for a run's record."""
    return {"kind": strength.kind, "value": strength.value, "origin": strength.origin}
