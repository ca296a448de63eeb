"""Label distillation with ridge regression (Bohdal, Yang & Hospedales, 2020), arXiv:2006.08572.

    min_Y  E  CE(phi(x_T) a W, y_T),   W <- 0.99 W + 0.01 phi_B^T (phi_B phi_B^T + I)^-1 Y_B

X fixed real images, Y their labels on the simplex; phi: features with a constant column, of a model that is carried
through the run and trained on (X_B, Y_B); a: a learned scale; only the last term of W has a gradient to Y.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from infodistill.compute import Policy, View
from infodistill.descent import adam
from infodistill.distillation import Distillation
from infodistill.gradients import cross_entropy
from infodistill.methods.ld import fixed_images, inner_batch, target_batch
from infodistill.nets.initialise import Law, uniform_fan_in
from infodistill.real import RealData
from infodistill.sources.carried import Carried, Curriculum, CurriculumPlan
from infodistill.synthetic import Initialise, from_real
from infodistill.training import Fit
from infodistill.types import Batch, Net, NetFactory
from infodistill.updates import Update
from infodistill.weights import Weighted


def ridge_head(
    phi: Float[Tensor, "n d"], y: Float[Tensor, "n k"], ridge: float | Float[Tensor, ""]
) -> Float[Tensor, "d k"]:
    """The linear map of ridge regression, phi^T (phi phi^T + ridge I)^-1 y; equals (phi^T phi + ridge I)^-1 phi^T y.

    Cholesky in float64 (features are nearly parallel, and float32 loses a small ridge), result in the dtype of `y`.
    Differentiable in all three.

    Raises:
        FloatingPointError: the system cannot be factorised: features not finite, or nearly equal at too small a ridge.
    """
    wide = phi.double()
    system = wide @ wide.T + ridge * torch.eye(len(phi), dtype=wide.dtype, device=phi.device)
    factor, failed = torch.linalg.cholesky_ex(system)
    if int(failed):
        raise FloatingPointError(
            f"the ridge system of {len(phi)} images cannot be factorised (minor {int(failed)} is not positive): their "
            "features are not finite or nearly equal; a smaller learning rate or a larger ridge may help"
        )
    return (wide.T @ torch.cholesky_solve(y.double(), factor)).to(y.dtype)


class RunningHead(Net):
    """A network whose classifier is replaced by the buffer `scale * weight` of running ridge solutions.

    `weight` is (d + 1, k), the last row the bias; it starts at 0, and does so again whenever the network is
    initialised. The network's own classifier takes no part and no gradient.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, net: Net, width: int, classes: int) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("weight", torch.zeros(width + 1, classes))
        self.register_buffer("scale", torch.ones(()))

    def stages(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.net.stages(x)

    def head(self, feature: Tensor) -> Tensor:
        return with_bias(feature) @ (self.scale * self.weight)

    def law(self, layer: nn.Module, generator: torch.Generator) -> None:
        """The network's own law; the running head starts at 0."""
        own: Law = getattr(self.net, "law", uniform_fan_in)
        if layer is self:
            self.weight.zero_()
        else:
            own(layer, generator)


def with_bias(feature: Float[Tensor, "n d"]) -> Float[Tensor, "n e"]:
    """The feature with a last column of ones, e = d + 1."""
    return torch.cat([feature, feature.new_ones(len(feature), 1)], 1)


def running_head(net: NetFactory, shape: tuple[int, int, int], classes: int) -> RunningHead:
    """A `RunningHead` around a network of that factory."""
    module = net(shape, classes)
    with torch.no_grad():
        width = module.eval().stages(torch.zeros(1, *shape))[-1].shape[1]
    return RunningHead(module.train(), width, classes)


@dataclass(frozen=True)
class RunningRidge:
    """Cross-entropy in nats, mean over the real batch, of the scaled running head after this step's ridge solution.

    Features are constants (first order); the gradient reaches the labels and `adjust`.
    """

    carried: Carried
    adjust: Tensor
    ridge: float = 1.0
    keep: float = 0.99

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        segment, rows = self.carried.draw(), self.carried.rows(len(syn)).to(syn.y.device)
        view = View(segment.module, segment.start, self.carried.policy, segment.space)
        with torch.no_grad():
            phi_s = with_bias(view.features(syn.x[rows], syn.space)[0])
            phi_t = with_bias(view.features(real.x, real.space)[0])
        before = dict(segment.module.named_buffers())["weight"].clone()
        weight = self.keep * before + (1 - self.keep) * ridge_head(phi_s, syn.target[rows], self.ridge)
        loss = cross_entropy(phi_t @ (self.adjust * weight), real.target)
        self.carried.observe(loss, {"weight": weight, "scale": self.adjust})
        return loss


def ld_ridge(
    real: RealData,
    net: NetFactory,
    *,
    ipc: int = 10,
    seed: int = 0,
    lr: float = 1e-3,
    lr_net: float = 1e-3,
    lr_adjust: float = 0.01,
    batch: int | None = None,
    ridge: float = 1.0,
    keep: float = 0.99,
    window: int = 50,
    patience: int = 50,
    real_per_class: int | None = None,
    init: Initialise = from_real,
    policy: Policy | None = None,
) -> Distillation:
    """Label distillation, first order, with the paper's settings; the images are fixed.

    MIM acts on nothing here (the features of fixed images are constants) and refuses; CMI acts on the labels.

    Differs: the curriculum's error is the loss itself and `adjust` starts at 1 (UNKNOWN in our sources, our choices).

    Args:
        real: what to distil.
        net: the network that is carried; its classifier is replaced by the running head.
        ipc: images per class.
        seed: key of every draw.
        lr: of Adam on the labels.
        lr_net: of Adam on the carried features, one step per update.
        lr_adjust: of Adam on the learned scale.
        batch: images of the set in a step; `inner_batch` by default.
        ridge: added to the diagonal of the ridge system.
        keep: part of the running head that stays in a step.
        window: target batches in the moving average of the error.
        patience: steps without improvement after which the model starts anew.
        real_per_class: real images of each class per step; 1024 // classes by default.
        init: the images; real ones in the paper.
        policy: how networks run.
    """
    policy = policy or Policy()
    syn = fixed_images(real, ipc, seed, init, policy.device)
    adjust = syn.scalars["adjust"] = torch.ones((), device=syn.labels.device).requires_grad_()
    carried = Carried(
        partial(running_head, net),
        real.shape,
        real.num_classes,
        seed=seed,
        train=Fit(1, batch or inner_batch(len(syn.y)), lr_net, optimiser=adam),
        curriculum=Curriculum(window, patience),
        space=real.space,
    )
    syn.plan = CurriculumPlan(carried)
    groups = [{"params": [syn.labels], "lr": lr}, {"params": [adjust], "lr": lr_adjust}]
    update = Update(torch.optim.Adam(groups))
    terms = {"match": Weighted(1.0, RunningRidge(carried, adjust, ridge, keep))}
    return Distillation(syn, real, terms, update, seed, target_batch(real, real_per_class), policy=policy)
