"""DM, DC and DSA from their recipes."""

from __future__ import annotations

from typing import Any

from infodistill import augment
from infodistill.building.making import INITS, Making, Size
from infodistill.distillation import Distillation
from infodistill.methods.dc import dc, loops
from infodistill.methods.dm import dm
from infodistill.methods.dsa import dsa
from infodistill.settings import Matching

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


def gradients(recipe: Matching, making: Making) -> Distillation:
    """DC and DSA."""
    make = {"dc": dc, "dsa": dsa}[recipe.method]
    inner: dict[str, Any] = {"outer": recipe.outer, "inner_epochs": recipe.inner_epochs}
    train: dict[str, Any] = {"lr_net": recipe.lr_net, "batch_train": recipe.batch_train}
    each = augment.by_name(recipe.augment_train)
    return make(making.real, making.net, **_settings(recipe, making), **inner, **train, augment_train=each)


def life(recipe: Matching) -> int:
    """Steps a matching network lives for."""
    return 1 if recipe.method == "dm" else recipe.outer or loops(recipe.ipc)[0]


def work(recipe: Matching, size: Size) -> float:
    """Flops of one step, inner training included."""
    images, drawn = recipe.ipc * size.classes, (recipe.real_per_class or REAL) * size.classes
    if recipe.method == "dm":
        return size.one * (drawn + 2 * images)
    outer, inner = loops(recipe.ipc)
    outer, inner = recipe.outer or outer, inner if recipe.inner_epochs is None else recipe.inner_epochs
    return size.one * (3 * drawn + 7 * images + 3 * images * inner * (outer - 1) / outer)
