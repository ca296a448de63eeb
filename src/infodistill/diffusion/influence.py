"""Influence: how much training on an image moves a classifier as training on the real class does (TracIn, for IGD).

    I(x, y) = mean_q [ 1 - cos( grad_theta CE(f(theta_q, x), y), G_q(y) ) ],
    G_q(y)  = mean over real images of class y of grad_theta CE(f(theta_q, .), y)

over checkpoints theta_q of one training on the real data; cosines over all parameters at once. Chen et al.,
"Influence-Guided Diffusion for Dataset Distillation", ICLR 2025; the classifier is called the surrogate there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from infodistill.compute import Policy, View
from infodistill.gradients import Gradients, class_gradients
from infodistill.real import RealData
from infodistill.sources.expert_recording import Told, record_experts
from infodistill.sources.expert_store import ExpertStore
from infodistill.training import Fit
from infodistill.types import Batch, NetFactory, ValueSpace, convert

PICKS = {
    ("imagewoof", "convnet6"): (0, 5, 16, 40),
    ("imagenette", "convnet6"): (0, 2, 11, 40),
    ("imagenet", "convnet6"): (0, 5, 18, 50),
    ("imagewoof", "resnetap10"): (0, 6, 16, 39, 74),
    ("imagewoof", "resnet18"): (0, 16, 33),
}
"""The authors' checkpoints, by data and network, as written in copies of their code, which differ from one another: one
has 52 for ImageNet's 50, and stops at 39 for ImageWoof and ResNetAP-10. They belong to their trainings, not to ours."""

SURROGATE = Fit(50, batch=64, lr=0.01, momentum=0.9)
"""How the surrogate is trained: 50 epochs are theirs (a copy has 200), the rest is our choice."""


def gradient_cosine(a: Gradients, b: Gradients) -> Float[Tensor, " n"]:
    """Row i: <a_i, b_i> / (|a_i| |b_i|) over all parameters at once, in [-1, 1]; 0 with zero gradient at a zero row.

    Differs: the authors add 1e-6 to the product of the norms, which pulls the cosine of images that are fitted well (a
    small gradient) to 0.
    """
    dot, left, right = (_inner(*pair) for pair in ((a, b), (a, a), (b, b)))
    there = (left > 0) & (right > 0)
    return there * dot * torch.where(there, left, 1).rsqrt() * torch.where(there, right, 1).rsqrt()


def pick_checkpoints(gradients: Iterable[tuple[int, Gradients]], threshold: float = 0.7) -> tuple[int, ...]:
    """The epochs whose real gradients differ: the first, then each whose cosine with the last picked is < threshold.

    Args:
        gradients: (epoch, real gradients with a row per class), epochs ascending; read once.
        threshold: of the cosine averaged over classes.
    """
    picked: list[int] = []
    last: Gradients | None = None
    for epoch, now in gradients:
        if last is None or float(gradient_cosine(last, now).mean()) < threshold:
            picked.append(epoch)
            last = now
    return tuple(picked)


def real_gradients(view: View, real: RealData, per_class: int = 200, *, seed: int = 0) -> Gradients:
    """G(y): row y is the mean gradient over `per_class` keyed real images of class y (all, where there are fewer).

    Differs: the authors take the first 200 of a folder.
    """
    rows: list[Gradients] = []
    for label, count in enumerate(real.counts.tolist()):
        batch = real.batch(seed, 0, min(per_class, count), [label], owner="igd.real").to(view.policy.device)
        x = convert(batch.x, batch.space, view.space)
        rows.append(class_gradients(view, x, batch.target, 1, create_graph=False))
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}


def each_image(batch: Batch) -> int:
    """Every image by itself against its class: the paper's influence, of images sampled one at a time."""
    return len(batch)


def each_class(batch: Batch) -> int:
    """The mean gradient of a class's images against that of the real class (ours): images may complement each other."""
    return len(batch.classes())


@dataclass(frozen=True)
class Influence:
    """Sum over images of I(x, y), a cost in [0, 2 n]; class-major batches in pixels or in any known value space.

    With `each_class` I is that of the mean gradient of a class's n images, counted n times, so that the force on an
    image does not shrink as there are more.

    Attributes:
        views: the classifier at every checkpoint; all see the same value space.
        wanted: G_q, a row per class, of every checkpoint.
        epochs: of the checkpoints.
        groups: `each_image` or `each_class`.
    """

    views: tuple[View, ...]
    wanted: tuple[Gradients, ...]
    epochs: tuple[int, ...] = ()
    groups: Callable[[Batch], int] = each_image

    def __post_init__(self) -> None:
        if not self.views or len(self.views) != len(self.wanted):
            raise ValueError(f"{len(self.views)} checkpoints need as many real gradients, got {len(self.wanted)}")

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        """The cost; real images were read when the real gradients were made."""
        del real
        count = self.groups(syn)
        return self.values(syn).sum() * (len(syn) // count)

    def values(self, syn: Batch) -> Float[Tensor, " groups"]:
        """I of every group, averaged over checkpoints, in [0, 2]; differentiable in the images."""
        count = self.groups(syn)
        labels = syn.y[:: len(syn) // count]
        total = syn.x.new_zeros(count)
        for view, wanted in zip(self.views, self.wanted, strict=True):
            x = convert(syn.x, syn.space, view.space)
            own = class_gradients(view, x, syn.target, count, create_graph=True)
            total = total + 1 - gradient_cosine(own, {name: value[labels] for name, value in wanted.items()})
        return total / len(self.views)

    @cached_property
    def space(self) -> ValueSpace:
        """The value space of the classifier.

        Raises:
            ValueError: it is not known.
        """
        space = self.views[0].space
        if space is None:
            raise ValueError("the surrogate's value space is not known, wanted views that have one")
        return space


@dataclass(frozen=True)
class InPieces:
    """A sum over images in pieces of at most `most`, differentiated one after another: memory for one piece.

    The value and its gradient in the images are those of `term`; there is no second derivative.
    """

    term: Callable[[Batch, Batch], Tensor]
    most: int

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        parts = [self._part(syn.rows(index), real) for index in torch.arange(len(syn)).split(self.most)]
        return torch.stack(parts).sum()

    def _part(self, piece: Batch, real: Batch) -> Tensor:
        with torch.enable_grad():
            leaf = piece.x.detach().requires_grad_()
            cost = self.term(replace(piece, x=leaf), real)
            (slope,) = torch.autograd.grad(cost, leaf)
        return cost.detach() + ((piece.x - leaf.detach()) * slope).sum()  # the second part is 0 and has the gradient


def surrogate_store(
    real: RealData,
    factory: NetFactory,
    cache: Path,
    *,
    fit: Fit = SURROGATE,
    seed: int = 0,
    policy: Policy | None = None,
    progress: Told | None = None,
) -> ExpertStore:
    """The surrogate's training on `real`, every epoch kept; found again where it was recorded before."""
    return record_experts(real, factory, count=1, fit=fit, cache=cache, seed=seed, policy=policy, progress=progress)


def influence_of(
    store: ExpertStore,
    real: RealData,
    *,
    picks: Sequence[int] | None = None,
    threshold: float = 0.7,
    per_class: int = 200,
    groups: Callable[[Batch], int] = each_image,
    seed: int = 0,
    policy: Policy | None = None,
) -> Influence:
    """The influence of a recorded training at its picked epochs.

    Args:
        store: of `surrogate_store`; its first expert is read.
        real: the data it was trained on.
        picks: epochs; None picks them (`pick_checkpoints`), which reads every epoch once.
        threshold: of the picking.
        per_class: real images of a gradient.
        groups: `each_image` or `each_class`.
        seed: key of the real images.
        policy: how the surrogate runs, on which device.

    Raises:
        ValueError: an epoch that is not in the store.
    """
    how = policy or Policy()

    def view(epoch: int) -> View:
        module = store.module.to(how.device)
        return View(module, store.parameters(0, epoch, how.device), how, store.space, age=epoch)

    def gradients(epoch: int) -> Gradients:
        return real_gradients(view(epoch), real, per_class, seed=seed)

    if picks is None:
        picks = pick_checkpoints(((epoch, gradients(epoch)) for epoch in store.epochs), threshold)
    views = tuple(view(epoch) for epoch in picks)
    return Influence(views, tuple(gradients(epoch) for epoch in picks), tuple(picks), groups)


def _inner(a: Gradients, b: Gradients) -> Tensor:
    return torch.stack([(a[name] * b[name]).flatten(1).sum(1) for name in a]).sum(0)
