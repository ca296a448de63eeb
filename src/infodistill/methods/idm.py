"""Improved distribution matching (Zhao, Li, Qin & Yu, CVPR 2023), arXiv:2307.09742.

    L_c = | mean_{x in T_c} f(omega_c(x)) - mean_{s in E(S_c)} f(omega_c(s)) |^2
          + lambda a(theta) mean_{s in E(S_c)} CE(p_theta(omega_c(s)), c),        min_S  sum_c L_c

Three additions to DM: E cuts every stored image into factor^2 tiles and enlarges them; theta comes from a queue of
networks that are trained on real images by and by; a classification loss counts as much as theta is right, a(theta)
being its running training accuracy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from infodistill.augment import dsa
from infodistill.compute import Policy
from infodistill.descent import cross_entropy_rows
from infodistill.distillation import Distillation
from infodistill.looks import Looks
from infodistill.methods.dm import MeanFeature, class_means
from infodistill.real import RealData
from infodistill.samplers import uniform
from infodistill.samplers.lowest_loss import LowestLoss
from infodistill.sources.queue import Queue, RealBatches
from infodistill.storage.decoders import MultiFormation
from infodistill.storage.initial import Mosaic, bilinear
from infodistill.synthetic import Initialise, stored_as_images, synthesise
from infodistill.training import Fit
from infodistill.types import Augment, Batch, NetFactory
from infodistill.updates import Update
from infodistill.weights import Weighted

Counts = Callable[[Tensor, Tensor], Tensor]
"""counts(logits (n, k), y (n,)) -> (n,): how much each image's cross-entropy counts, not differentiated."""


def every_image(logits: Float[Tensor, "n k"], y: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """1 for every image, as the equation says."""
    del y
    return logits.new_ones(len(logits))


def misclassified(logits: Float[Tensor, "n k"], y: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """1 for images whose most probable class is not theirs: the released code at one whole image per class."""
    return (logits.argmax(1) != y).to(logits)


@dataclass(frozen=True)
class AccuracyWeighted:
    """scale * a * sum_c mean_{i in c} counts_i CE(p(s_i), target_i) in nats, a in [0, 1] the accuracy its View carries.

    It reads the synthetic features that the matching term reads: no forward pass of its own.

    Differs: the authors' accuracy is in percent, which is `scale=100`; the equation is `scale=1`.

    Raises:
        ValueError: at a call, where the network's source does not say how accurate it is.
    """

    looks: Looks
    scale: float = 1.0
    counts: Counts = every_image
    additive: ClassVar[bool] = True

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        look = self.looks.look(syn, real)
        if look.view.accuracy is None:
            raise ValueError("the cross-entropy is weighted by a network's accuracy, and this one's is not known")
        logits = look.view.head(look.syn()[0])
        rows = self.counts(logits.detach(), syn.y) * cross_entropy_rows(logits, syn.target)
        return self.scale * look.view.accuracy * class_means(rows[:, None], syn.y, syn.target.shape[1]).sum()


def idm(
    real: RealData,
    net: NetFactory,
    *,
    ipc: int = 10,
    seed: int = 0,
    factor: int = 2,
    lr: float = 0.2,
    momentum: float = 0.5,
    ce: float = 0.5,
    scale: float = 1.0,
    counts: Counts = every_image,
    real_per_class: int = 256,
    augment: Augment | None = None,
    init: Initialise | None = None,
    nets: int = 100,
    start: int = 3,
    interval: int = 30,
    trained: int = 2,
    train_steps: int = 10,
    batch_train: int = 256,
    lr_net: float = 0.01,
    augment_train: Augment | None = None,
    reset_every: int | None = None,
    lowest: int | None = None,
    group: int | None = None,
    policy: Policy | None = None,
) -> Distillation:
    """Improved distribution matching with the paper's settings for 10 images per class of 32x32 pixels.

    The two parts of L_c are two entries, "match" and "ce", so that each is seen in the log; a `Ratio` is measured
    against their sum. In the first steps networks are untrained and their accuracy is 0, and so is "ce".

    Differs: networks are trained on random batches that are keyed; the accuracies start anew at every evaluation in the
    released code (`reset_every`), here never; the two networks trained after an update are distinct (our choice).

    Args:
        real: what to distil.
        net: the network of the queue.
        ipc: stored images per class; networks see ipc * factor^2.
        seed: key of every draw.
        factor: tiles along each side of a stored image; 1 stores whole images.
        lr: learning rate of the images (SGD).
        momentum: of the images' SGD.
        ce: lambda. The published 0.5 (0.1 to 3 elsewhere) multiplies an accuracy in percent: with `scale=1` the same
            objective is a `ce` of 50, and 0.5 is next to none.
        scale: what an accuracy of 1 counts as: 1 as in the equation, 100 as in the released code.
        counts: which images the cross-entropy is taken of; `misclassified` is published for ipc 1 and factor 1.
        real_per_class: real images of each class per step.
        augment: siamese augmentation, one record per class and step; the six operations of DSA by default.
        init: what is stored at first; by default random real images, shrunk bilinearly into the tiles.
        nets: most networks in the queue.
        start: networks in it before the first joins, at step 0.
        interval: steps between two that join.
        trained: networks trained after every update.
        train_steps: steps of such a training.
        batch_train: real images in each of them.
        lr_net: its learning rate (SGD, momentum 0.9, weight decay 5e-4).
        augment_train: its augmentation, image by image; none in this paper.
        reset_every: updates after which the accuracies start anew; the published interval of evaluations, or None.
        lowest: the step's real images are drawn from so many of each class that its network finds easiest, see
            `LowestLoss`; 2560 is published for ipc 1 and factor 1. None draws from all.
        group: classes per update. 1 is published: a class then moves by lr (1 - momentum^C) / (1 - momentum) times its
            gradient in the round, C the number of classes, where a joint update moves it as far over the steps to come.
        policy: how networks run.
    """
    policy = policy or Policy()
    train = Fit(1, batch_train, lr_net, momentum=0.9, weight_decay=5e-4, augment=augment_train)
    queue = Queue(
        net,
        real.shape,
        real.num_classes,
        seed=seed,
        train=train,
        lesson=RealBatches(train_steps, batch_train),
        nets=nets,
        start=start,
        interval=interval,
        trained=trained,
        reset_every=reset_every,
    )
    looks = Looks(queue, augment or dsa(), seed)
    decode = stored_as_images if factor == 1 else MultiFormation(factor)
    syn = synthesise(real, ipc, seed, init or Mosaic(factor, shrink=bilinear), policy.device, decode=decode)
    update = Update(torch.optim.SGD(syn.trainable(), lr, momentum))
    terms = {
        "match": Weighted(1.0, MeanFeature(looks)),
        "ce": Weighted(ce, AccuracyWeighted(looks, scale, counts)),
    }
    sampler = uniform if lowest is None else LowestLoss(queue, lowest, interval=1)
    return Distillation(syn, real, terms, update, seed, real_per_class, group=group, policy=policy, sampler=sampler)
