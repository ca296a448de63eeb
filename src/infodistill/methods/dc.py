"""Dataset condensation with gradient matching (Zhao, Mopuri & Bilen, ICLR 2021), arXiv:2006.05929.

    min_S  E_theta0  sum_t  sum_c  D( grad_theta l(S_c; theta_t), grad_theta l(T_c; theta_t) )

theta_t: a random network trained on S between updates; l: mean cross-entropy; D: 1 - cosine, summed over the output
rows of every weight tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from infodistill.augment import identity
from infodistill.compute import Policy
from infodistill.distillation import Distillation
from infodistill.gradients import Gradients, class_gradients, row_cosine
from infodistill.looks import Looks
from infodistill.real import RealData
from infodistill.sources.rolling import Rolling
from infodistill.synthetic import Initialise, from_noise, synthesise
from infodistill.training import Fit
from infodistill.types import Augment, Batch, NetFactory, convert
from infodistill.updates import Update
from infodistill.weights import Weighted

LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
"""Images per class -> (updates in a network's life, epochs of training between two of them), as published."""


@dataclass(frozen=True)
class GradientMatching:
    """sum_c D(gradient of the synthetic images of class c, gradient of its real images); the real side is detached.

    `precision` is that of the synthetic gradients, where not the policy's; see `class_gradients`.
    """

    looks: Looks
    distance: Callable[[Gradients, Gradients], Tensor] = row_cosine
    precision: str | None = None
    additive: ClassVar[bool] = True

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        look, classes = self.looks.look(syn, real), len(syn.y.unique())
        s = convert(look.syn_images, syn.space, look.view.space)
        t = convert(look.real_images, real.space, look.view.space)
        g_syn = class_gradients(look.view, s, syn.target, classes, create_graph=True, precision=self.precision)
        g_real = class_gradients(look.view, t, real.target, classes, create_graph=False)
        return self.distance(g_syn, g_real)


def loops(ipc: int) -> tuple[int, int]:
    """The published (updates, epochs) for a number of images per class.

    Differs: the public code aborts for any other ipc; here the entry with the nearest ipc is used (our choice).
    """
    return LOOPS[min(LOOPS, key=lambda known: abs(known - ipc))]


def dc(
    real: RealData,
    net: NetFactory,
    *,
    ipc: int = 10,
    seed: int = 0,
    lr: float = 0.1,
    momentum: float = 0.5,
    real_per_class: int = 256,
    augment: Augment | None = None,
    augment_train: Augment | None = None,
    init: Initialise = from_noise,
    outer: int | None = None,
    inner_epochs: int | None = None,
    lr_net: float = 0.01,
    batch_train: int = 256,
    policy: Policy | None = None,
) -> Distillation:
    """Gradient matching with the paper's settings.

    Args:
        real: what to distil.
        net: the network whose gradients are matched.
        ipc: images per class.
        seed: key of every draw.
        lr: learning rate of the images (SGD).
        momentum: of the images' SGD.
        real_per_class: real images of each class per step.
        augment: siamese augmentation of both streams; none in this paper.
        augment_train: augmentation of the network's training, image by image; none in this paper.
        init: what the set starts from; noise in this paper.
        outer: updates in one network's life (`loops` by default); a step of the job is one update.
        inner_epochs: epochs of training on the synthetic set between two updates.
        lr_net: learning rate of that training, plain SGD without momentum or weight decay.
        batch_train: its batch size.
        policy: how networks run.
    """
    policy = policy or Policy()
    updates, epochs = loops(ipc)
    train = Fit(inner_epochs if inner_epochs is not None else epochs, batch_train, lr_net, augment=augment_train)
    nets = Rolling(net, real.shape, real.num_classes, seed=seed, inner=outer or updates, train=train)
    looks = Looks(nets, augment or identity(), seed)
    syn = synthesise(real, ipc, seed, init, policy.device)
    update = Update(torch.optim.SGD(syn.trainable(), lr, momentum))
    terms = {"match": Weighted(1.0, GradientMatching(looks, precision="float32"))}
    return Distillation(syn, real, terms, update, seed, real_per_class, policy=policy)
