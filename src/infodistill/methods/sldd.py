"""Soft-label dataset distillation (Sucholutsky & Schonlau 2019), arXiv:1910.02551.

    min_{X, Y, eta}  E_{theta_0}  CE( f(theta_T, x_real), y_real ),    inner loss CE( f(theta_t, X_k), Y_k )

DD in which the labels are learned beside images and rates, from a one-hot start and by the same optimiser. An image may
come to stand for several classes, so a batch may hold fewer images than there are classes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from infodistill.compute import Policy
from infodistill.distillation import Distillation
from infodistill.methods.dd import Replay, batches_of, taught
from infodistill.real import RealData
from infodistill.storage.labels import learned_simplex
from infodistill.synthetic import Initialise, SyntheticSet, from_noise, synthesise
from infodistill.types import NetFactory
from infodistill.unrolling.inner import Unroll
from infodistill.unrolling.unroll import sweep

Labels = Callable[[SyntheticSet], SyntheticSet]
"""Makes the labels of a set learned: `labels.learned_simplex`, or another parameterisation with a one-hot start."""


def sldd(
    real: RealData,
    net: NetFactory,
    *,
    ipc: int = 10,
    images: int | None = None,
    seed: int = 0,
    batches: int | None = None,
    passes: int = 3,
    rate: float = 0.02,
    lr: float = 0.01,
    halve_every: int = 2360,
    clip: float | None = 1.0,
    nets: int = 1,
    hold: int | None = 1,
    real_per_class: int | None = None,
    init: Initialise = from_noise,
    labels: Labels = learned_simplex,
    unroll: Unroll = sweep,
    policy: Policy | None = None,
) -> Distillation:
    """Soft-label distillation with the authors' settings; what is not listed is as in `dd`.

    Differs: the authors leave the label matrix free; here its rows stay on the simplex, which evaluation needs.

    Args:
        real: what to distil.
        net: the network whose fresh initialisations are trained.
        ipc: images per class over all batches; unused where `images` is given.
        images: images over all batches, whatever the number of classes: see `spread` for their start; None for `ipc`.
        seed: key of every draw.
        batches: K; None is as in `dd`, and one batch where `images` is given.
        passes: E_d, times the batches are gone through.
        rate: initial rate of every step.
        lr: Adam's rate for images, labels and raw rates.
        halve_every: updates after which `lr` halves.
        clip: largest norm of an update's gradient (ours); None for no limit.
        nets: networks per update.
        hold: updates that keep a start; None keeps the first for good.
        real_per_class: real images of each class per update; None makes a batch of about 1024.
        init: what the images start from.
        labels: how the labels are learned.
        unroll: how the gradient runs through the steps.
        policy: how networks run.
    """
    policy = policy or Policy()
    if images is None:
        count = batches_of(ipc, batches)
        syn = synthesise(real, ipc, seed, init, policy.device)
    else:
        count = batches or 1
        syn = spread(real, images, seed, init, policy.device)
    return taught(
        labels(syn), Replay(count, passes), real, net,
        seed=seed, rate=rate, lr=lr, halve_every=halve_every, clip=clip,
        nets=nets, hold=hold, real_per_class=real_per_class, unroll=unroll, policy=policy,
    )  # fmt: skip


def spread(real: RealData, images: int, seed: int, init: Initialise, device: str = "cpu") -> SyntheticSet:
    """A class-major set of any number of images; the classes take turns, so class c has ceil((images - c) / k) of them.

    A label starts one-hot at its image's class, and `y`, which only MIM and `distilled_hard` read, keeps that class
    (our choice). With fewer images than classes the last classes have only shares of other images' labels.

    Raises:
        ValueError: no image.
    """
    if images < 1:
        raise ValueError(f"a set has at least 1 image, got {images}")
    classes = real.num_classes
    per_class = -(-images // classes)
    turn = torch.arange(per_class) * classes + torch.arange(classes)[:, None]  # (k, per_class): the image's number
    kept = (turn < images).flatten()
    y = torch.arange(classes).repeat_interleave(per_class)[kept].to(device)
    pixels = init(real, per_class, seed)[kept].float().to(device).clone().requires_grad_()
    return SyntheticSet(pixels, y, real.space, F.one_hot(y, classes).float(), real.class_names)
