"""Rows of the admission table, see `table.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from infodistill.augment import dsa
from infodistill.distillation import Distillation
from infodistill.methods.idm import idm
from infodistill.methods.iid import iid
from infodistill.nets.convnet import convnet
from infodistill.real import RealData
from infodistill.sources.queue import Queue
from infodistill.sources.teachers import random_teachers

NET = convnet(depth=2, width=8)
AUGMENT = dsa("color_crop_cutout_scale_rotate")
COMMON = {"ipc": 2, "seed": 5, "real_per_class": 6, "augment": AUGMENT}
QUEUE = {"nets": 4, "start": 2, "interval": 2, "train_steps": 2, "batch_train": 8}


def already_right(job: Distillation) -> Distillation:
    """The job as if its untrained networks had classified half of 4 images: the cross-entropy counts from step 1 on."""
    for source in job.sources():
        if isinstance(source, Queue):
            for place in source.places:
                place.meter.set(2, 4)
    return job


def queued(real: RealData) -> Distillation:
    return already_right(idm(real, NET, **QUEUE, **COMMON))  # type: ignore[arg-type]


def related(real: RealData) -> Distillation:
    pool = random_teachers(convnet(depth=2, width=6), real, count=2, seed=3)
    return iid(real, NET, teachers=pool, **COMMON)  # type: ignore[arg-type]


def related_queued(real: RealData) -> Distillation:
    pool = random_teachers(convnet(depth=2, width=6), real, count=2, seed=3)
    job = iid(real, NET, teachers=pool, host=idm, covariance=0.03, centralisation=0.01, group=1, **QUEUE, **COMMON)  # type: ignore[arg-type]
    return already_right(job)


ROWS: Mapping[str, Callable[[RealData], Distillation]] = {
    "idm": queued,
    "iid": related,
    "iid on idm, class by class": related_queued,
}
