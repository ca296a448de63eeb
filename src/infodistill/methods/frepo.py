"""Neural feature regression with pooling (Zhou, Nezhadarya & Ba, NeurIPS 2022), arXiv:2206.00719: FRePo.

    min_(X, Y)  E_theta  mean | K_TS (K_SS + eps tr(K_SS)/n I)^-1 Y - y_T |^2  -  mean_i min(gap(Y_i), 1/k)

K = phi phi^T, phi: penultimate feature of a network theta from a pool of mixed age, constant within the step; gap: the
largest less the second largest entry of a learned target; y_T: one-hot - 1/k of the real images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from infodistill.augment import identity
from infodistill.compute import Policy
from infodistill.descent import adam, squared_error_rows
from infodistill.distillation import Distillation
from infodistill.looks import Look, Looks
from infodistill.methods.ld_ridge import ridge_head
from infodistill.optimisers import Cosine, Lamb
from infodistill.real import RealData
from infodistill.sources.lessons import SyntheticRows
from infodistill.sources.pool import Pool
from infodistill.storage.labels import centred, learned_scores
from infodistill.synthetic import Initialise, from_real, synthesise
from infodistill.training import Fit
from infodistill.types import Augment, Batch, LabelKind, NetFactory
from infodistill.updates import Update
from infodistill.weights import Weighted

REAL_BATCH = 1024
"""Real images per step, shared out evenly among the classes."""

Prototypes = Callable[[Look], Tensor]
"""prototypes(look) -> features (f n, d) that the regression is fitted on: f copies of the set, one after the other."""


def kernel_ridge(
    phi_t: Float[Tensor, "m d"], phi_s: Float[Tensor, "n d"], y: Float[Tensor, "n k"], *, jitter: float = 1e-6
) -> Float[Tensor, "m k"]:
    """Ridge regression with a linear kernel, fitted on (phi_s, y), at phi_t: K_ts (K_ss + jitter tr(K_ss)/n I)^-1 y.

    Cholesky in float64, result in the dtype of `y`. Invariant to the scale of phi; differentiable in all three.

    Raises:
        FloatingPointError: the kernel cannot be factorised: features not finite, all zero, or nearly equal.
    """
    return phi_t @ ridge_head(phi_s, y, jitter * phi_s.square().sum(1).mean())


def label_margin(y: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    """-(1/n) sum_i min(largest - second largest entry of y_i, 1/k); from -1/k to 0, without gradient at -1/k."""
    largest = y.topk(2, dim=1).values
    return -(largest[:, 0] - largest[:, 1]).clamp(max=1 / y.shape[1]).mean()


def plain(look: Look) -> Tensor:
    """The set as it is, (n, d)."""
    return look.syn()[0]


def mirrored(look: Look) -> Tensor:
    """The set, then its left-right mirror images, (2 n, d): the authors' use_flip, for data that may be mirrored."""
    images, space = look.syn_images.flip(3), look.batches[0].space
    return torch.cat([look.syn()[0], look.view.features(images, space)[0]])


@dataclass(frozen=True)
class KernelRidge:
    """Mean squared error, over real images and classes, of ridge regression fitted on the set; plus the label margin.

    One term, since both are one published loss and a margin that is met has no gradient. The features of the set are
    computed once for every term that looks through `looks`; the real side is detached.
    """

    looks: Looks
    prototypes: Prototypes = plain
    jitter: float = 1e-6

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        look, wanted = self.looks.look(syn, real), centred(real.target)
        phi_s, phi_t = self.prototypes(look), look.real()[0]
        y = syn.target.repeat(len(phi_s) // len(syn), 1)
        error = kernel_ridge(phi_t, phi_s, y, jitter=self.jitter) - wanted
        return error.square().mean() + label_margin(syn.target)

    def check(self, syn: object) -> None:
        """Refuse a set whose targets are probabilities.

        Raises:
            ValueError: the targets of the set are not regression scores.
        """
        kind = getattr(syn, "kind", None)
        if kind is not LabelKind.SCORES:
            raise ValueError(f"kernel ridge regression needs targets of kind {LabelKind.SCORES}, got {kind}")


def frepo(
    real: RealData,
    net: NetFactory,
    *,
    ipc: int = 10,
    seed: int = 0,
    lr: float = 3e-4,
    steps: int = 500_000,
    final: float = 0.1,
    members: int = 10,
    life: int = 100,
    lr_net: float = 3e-4,
    batch_net: int = 1000,
    real_per_class: int | None = None,
    net_steps: int = 1,
    prototypes: Prototypes = plain,
    augment: Augment | None = None,
    init: Initialise = from_real,
    policy: Policy | None = None,
) -> Distillation:
    """FRePo with the paper's settings; images and targets are learned.

    Differs: the squared error is a mean over images and classes, and real images are drawn class by class (ours).
    Features come from `net` as it is given: the paper's pool has batch norm, under which a network sees the whole
    set, its mirror images, and the real batch as one batch each (our reading); the shipped instance norm does not
    couple images, so it runs in chunks. Weights follow the network's own law (the paper: Kaiming's).

    Args:
        real: what to distil.
        net: the network of the pool.
        ipc: images per class.
        seed: key of every draw.
        lr: of LAMB, the length of a step relative to the length of the images, and to that of the targets.
        steps: after which the rate has fallen to `final` of `lr`, along a cosine.
        final: see `steps`.
        members: networks in the pool.
        life: updates after which a network is replaced.
        lr_net: of Adam, one step per update of the drawn network, squared error.
        batch_net: most synthetic images in that step.
        real_per_class: real images of each class per step; 1024 // classes by default.
        net_steps: epochs of that training per update (ours; 1 is the paper).
        prototypes: what the regression is fitted on: `plain`, or `mirrored` where the paper flips.
        augment: siamese augmentation of the regression, and image by image of the pool's training (ours); None, as in
            the paper, for none.
        init: what the images start from; real images in the paper.
        policy: how networks run.
    """
    policy = policy or Policy()
    train = Fit(net_steps, batch_net, lr_net, augment=augment, loss=squared_error_rows, optimiser=adam)
    nets = Pool(
        net,
        real.shape,
        real.num_classes,
        seed=seed,
        train=train,
        members=members,
        life=life,
        lesson=SyntheticRows(batch_net),
    )
    syn = learned_scores(synthesise(real, ipc, seed, init, policy.device))
    update = Update(Lamb(syn.trainable(), lr), Cosine(steps, final))
    terms = {"match": Weighted(1.0, KernelRidge(Looks(nets, augment or identity(), seed), prototypes))}
    per_class = real_per_class or max(1, REAL_BATCH // real.num_classes)
    return Distillation(syn, real, terms, update, seed, per_class, policy=policy)
