"""Dataset condensation with differentiable siamese augmentation (Zhao & Bilen, ICML 2021), arXiv:2102.08259.

Gradient matching in which class c's real and synthetic images pass through one augmentation omega_c, and the network
is trained on augmented synthetic images in between:

    sum_c  D( grad l(omega_c(S_c)), grad l(omega_c(T_c)) )
"""

from __future__ import annotations

from typing import Any

from infodistill.augment import dsa as siamese
from infodistill.augment import dsa_per_image
from infodistill.distillation import Distillation
from infodistill.methods.dc import dc
from infodistill.real import RealData
from infodistill.synthetic import Initialise, from_real
from infodistill.types import Augment, NetFactory


def dsa(
    real: RealData,
    net: NetFactory,
    *,
    augment: Augment | None = None,
    augment_train: Augment | None = None,
    init: Initialise = from_real,
    **settings: Any,
) -> Distillation:
    """`dc` with siamese augmentation, augmented inner training and real initial images; other settings are `dc`'s.

    Leave `flip` out of both augmentations for digits (MNIST, SVHN), as the paper does.
    """
    augment, augment_train = augment or siamese(), augment_train or dsa_per_image()
    return dc(real, net, augment=augment, augment_train=augment_train, init=init, **settings)
