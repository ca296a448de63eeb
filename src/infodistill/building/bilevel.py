"""DD, SLDD, LD, RTP and FRePo from their recipes."""

from __future__ import annotations

from typing import Any

from infodistill import augment
from infodistill.building.making import INITS, SECOND_ORDER, Making, Size, given
from infodistill.distillation import Distillation
from infodistill.methods.dd import batches_of, dd
from infodistill.methods.frepo import frepo, mirrored, plain
from infodistill.methods.ld import inner_batch, ld
from infodistill.methods.ld_ridge import ld_ridge
from infodistill.methods.rtp import rtp
from infodistill.methods.sldd import sldd
from infodistill.settings import Labelling, Regression, Remembering, Replayed
from infodistill.storage.bases import InitialFactors, noise_factors, principal_factors

FACTORS: dict[str, InitialFactors] = {"noise": noise_factors, "real": principal_factors}
TARGETS = 1024
"""Real images of a step, all classes together, where a recipe does not say."""


def replayed(recipe: Replayed, making: Making) -> Distillation:
    """DD and SLDD."""
    settings: dict[str, Any] = {
        **making.common(recipe.ipc),
        **given(real_per_class=recipe.real_per_class, batches=recipe.batches),
        "passes": recipe.passes,
        "rate": recipe.rate,
        "lr": recipe.lr,
        "halve_every": recipe.halve_every,
        "clip": recipe.clip,
        "nets": recipe.nets,
        "hold": recipe.hold or None,
        "init": INITS[recipe.init],
    }
    if recipe.method == "dd":
        return dd(making.real, making.net, **settings)
    return sldd(making.real, making.net, **settings, images=recipe.images)


def labelling(recipe: Labelling, making: Making) -> Distillation:
    """LD, second order or by ridge regression."""
    settings: dict[str, Any] = {
        **making.common(recipe.ipc),
        **given(batch=recipe.batch, real_per_class=recipe.real_per_class),
        "lr": recipe.lr,
        "lr_net": recipe.lr_net,
        "window": recipe.window,
        "patience": recipe.patience,
        "init": INITS[recipe.init],
    }
    if recipe.method == "ld":
        return ld(making.real, making.net, **settings, inner_lr=recipe.inner_lr)
    ridge: dict[str, Any] = {"ridge": recipe.ridge, "keep": recipe.keep, "lr_adjust": recipe.lr_adjust}
    return ld_ridge(making.real, making.net, **settings, **ridge)


def remembering(recipe: Remembering, making: Making) -> Distillation:
    """RTP.

    Raises:
        ValueError: a start that bases do not have.
    """
    if recipe.init not in FACTORS:
        raise ValueError(f"bases start from {' or '.join(FACTORS)}, got init = '{recipe.init}'")
    return rtp(
        making.real,
        making.net,
        **making.common(recipe.ipc),
        **given(real_per_class=recipe.real_per_class),
        bases=recipe.bases,
        scale=recipe.scale,
        steps=recipe.inner_steps,
        rate=recipe.rate,
        momentum=recipe.inner_momentum,
        rows=recipe.rows,
        lr=recipe.lr,
        lr_momentum=recipe.momentum,
        clip=recipe.clip,
        nets=recipe.nets,
        augment=augment.by_name(recipe.augment),
        init=FACTORS[recipe.init],
    )


def regression(recipe: Regression, making: Making) -> Distillation:
    """FRePo."""
    return frepo(
        making.real,
        making.net,
        **making.common(recipe.ipc),
        **given(real_per_class=recipe.real_per_class),
        lr=recipe.lr,
        steps=recipe.anneal,
        final=recipe.final,
        members=recipe.members,
        life=recipe.life,
        lr_net=recipe.lr_net,
        batch_net=recipe.batch_net,
        net_steps=recipe.net_steps,
        augment=augment.by_name(recipe.augment),
        prototypes=mirrored if recipe.mirrored else plain,
        init=INITS[recipe.init],
    )


def _drawn(per_class: int | None, classes: int) -> int:
    return per_class * classes if per_class else TARGETS


def replayed_work(recipe: Replayed, size: Size) -> float:
    """Flops of one step: T second-order steps on a K-th of the set, and the real batch, for every network."""
    images = recipe.images or recipe.ipc * size.classes
    count = recipe.batches or (1 if recipe.images else batches_of(recipe.ipc))
    inner = SECOND_ORDER * recipe.passes * count * images / count
    return size.one * recipe.nets * (inner + 3 * _drawn(recipe.real_per_class, size.classes))


def labelling_work(recipe: Labelling, size: Size) -> float:
    """Flops of one step: one second-order step, the real batch, and one step of the carried network."""
    images = recipe.ipc * size.classes
    batch = min(recipe.batch or inner_batch(images), images)
    return size.one * ((SECOND_ORDER + 3) * batch + 3 * _drawn(recipe.real_per_class, size.classes))


def remembering_work(recipe: Remembering, size: Size) -> float:
    """Flops of one step: the students' steps and the real batch."""
    inner = SECOND_ORDER * recipe.inner_steps * recipe.rows * size.classes
    return size.one * recipe.nets * (inner + 3 * (recipe.real_per_class or 64) * size.classes)


def regression_work(recipe: Regression, size: Size) -> float:
    """Flops of one step: features of the real batch and of the set, and one step of the drawn network."""
    images = recipe.ipc * size.classes * (2 if recipe.mirrored else 1)
    lesson = recipe.net_steps * min(recipe.batch_net, images)
    return size.one * (_drawn(recipe.real_per_class, size.classes) + 3 * images + 3 * lesson)
