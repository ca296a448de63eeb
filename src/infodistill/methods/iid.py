"""Relations within a class: an addition to DM and IDM (Deng et al., CVPR 2024), arXiv:2404.00563.

    L = L_host + lambda_cm sum_c | Cov_c(T) - Cov_c(S) |_F^2
               + lambda_cc sum_c sum_{i in S_c} | phi(s_i) - mean_j phi(s_j) |^2

    Cov_c = (1/n_c) sum_i Xc_i Xc_i^T,    Xc_i = X_i - mean_j X_j

X_i: an image's last feature map in the host's network, channels x positions; phi: the penultimate feature of a
pretrained network. Both see the host's augmented images; sums over j run over the images of class c.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from infodistill.compute import View
from infodistill.distillation import Distillation
from infodistill.looks import Looks
from infodistill.methods.dm import class_means, dm
from infodistill.real import RealData
from infodistill.types import Batch, Net, NetFactory, Source
from infodistill.weights import Weighted


def local_covariance(maps: Float[Tensor, "n c p"], classes: int) -> Float[Tensor, "k c c"]:
    """(1/n_c) sum_i Xc_i Xc_i^T of every class, with Xc_i = X_i less the class's mean map; nothing is divided by p.

    Rows are class-major with n / classes images per class. Raises ValueError where n is no multiple of `classes`.
    """
    if classes < 1 or len(maps) % classes:
        raise ValueError(f"{len(maps)} maps do not divide into {classes} classes of equal size")
    by_class = maps.unflatten(0, (classes, -1))
    centred = (by_class - by_class.mean(1, keepdim=True)).transpose(1, 2).flatten(2)  # (k, c, m * p)
    return centred @ centred.mT / by_class.shape[1]


def spread(feature: Float[Tensor, "n d"], y: Int[Tensor, " n"], classes: int) -> Float[Tensor, ""]:
    """sum_c sum_{i in c} |f_i - mean_{j in c} f_j|^2: a sum over images, so it grows with their number."""
    return (feature - class_means(feature, y, classes)[y]).square().sum()


@dataclass(frozen=True)
class LastMap:
    """Where a network's last feature map stands: stage `stage`, whose outputs are `channels` x positions if flat."""

    stage: int
    channels: int

    def of(self, output: Tensor) -> Tensor:
        """The stage's output as (n, channels, positions)."""
        return output.flatten(1).unflatten(1, (self.channels, -1))


Where = Callable[[Net, tuple[int, int, int]], LastMap]
"""where(network, image shape (c, h, w)) -> which of its maps the covariance is of."""


@torch.no_grad()
def last_map(net: Net, shape: tuple[int, int, int]) -> LastMap:
    """Ask a network for its last map, with one image of `shape` (c, h, w).

    Where the flat penultimate feature is some layer's map laid out flat (ConvNet, AlexNet), that is it. Otherwise it is
    the last stage that is a map (our choice, for networks that average over space or go through linear layers).

    Raises:
        ValueError: the network makes no maps.
    """
    maps: list[Tensor] = []

    def listen(module: nn.Module, inputs: Any, output: Any) -> None:
        del module, inputs
        if isinstance(output, Tensor) and output.dim() == 4:
            maps.append(output)

    handles = [part.register_forward_hook(listen) for part in net.modules()]
    image = torch.linspace(-1, 1, shape[0] * shape[1] * shape[2]).view(1, *shape)
    stages = net.stages(image.to(next(net.parameters())))
    for handle in handles:
        handle.remove()
    flat = [part for part in maps if torch.equal(part.flatten(1), stages[-1]) and part[0, 0].numel() > 1]
    if flat:
        return LastMap(-1, flat[-1].shape[1])
    shaped = [(index - len(stages), part) for index, part in enumerate(stages) if part.dim() == 4]
    if not shaped:
        raise ValueError(f"local covariances need feature maps, and {type(net).__name__} makes none")
    return LastMap(shaped[-1][0], shaped[-1][1].shape[1])


def last_map_rows(net: Net, shape: tuple[int, int, int]) -> LastMap:
    """`last_map` read as (channels * height) x width of a square map: the released code on Tiny-ImageNet."""
    found = last_map(net, shape)
    with torch.no_grad():
        image = torch.zeros(1, *shape).to(next(net.parameters()))
        positions = net.stages(image)[found.stage].numel() // found.channels
    side = int(positions**0.5)
    if side * side != positions:
        raise ValueError(f"the last map has {positions} positions, which are no square: use last_map")
    return replace(found, channels=found.channels * side)


@runtime_checkable
class Decodes(Protocol):
    """What these terms ask of a synthetic set."""

    @property
    def decoded_per_class(self) -> int: ...


def _require_several(syn: Decodes, name: str) -> None:
    if syn.decoded_per_class == 1:
        raise ValueError(f"{name} is the same for every set of one decoded image per class: use ipc 2 or tiles, or 0")


@dataclass(frozen=True)
class LocalCovariance:
    """sum_c |Cov_c(T) - Cov_c(S)|_F^2 of the last feature maps under the host's network; the real side is detached."""

    looks: Looks
    where: LastMap
    additive: ClassVar[bool] = True

    @property
    def reads(self) -> tuple[int, ...]:
        """The stage a shared look should keep for this term."""
        return (self.where.stage,)

    def check(self, syn: Decodes) -> None:
        """Raises ValueError at one decoded image per class, whose covariance is 0."""
        _require_several(syn, "the local covariance")

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        look, classes = self.looks.look(syn, real), len(syn.classes())
        s, t = (self.where.of(side(self.reads)[0]) for side in (look.syn, look.real))
        return (local_covariance(s, classes) - local_covariance(t, classes)).square().sum()


@dataclass(frozen=True)
class Centralisation:
    """sum_c sum_i |phi(omega_c(s_i)) - class mean|^2 with phi a teacher's penultimate feature, drawn once per step.

    Differs: the paper takes an exponential of it and a margin, which the authors' code does not have.
    """

    looks: Looks
    teachers: Source[View]
    additive: ClassVar[bool] = True

    def check(self, syn: Decodes) -> None:
        """Raises ValueError at one decoded image per class, which is its own mean."""
        _require_several(syn, "class centralisation")

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        look = self.looks.look(syn, real)
        feature = self.teachers.draw().features(look.syn_images, syn.space)[0]
        return spread(feature, syn.y, syn.target.shape[1])


def iid(
    real: RealData,
    net: NetFactory,
    *,
    teachers: Source[View],
    host: Callable[..., Distillation] = dm,
    covariance: float = 0.01,
    centralisation: float = 0.05,
    where: Where = last_map,
    **settings: Any,
) -> Distillation:
    """A job of `host` with the two relations in its objective.

    The default weights are those published for DM on CIFAR-10; for IDM they are 0.03 and 0.01. Others are not
    published. The pool of teachers is 1000 ResNet-18 (instance norm) trained for 40 epochs in the paper; the authors
    say that fewer are acceptable.

    Args:
        real: what to distil.
        net: the host's network.
        teachers: pretrained networks phi, one drawn per step.
        host: `dm` or `idm`, or another method whose term "match" looks through networks of `net`.
        covariance: lambda_cm, 0 leaves the term out.
        centralisation: lambda_cc, 0 leaves the term out.
        where: which map the covariance is of; `last_map_rows` is what the released code does on Tiny-ImageNet.
        settings: the host's.

    Raises:
        ValueError: one decoded image per class, at which both terms are constant.
    """
    job = host(real, net, **settings)
    looks: Looks = getattr(job.terms["match"].term, "looks")  # noqa: B009
    relations = dict[str, Weighted]()
    if covariance:
        found = where(net(real.shape, real.num_classes).eval(), real.shape)
        relations["covariance"] = Weighted(covariance, LocalCovariance(looks, found))
    if centralisation:
        relations["centralisation"] = Weighted(centralisation, Centralisation(looks, teachers))
    return replace(job, terms={**job.terms, **relations})
