"""DM, DC, DSA and DCC from their recipes."""

from __future__ import annotations

from typing import Any

from infodistill import augment
from infodistill.building.making import INITS, Making, Size
from infodistill.distillation import Distillation
from infodistill.methods.dc import dc, loops
from infodistill.methods.dcc import dcc
from infodistill.methods.dcc import loops as dcc_loops
from infodistill.methods.dm import dm
from infodistill.methods.dsa import dsa
from infodistill.settings import Aggregated, Matching

REAL = 256
"""Real images of each class per step, where the recipe does not say: the authors' number."""


def _settings(recipe: Matching, making: Making) -> dict[str, Any]:
    return {
        **making.common(recipe.ipc),
        "lr": recipe.lr,
        "momentum": recipe.momentum,
        "real_per_class": recipe.real_per_class or REAL,
        "init": INITS[recipe.init],
        "augment": augment.by_name(recipe.augment),
    }


def distribution(recipe: Matching, making: Making) -> Distillation:
    """DM."""
    return dm(making.real, making.net, **_settings(recipe, making), share=recipe.share)


def _trained(recipe: Matching) -> dict[str, Any]:
    """How a network lives and is trained between updates."""
    return {
        "outer": recipe.outer,
        "inner_epochs": recipe.inner_epochs,
        "lr_net": recipe.lr_net,
        "batch_train": recipe.batch_train,
        "augment_train": augment.by_name(recipe.augment_train),
    }


def gradients(recipe: Matching, making: Making) -> Distillation:
    """DC and DSA."""
    make = {"dc": dc, "dsa": dsa}[recipe.method]
    return make(making.real, making.net, **_settings(recipe, making), **_trained(recipe))


def aggregated(recipe: Aggregated, making: Making) -> Distillation:
    """DCC and DSAC."""
    warm: dict[str, Any] = {"warm_outer": recipe.warm_outer, "warm_inner": recipe.warm_inner}
    return dcc(making.real, making.net, **_settings(recipe, making), **_trained(recipe), **warm)


def _loops(recipe: Matching) -> tuple[int, int]:
    """Updates in a network's life, and epochs of training between two of them."""
    outer, inner = (dcc_loops if recipe.method == "dcc" else loops)(recipe.ipc)
    return recipe.outer or outer, inner if recipe.inner_epochs is None else recipe.inner_epochs


def life(recipe: Matching) -> int:
    """Steps a matching network lives for."""
    return 1 if recipe.method == "dm" else _loops(recipe)[0]


def work(recipe: Matching, size: Size) -> float:
    """Flops of one step, inner training included."""
    images, drawn = recipe.ipc * size.classes, (recipe.real_per_class or REAL) * size.classes
    if recipe.method == "dm":
        return size.one * (drawn + 2 * images)
    outer, inner = _loops(recipe)
    return size.one * (3 * drawn + 7 * images + 3 * images * inner * (outer - 1) / outer)
