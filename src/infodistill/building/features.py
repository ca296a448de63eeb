"""IDM, IID, NCFM and CAFE from their recipes."""

from __future__ import annotations

from typing import Any

import torch

from infodistill import augment
from infodistill.building.making import INITS, Making, Size
from infodistill.distillation import Distillation
from infodistill.methods.cafe import before_pooling, cafe
from infodistill.methods.dm import dm
from infodistill.methods.idm import idm
from infodistill.methods.iid import iid
from infodistill.methods.ncfm import HalvedWhenStill, ncfm
from infodistill.settings import Characteristic, Featured, Queued, Related
from infodistill.sources.frequencies import FrequencySampler, Gaussian
from infodistill.storage.initial import Mosaic, bilinear

REAL = {"idm": 256, "iid": 256, "ncfm": 1024, "cafe": 256}
"""Real images of each class per step, where the recipe does not say: the authors' numbers."""


def _common(recipe: Any, making: Making) -> dict[str, Any]:
    return {
        **making.common(recipe.ipc),
        "lr": recipe.lr,
        "real_per_class": recipe.real_per_class or REAL[recipe.method],
        "augment": augment.by_name(recipe.augment),
    }


def _queued(recipe: Queued) -> dict[str, Any]:
    names = ("factor", "ce", "scale", "reset_every", "group", "nets", "start", "interval", "trained", "train_steps")
    return {
        **{name: getattr(recipe, name) for name in (*names, "batch_train", "lr_net")},
        "init": Mosaic(recipe.factor, INITS[recipe.init], bilinear),
        "momentum": recipe.momentum,
    }


def queued(recipe: Queued, making: Making) -> Distillation:
    """IDM."""
    return idm(making.real, making.net, **_common(recipe, making), **_queued(recipe))


def related(recipe: Related, making: Making) -> Distillation:
    """IID on DM or on IDM."""
    host = {"dm": dm, "idm": idm}[recipe.host]
    own: dict[str, Any] = {"momentum": recipe.momentum, "init": INITS[recipe.init]}
    if recipe.host == "idm":
        own = _queued(recipe)
    own |= {"covariance": recipe.covariance, "centralisation": recipe.centralisation, "host": host}
    return iid(
        making.real, making.net, teachers=making.teachers().held(1, "iid.teachers"), **_common(recipe, making), **own
    )


def characteristic(recipe: Characteristic, making: Making) -> Distillation:
    """NCFM."""
    psi, patience = recipe.adversary, recipe.patience
    frequencies = (
        Gaussian(recipe.frequencies, making.seed)
        if psi is None
        else FrequencySampler(seed=making.seed, lr=psi.lr, momentum=psi.momentum, count=recipe.frequencies)
    )
    return ncfm(
        making.real,
        making.experts().segments,
        **_common(recipe, making),
        factor=recipe.factor,
        weight_decay=recipe.weight_decay,
        alpha=recipe.alpha,
        beta=recipe.beta,
        frequencies=frequencies,
        calibration=recipe.calibration,
        init=INITS[recipe.init],
        group=recipe.group,
        plateau=None if patience is None else HalvedWhenStill(patience=patience),
    )


def featured(recipe: Featured, making: Making) -> Distillation:
    """CAFE.

    Raises:
        ValueError: not as many weights as the network has stages.
    """
    if recipe.layers is not None:
        module = before_pooling(making.net, making.real.shape, making.real.num_classes)
        stages = len(module.stages(torch.zeros(2, *making.real.shape)))
        if len(recipe.layers) != stages:
            raise ValueError(f"layers has {len(recipe.layers)} weights, this network wants {stages}, one per stage")
    names = ("layers", "discrimination", "calm", "moved", "window", "probe", "most_updates", "most_epochs", "halved")
    return cafe(
        making.real,
        making.net,
        **_common(recipe, making),
        **{name: getattr(recipe, name) for name in names},
        momentum=recipe.momentum,
        init=INITS[recipe.init],
        lr_net=recipe.lr_net,
        batch_train=recipe.batch_train,
        augment_train=augment.by_name(recipe.augment_train),
    )


def _drawn(recipe: Any, size: Size) -> int:
    return (recipe.real_per_class or REAL[recipe.method]) * size.classes


def queued_work(recipe: Queued, size: Size) -> float:
    """Flops of one step: features of both sides, and the training of the networks in the queue."""
    shown = recipe.ipc * size.classes * recipe.factor**2
    trained = recipe.trained * recipe.train_steps * recipe.batch_train
    return size.one * (_drawn(recipe, size) + 2 * shown + 3 * trained)


def related_work(recipe: Related, size: Size) -> float:
    """Flops of the host's step, and of a teacher on the synthetic images."""
    images = recipe.ipc * size.classes
    if recipe.host == "dm":
        return size.one * (_drawn(recipe, size) + 2 * images) + 2 * size.teacher * images
    return queued_work(recipe, size) + 2 * size.teacher * images * recipe.factor**2


def characteristic_work(recipe: Characteristic, size: Size) -> float:
    """Flops of one step: features of both sides, their products with the frequencies not counted."""
    shown = recipe.ipc * size.classes * recipe.factor**2
    return size.one * (_drawn(recipe, size) + (4 if recipe.calibration else 2) * shown)


def featured_work(recipe: Featured, size: Size) -> float:
    """Flops of one step after which the network trains, at least.

    Features of both sides and a probe, then epochs on the set, each with a probe: as few as CAFE allows.
    """
    images, epochs = recipe.ipc * size.classes, min(recipe.window, recipe.most_epochs)
    probes = (epochs + 1) * recipe.probe * size.classes
    return size.one * (_drawn(recipe, size) + 2 * images + 3 * images * epochs + probes)
