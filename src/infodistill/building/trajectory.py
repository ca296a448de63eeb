"""MTT and its descendants from their recipes."""

from __future__ import annotations

from typing import Any

from infodistill import augment
from infodistill.building.making import INITS, SECOND_ORDER, Making, Size, given
from infodistill.distillation import Distillation
from infodistill.evaluation.protocols import protocol_for
from infodistill.methods.datm import datm
from infodistill.methods.ftd import ftd
from infodistill.methods.mtt import mtt
from infodistill.methods.seqmatch import seqmatch
from infodistill.methods.tesla import tesla
from infodistill.settings import Aligned, Flat, Staged, Trajectory


def settings(recipe: Trajectory, making: Making) -> dict[str, Any]:
    """What every descendant of MTT takes."""
    student = recipe.student
    return {
        **making.common(recipe.ipc),
        **given(batch_syn=student.batch, real_per_class=recipe.real_per_class),
        "steps": student.steps,
        "rate": student.rate,
        "lr_rate": student.lr_rate,
        "lr": recipe.lr,
        "momentum": recipe.momentum,
        "augment": augment.by_name(recipe.augment),
        "init": INITS[recipe.init],
    }


def matched(recipe: Trajectory, making: Making) -> Distillation:
    """MTT and TESLA."""
    make = {"mtt": mtt, "tesla": tesla}[recipe.method]
    return make(making.real, making.experts().segments, **settings(recipe, making))


def flat(recipe: Flat, making: Making) -> Distillation:
    """FTD."""
    return ftd(making.real, making.experts().segments, **settings(recipe, making), ema=recipe.ema)


def aligned(recipe: Aligned, making: Making) -> Distillation:
    """DATM."""
    chosen, trained = settings(recipe, making), making.experts()
    if recipe.recognised:
        del chosen["init"]
    labels: dict[str, Any] = {"lr_labels": recipe.labels.lr, "momentum_labels": recipe.labels.momentum}
    return datm(making.real, trained.segments, trained.finals(), **chosen, **labels, threshold=recipe.threshold)


def staged(recipe: Staged, making: Making) -> Distillation:
    """SeqMatch."""
    chosen = settings(recipe, making)
    for name in ("ipc", "rate"):
        del chosen[name]
    rates = (recipe.student.rate, recipe.later_rate)
    stages: dict[str, Any] = {"ipcs": recipe.split, "stage_steps": recipe.stage_steps, "rates": rates}
    stages["protocol"] = protocol_for(recipe.protocol, recipe.data_name(making.real.name))
    return seqmatch(making.real, making.net, making.record(), **chosen, **stages)


def work(recipe: Trajectory, size: Size) -> float:
    """Flops of one step: N second-order steps on the student's batch."""
    images = recipe.ipc * size.classes
    return size.one * SECOND_ORDER * recipe.student.steps * min(recipe.student.batch or images, images)
