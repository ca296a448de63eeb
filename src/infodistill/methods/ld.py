"""Flexible dataset distillation: learn labels instead of images (Bohdal, Yang & Hospedales, 2020), arXiv:2006.08572.

    min_Y  E  CE(f(theta', x_T), y_T),   theta' = theta - 0.01 grad_theta CE(f(theta, X_B), Y_B)

X: fixed real images, Y: their labels, kept on the simplex; theta: a model that is carried through the run, trained by
Adam on (X_B, Y_B) after every update of Y, and begun anew whenever it has stopped improving.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from infodistill.augment import identity
from infodistill.compute import Policy
from infodistill.descent import adam
from infodistill.distillation import Distillation
from infodistill.gradients import cross_entropy
from infodistill.real import RealData
from infodistill.sources.carried import Carried, Curriculum, CurriculumPlan
from infodistill.sources.students import Rates, StudentLooks, Students, as_stored
from infodistill.storage.labels import learned_simplex
from infodistill.synthetic import Initialise, SyntheticSet, from_real, synthesise
from infodistill.training import Fit
from infodistill.types import Batch, NetFactory
from infodistill.unrolling.inner import Unroll
from infodistill.unrolling.unroll import sweep
from infodistill.updates import Update
from infodistill.weights import Weighted

TARGET_BATCH = 1024
"""Real images per step, shared out evenly among the classes."""


@dataclass(frozen=True)
class Lookahead:
    """Cross-entropy on the real batch, mean in nats, of the carried model after one step on the set.

    The same value is the error that the carried model's curriculum follows.
    """

    students: Students
    carried: Carried
    looks: StudentLooks

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        view = self.students.student(syn).view()
        loss = cross_entropy(view.logits(real.x, real.space), real.target)
        self.carried.observe(loss)
        return loss


def inner_batch(images: int) -> int:
    """Images of a set of this size in one step: 10 up to 20 images, 25 up to 50, else 50, as published."""
    return 10 if images <= 20 else 25 if images <= 50 else 50


def target_batch(real: RealData, per_class: int | None = None) -> int:
    """Real images of each class in a step: as asked for, or 1024 shared out evenly."""
    return per_class or max(1, TARGET_BATCH // real.num_classes)


def fixed_images(real: RealData, ipc: int, seed: int, init: Initialise, device: str) -> SyntheticSet:
    """Images that never change, with labels on the simplex that are learned and start one-hot."""
    syn = synthesise(real, ipc, seed, init, device)
    syn.pixels.requires_grad_(False)
    return learned_simplex(syn)


def ld(
    real: RealData,
    net: NetFactory,
    *,
    ipc: int = 10,
    seed: int = 0,
    lr: float = 1e-3,
    lr_net: float = 1e-3,
    inner_lr: float = 0.01,
    batch: int | None = None,
    window: int = 50,
    patience: int = 50,
    real_per_class: int | None = None,
    init: Initialise = from_real,
    unroll: Unroll = sweep,
    policy: Policy | None = None,
) -> Distillation:
    """Label distillation, second order, with the paper's settings; the images are fixed.

    The plan of the set trains for as many steps as the last three carried models were best after.

    Differs: the curriculum's error is the outer loss, labels start one-hot, and the rows of a step are drawn without
    repetition (UNKNOWN in our sources, our choices); real images are drawn class by class.

    Args:
        real: what to distil.
        net: the network that is carried.
        ipc: images per class.
        seed: key of every draw.
        lr: of Adam on the labels.
        lr_net: of Adam on the carried model, one step per update.
        inner_lr: of the one plain step that the labels are seen through.
        batch: images of the set in a step; `inner_batch` by default.
        window: target batches in the moving average of the error.
        patience: steps without improvement after which the model starts anew.
        real_per_class: real images of each class per step; 1024 // classes by default.
        init: the images; real ones in the paper.
        unroll: how the step is differentiated.
        policy: how networks run.
    """
    policy = policy or Policy()
    syn = fixed_images(real, ipc, seed, init, policy.device)
    carried = Carried(
        net,
        real.shape,
        real.num_classes,
        seed=seed,
        train=Fit(1, batch or inner_batch(len(syn.y)), lr_net, optimiser=adam),
        curriculum=Curriculum(window, patience),
        space=real.space,
    )
    syn.plan = CurriculumPlan(carried)
    rates = Rates(torch.full((), inner_lr, device=syn.labels.device), as_stored)
    students = Students(carried, rates, steps=1, order=carried.order, augment=identity(), seed=seed, unroll=unroll)
    update = Update(torch.optim.Adam([syn.labels], lr))
    terms = {"match": Weighted(1.0, Lookahead(students, carried, StudentLooks(students)))}
    return Distillation(syn, real, terms, update, seed, target_batch(real, real_per_class), policy=policy)
