"""IDC, DREAM and PDD from their recipes."""

from __future__ import annotations

from typing import Any

from infodistill import augment
from infodistill.augment.mixing import MIXES
from infodistill.building.making import INITS, Making, Size
from infodistill.distillation import Distillation
from infodistill.evaluation.protocols import protocol_for
from infodistill.methods.dream import dream
from infodistill.methods.idc import conv_l1, conv_squared_error, idc
from infodistill.methods.pdd import pdd
from infodistill.settings import Formed, Progressive, Representative
from infodistill.storage.initial import Initialise, Mosaic, Stored

DISTANCES = {"squared": conv_squared_error, "absolute": conv_l1}
REAL = {"idc": 64, "pdd": 64, "dream": 128}
"""Real images of each class per step, where the recipe does not say: the authors' numbers."""


def stored_images(init: str, factor: int) -> Initialise:
    """The start of a set of [0, 1] pixels whose stored images hold `factor` x `factor` others."""
    return Stored(Mosaic(factor, INITS[init]))


def _settings(recipe: Formed, making: Making) -> dict[str, Any]:
    return {
        **making.common(recipe.ipc),
        "factor": recipe.factor,
        "lr": recipe.lr,
        "momentum": recipe.momentum,
        "real_per_class": recipe.real_per_class or REAL[recipe.method],
        "most": recipe.most,
        "augment": augment.by_name(recipe.augment),
        "init": stored_images(recipe.init, recipe.factor),
        "inner": recipe.inner,
        "train_images": recipe.train_images,
        "lr_net": recipe.lr_net,
        "batch_train": recipe.batch_train,
        "augment_train": augment.by_name(recipe.augment_train),
        "mix": None if recipe.mix == "none" else MIXES[recipe.mix],
        "distance": DISTANCES[recipe.distance],
        "group": recipe.group,
        "clamp_every": recipe.clamp_every,
    }


def formed(recipe: Formed, making: Making) -> Distillation:
    """IDC."""
    return idc(making.real, making.net, **_settings(recipe, making), early=recipe.early)


def representative(recipe: Representative, making: Making) -> Distillation:
    """DREAM, or DREAM+ where features count; `kmeans` is its own start, by clusters of features."""
    chosen = _settings(recipe, making)
    chosen |= {"interval": recipe.interval, "features": recipe.features, "early": recipe.early}
    if recipe.init == "kmeans":
        del chosen["init"]
    return dream(making.real, making.net, **chosen)


def progressive(recipe: Progressive, making: Making) -> Distillation:
    """PDD."""
    chosen = _settings(recipe, making)
    del chosen["ipc"]
    protocol = protocol_for(recipe.protocol, recipe.data_name(making.real.name))
    stages: dict[str, Any] = {"ipcs": recipe.split, "stage_steps": recipe.stage_steps, "protocol": protocol}
    trained = {name: getattr(recipe, name) for name in ("transition", "stage_epochs", "pool", "refresh")}
    return pdd(making.real, making.net, **chosen, **stages, **trained)


def work(recipe: Formed, size: Size) -> float:
    """Flops of one step: gradients of the real and the synthetic images, and the network's training on real ones."""
    shown = min(recipe.ipc * recipe.factor**2, recipe.most)
    drawn = recipe.real_per_class or REAL[recipe.method]
    return size.one * (size.classes * (3 * drawn + 7 * shown) + 3 * recipe.train_images)


def representative_work(recipe: Representative, size: Size) -> float:
    """Flops of one step of IDC, and of the features of all images, shared by the steps that use their clusters."""
    return work(recipe, size) + size.one * size.images / recipe.interval


def progressive_work(recipe: Progressive, size: Size) -> float:
    """Flops of one step, over all stages: IDC's on the set so far, and the networks' trainings on the earlier ones."""
    total, before, learned = 0.0, 0, 0
    for own in recipe.split:
        so_far = recipe.model_copy(update={"ipc": before + own})
        images = learned * size.classes * recipe.factor**2
        total += work(so_far, size) + size.one * 3 * recipe.transition * images / (recipe.inner * recipe.refresh)
        before += own
        learned += before
    return total / len(recipe.split)
