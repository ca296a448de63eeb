"""The admission table: a method or a term that has a row here is run through every test of `test_combinations.py`.

A method is a function (real) -> Distillation on tiny data; a term is a function (job) -> entries to add.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from infodistill.augment import dsa, dsa_per_image, shift
from infodistill.distillation import Distillation
from infodistill.information.cmi import CMI
from infodistill.information.controls import RandomDirection, ShuffledLabels
from infodistill.information.mim import MIM
from infodistill.methods.dc import dc
from infodistill.methods.dm import dm
from infodistill.methods.dsa import dsa as dsa_method
from infodistill.nets.convnet import convnet
from infodistill.real import RealData
from infodistill.seeding import stream
from infodistill.sources.critic import TrainedHeads
from infodistill.sources.teachers import Teachers, random_teachers
from infodistill.types import ValueSpace
from infodistill.weights import Ratio, Weighted, whole_set
from newer import NEWER
from rows_idc import ROWS as IDC
from rows_idm import ROWS as IDM
from rows_ncfm import ROWS as NCFM
from rows_pdd import ROWS as PDD
from rows_plain import ROWS as PLAIN

NET = convnet(depth=2, width=8)
STRATEGY = "color_crop_cutout_scale_rotate"


def tiny_real(classes: int = 3, per_class: int = 12, size: int = 8, channels: int = 1) -> RealData:
    """Images with a class-dependent bright block under noise: easy, but not constant."""
    generator = stream(0, "tiny")
    labels = torch.arange(classes).repeat(per_class)
    images = torch.randint(0, 120, (len(labels), channels, size, size), generator=generator, dtype=torch.uint8)
    for c in range(classes):
        images[labels == c, :, c * 2 : c * 2 + 3, 2:6] += 130
    return RealData(
        images,
        labels,
        class_names=tuple(f"class{c}" for c in range(classes)),
        space=ValueSpace((0.4,) * channels, (0.25,) * channels),
        name="tiny",
    )


def teachers(real: RealData) -> Teachers:
    return random_teachers(convnet(depth=2, width=8), real, count=3, seed=1)


FAMILY: Mapping[str, Callable[[RealData], Distillation]] = {**PLAIN, **IDC, **IDM, **NCFM, **PDD}
"""The matching family beyond DM, DC and DSA."""

METHODS: Mapping[str, Callable[[RealData], Distillation]] = {
    "dm": lambda real: dm(real, NET, ipc=3, seed=5, real_per_class=6, augment=dsa(STRATEGY)),
    "dm, three updates a network": lambda real: dm(
        real, NET, ipc=3, seed=5, real_per_class=6, augment=shift(1), share=3
    ),
    "dc": lambda real: dc(real, NET, ipc=3, seed=5, real_per_class=6, outer=3, inner_epochs=2),
    "dsa": lambda real: dsa_method(
        real,
        NET,
        ipc=3,
        seed=5,
        real_per_class=6,
        outer=3,
        inner_epochs=2,
        augment=dsa(STRATEGY),
        augment_train=dsa_per_image(STRATEGY),
    ),
    **NEWER,
    **FAMILY,
}

Entries = Callable[[Distillation], dict[str, Weighted]]


def looks_of(job: Distillation):
    return job.terms["match"].term.looks  # type: ignore[attr-defined]


TERMS: Mapping[str, Entries] = {
    "none": lambda job: {},
    "cmi": lambda job: {"cmi": Weighted(0.5, CMI(teachers(job.real)), whole_set)},
    "cmi by ratio": lambda job: {"cmi": Weighted(Ratio(0.1, every=3), CMI(teachers(job.real)), whole_set)},
    "mim": lambda job: {"mim": Weighted(0.8, MIM(looks_of(job)), whole_set)},
    "mim, trained heads": lambda job: {
        "mim": Weighted(0.8, MIM(looks_of(job), heads=TrainedHeads(dim=8, seed=2)), whole_set)
    },
    "cmi and mim": lambda job: {
        "cmi": Weighted(50.0, CMI(teachers(job.real)), whole_set),
        "mim": Weighted(Ratio(0.03, every=3), MIM(looks_of(job)), whole_set),
    },
    "shuffled-label mim": lambda job: {"mim": Weighted(0.8, ShuffledLabels(MIM(looks_of(job)), seed=3), whole_set)},
    "random direction": lambda job: {"push": Weighted(Ratio(0.1), RandomDirection(seed=4), whole_set)},
}


REFUSED = {("ld_ridge", "mim")}
"""Cells that are structurally zero; asking for one is an error."""


def terms_of(method: str) -> list[str]:
    """The terms a method is tried with: all of them on the matching methods, the plain ones on the rest (for time)."""
    names = ["none", "cmi", "mim"] if method in NEWER else list(TERMS)
    return [name for name in names if (method, name) not in REFUSED]


def make(method: str, term: str, real: RealData | None = None) -> Distillation:
    """The job of one cell of the table."""
    job = METHODS[method](real or tiny_real())
    added = TERMS[term](job)
    return job.adding(**added) if added else job
