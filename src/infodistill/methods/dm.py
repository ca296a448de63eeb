"""Dataset condensation with distribution matching (Zhao & Bilen, WACV 2023), arXiv:2110.04181.

    min_S  E_{theta, omega}  sum_c  | mean_{x in T_c} f(omega_c(x)) - mean_{s in S_c} f(omega_c(s)) |^2

f: flattened feature before the classifier of a random network theta, never trained; omega_c: one siamese
augmentation per class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from infodistill.augment import dsa
from infodistill.compute import Policy
from infodistill.distillation import Distillation
from infodistill.looks import Looks
from infodistill.real import RealData
from infodistill.sources.rolling import Rolling
from infodistill.synthetic import Initialise, from_real, synthesise
from infodistill.types import Augment, Batch, NetFactory
from infodistill.updates import Update
from infodistill.weights import Weighted


def class_means(feature: Float[Tensor, "n d"], y: Int[Tensor, " n"], classes: int) -> Float[Tensor, "k d"]:
    """Mean feature of every class, (k, d), as one product; a class without rows has mean 0."""
    member = F.one_hot(y, classes).to(feature)
    return (member / member.sum(0).clamp_min(1)).T @ feature


def squared(a: Float[Tensor, "*shape"], b: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Sum of squared differences, over everything."""
    return (a - b).square().sum()


@dataclass(frozen=True)
class MeanFeature:
    """Distance between class means of penultimate features, by default squared: summed over features and classes."""

    looks: Looks
    distance: Callable[[Tensor, Tensor], Tensor] = squared
    additive: ClassVar[bool] = True

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        look, classes = self.looks.look(syn, real), syn.target.shape[1]
        s = class_means(look.syn()[0], syn.y, classes)
        t = class_means(look.real()[0], real.y, classes)
        return self.distance(s, t)


def dm(
    real: RealData,
    net: NetFactory,
    *,
    ipc: int = 10,
    seed: int = 0,
    lr: float = 1.0,
    momentum: float = 0.5,
    real_per_class: int = 256,
    augment: Augment | None = None,
    init: Initialise = from_real,
    share: int = 1,
    policy: Policy | None = None,
) -> Distillation:
    """Distribution matching with the paper's settings for 32x32 images.

    Args:
        real: what to distil.
        net: the network whose random weights f is drawn with, fresh at every step.
        ipc: images per class.
        seed: key of every draw.
        lr: learning rate of the images (SGD); 1 in the paper up to 50 images per class.
        momentum: of the images' SGD.
        real_per_class: real images of each class per step.
        augment: siamese augmentation, one record per class and step; the paper's six operations by default.
        init: what the set starts from.
        share: steps that keep one network, one record and one real batch, whose statistics are then computed once.
            Ours, not the paper's: 1 is the paper.
        policy: how networks run.
    """
    policy = policy or Policy()
    nets = Rolling(net, real.shape, real.num_classes, seed=seed, inner=share)
    looks = Looks(nets, augment or dsa(), seed, share=share)
    syn = synthesise(real, ipc, seed, init, policy.device)
    update = Update(torch.optim.SGD(syn.trainable(), lr, momentum))
    terms = {"match": Weighted(1.0, MeanFeature(looks))}
    return Distillation(syn, real, terms, update, seed, real_per_class, share=share, policy=policy)
