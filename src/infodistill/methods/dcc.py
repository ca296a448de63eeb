"""Dataset condensation with contrastive signals (Lee et al., ICML 2022), arXiv:2202.02916.

    min_S  E_theta0  sum_t  D( grad_theta l(S; theta_t), (1/C) sum_c grad_theta l(T_c; theta_t) )

One distance between gradients summed over classes, where DC sums C distances: what the classes have in common cancels
in the sums, what tells them apart remains. D: DC's row cosine; l: mean cross-entropy, over all images of S on the left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from jaxtyping import Float
from torch import Tensor

from infodistill.compute import View
from infodistill.distillation import Distillation
from infodistill.gradients import class_gradients
from infodistill.looks import Looks
from infodistill.methods.dc import LOOPS as DC_LOOPS
from infodistill.methods.dc import GradientMatching, dc
from infodistill.real import RealData
from infodistill.synthetic import Initialise, from_real
from infodistill.types import Batch, NetFactory, convert
from infodistill.weights import Weighted

LOOPS: Mapping[int, tuple[int, int]] = {**DC_LOOPS, 1: (10, 5)}
"""DC's (updates in a network's life, epochs of training between two of them), but for one image per class."""


def aggregated_gradient(
    view: View, x: Float[Tensor, "n c h w"], target: Float[Tensor, "n k"], *, create_graph: bool
) -> dict[str, Tensor]:
    """The gradient of the mean cross-entropy of all rows, (1, *parameter shape) per parameter.

    Rows are class-major with equally many of every class, so this is the mean of the per-class gradients (for networks
    without batch statistics), in one forward pass. Under `policy.recompute` the synthetic side is computed class by
    class: backward then needs the graph of one class at a time, although the distance is not a sum over classes.
    """
    classes = target.shape[1] if create_graph and view.policy.recompute else 1
    rows = class_gradients(view, x, target, classes, create_graph=create_graph, precision="float32")
    return {name: value.mean(0, keepdim=True) for name, value in rows.items()}


@dataclass(frozen=True)
class ContrastiveMatching:
    """D(gradient of all synthetic images, gradient of all real images); the real side is detached.

    DC's sum over classes instead in the warm-up: in the first `warm_inner` updates of each of the first `warm_outer`
    networks. Not a sum over classes, so the set is updated jointly.

    Args:
        classwise: DC's term: looks and distance are its own.
        inner: updates one network lives for.
        warm_outer: networks the warm-up lasts for.
        warm_inner: updates of each of them that belong to it.

    Raises:
        ValueError: counts below 1 (inner) or 0 (warm-up), or, when called, batches that lack a class.
    """

    classwise: GradientMatching
    inner: int
    warm_outer: int = 250
    warm_inner: int = 10

    def __post_init__(self) -> None:
        if self.inner < 1 or self.warm_outer < 0 or self.warm_inner < 0:
            found = f"{self.inner}, {self.warm_outer} and {self.warm_inner}"
            raise ValueError(f"inner must be >= 1, warm_outer and warm_inner >= 0, got {found}")

    @property
    def looks(self) -> Looks:
        """The networks and augmentations of both losses."""
        return self.classwise.looks

    @property
    def warm(self) -> bool:
        """Whether this step belongs to the warm-up."""
        network, update = divmod(self.looks.step, self.inner)
        return network < self.warm_outer and update < self.warm_inner

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        if (present := len(syn.y.unique())) != (classes := syn.target.shape[1]):
            raise ValueError(
                f"contrastive matching compares gradients summed over all {classes} classes, got images of {present}: "
                "update all classes jointly (group=None)"
            )
        if self.warm:
            return self.classwise(syn, real)
        look = self.looks.look(syn, real)
        s = convert(look.syn_images, syn.space, look.view.space)
        t = convert(look.real_images, real.space, look.view.space)
        g_syn = aggregated_gradient(look.view, s, syn.target, create_graph=True)
        g_real = aggregated_gradient(look.view, t, real.target, create_graph=False)
        return self.classwise.distance(g_syn, g_real)


def loops(ipc: int) -> tuple[int, int]:
    """The published (updates, epochs) for a number of images per class; of the nearest one it knows (our choice)."""
    return LOOPS[min(LOOPS, key=lambda known: abs(known - ipc))]


def dcc(
    real: RealData,
    net: NetFactory,
    *,
    ipc: int = 10,
    seed: int = 0,
    warm_outer: int = 250,
    warm_inner: int = 10,
    outer: int | None = None,
    inner_epochs: int | None = None,
    init: Initialise = from_real,
    **settings: Any,
) -> Distillation:
    """Contrastive gradient matching with the paper's settings; other settings are `dc`'s.

    Without augmentation this is DCC; with `augment=dsa(), augment_train=dsa_per_image()` it is DSAC.

    Args:
        real: what to distil.
        net: the network whose gradients are matched.
        ipc: images per class.
        seed: key of every draw.
        warm_outer: networks whose first updates follow DC's sum over classes.
        warm_inner: updates of each of them that do; at one or ten images per class a life has ten, at fifty it has 50,
            and the contrastive loss is on from its eleventh.
        outer: updates in one network's life (`loops` by default); a step of the job is one update.
        inner_epochs: epochs of training on the synthetic set between two updates.
        init: what the set starts from.
        settings: lr, momentum, real_per_class, augment, augment_train, lr_net, batch_train, policy.
    """
    updates, epochs = loops(ipc)
    updates, epochs = outer or updates, epochs if inner_epochs is None else inner_epochs
    job = dc(real, net, ipc=ipc, seed=seed, outer=updates, inner_epochs=epochs, init=init, **settings)
    classwise = cast(GradientMatching, job.terms["match"].term)
    term = ContrastiveMatching(classwise, updates, warm_outer, warm_inner)
    return replace(job, terms={"match": Weighted(1.0, term)})
