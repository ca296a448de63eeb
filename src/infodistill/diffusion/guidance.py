"""Guidance: any information term steers any sampler, by moving the predicted clean image.

A sample of p(x | y) exp(s J) has the score of x plus s dJ/dx, so by Tweedie's formula x0 moves by s sigma^2 dJ/dx: the
noise prediction of a variance-preserving model moves by -s sqrt(1 - abar) dJ/dz. J = -term, and a term sees either the
noisy images (`noisy`: exact where `rules.bayes` says) or the predicted clean ones (`clean`: biased, because J of a mean
is not the mean of J; the tests pin how much on Gaussians).

All images of a class are one set: they arrive in one call, class-major with equally many of every class. Nothing here
is stated by the paper of IGDS beyond "guide the sampler by bounds on the information": routes, rules, windows are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from infodistill.diffusion.contract import Denoise, Prediction
from infodistill.diffusion.routes import Pull, Route, exact, surrogate
from infodistill.diffusion.rules import Rule, Step, bayes, noise_units, normalised
from infodistill.types import Batch, Term, ValueSpace

ROUNDING = 1e-6
"""Sigmas of a sampler are rounded to float32: one on the edge of a window is inside by this much, relatively."""


@dataclass(frozen=True)
class Seen:
    """What forces of one step look at; every gradient comes back as dJ/dx."""

    step: Step
    told: Prediction
    pull: Pull
    batch: Callable[[Tensor, Tensor | None], Batch]
    real: Batch


class NoReal(Batch):
    """Stands where a guide was given no real images: terms that read none never notice, one that does is refused."""

    def __init__(self) -> None:  # there is nothing to hold
        pass

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__"):
            return super().__getattribute__(name)
        raise ValueError(f"a guiding term reads the real images ({name}), and there are none: give `guide` its `real`")

    def __len__(self) -> int:
        return len(self.y)


def clean(seen: Seen, term: Term) -> Tensor:
    """dJ/dx of J(x0(x)): the term sees predicted clean images."""
    return seen.pull(_uphill(seen, term, seen.told.x0, None))


def noisy(seen: Seen, term: Term) -> Tensor:
    """dJ/dx of J(x, sigma): the term sees noisy images and `Batch.noise`; nothing passes through the denoiser."""
    x = seen.step.x
    return _uphill(seen, term, x, x.new_full((len(x),), seen.step.sigma))


@dataclass(frozen=True)
class Force:
    """A term that pushes: downhill in its cost, `scale` times as far as its rule says.

    Attributes:
        term: a cost of (the images sampled, real ones); information terms cost minus their information.
        scale: 0 does nothing, a negative one pushes uphill.
        rule: the distance at scale 1.
        shows: what the term sees, `clean` or `noisy`.
    """

    term: Term
    scale: float
    rule: Rule = normalised
    shows: Callable[[Seen, Term], Tensor] = clean


@dataclass(frozen=True)
class Watched:
    """What guidance did in one step, per image, on the CPU.

    Attributes:
        sigma: the noise level.
        y: (n,) classes.
        values: information in nats by force, (n,), where its term has `per_image`.
        pushes: r.m.s. of each force's push in units of the predicted noise, (n,); `all`: of their clipped sum.
    """

    sigma: float
    y: Tensor
    values: Mapping[str, Tensor]
    pushes: Mapping[str, Tensor]


@runtime_checkable
class PerImage(Protocol):
    """A term that can say how much each image carries."""

    def per_image(self, syn: Batch, real: Batch) -> Tensor:
        """(n,) nats."""
        ...


def guide(
    denoise: Denoise,
    forces: Mapping[str, Force],
    *,
    classes: int,
    space: ValueSpace,
    real: Callable[[float], Batch] | None = None,
    route: Route | None = None,
    window: tuple[float, float] = (0.0, float("inf")),
    clip: float | None = 1.5,
    watch: Callable[[Watched], None] | None = None,
) -> Denoise:
    """A denoiser whose clean images are pushed by `forces`; without any (or all of scale 0) `denoise` itself.

    Args:
        denoise: after classifier-free guidance.
        forces: by name, all added.
        classes: of the data, for the targets of the batch terms see.
        space: the value space of what is denoised.
        real: real(sigma) -> the real images, in the space and shape of what is denoised, terms see at that noise level;
            None where no term reads them.
        route: how gradients pass the denoiser; `surrogate()` by default.
        window: noise levels (low, high) at which guidance acts, both included.
        clip: the largest r.m.s. of an image's whole push, in units of the predicted noise; None leaves it.
        watch: told after every guided step.

    Raises:
        ValueError: while sampling, if the images are not class-major with equally many of every class, or a term reads
            real images and there are none.
    """
    pushing = {name: force for name, force in forces.items() if force.scale != 0}
    if not pushing:
        return denoise
    passing = route or surrogate()

    def batch_of(y: Tensor) -> Callable[[Tensor, Tensor | None], Batch]:
        return lambda x, noise: Batch(x, y, one_hot(y, classes).to(x.dtype), space, noise)

    def guided(x: Tensor, sigma: Tensor, y: Tensor) -> Prediction:
        level = float(sigma[0])
        if not window[0] * (1 - ROUNDING) <= level <= window[1] * (1 + ROUNDING):
            return denoise(x, sigma, y)
        told, pull = passing(denoise, x, sigma, y)
        step = Step(x.detach(), level, y)
        seen = Seen(step, told, pull, batch_of(y), NoReal() if real is None else real(level))
        moves = {
            name: force.scale * force.rule(force.shows(seen, force.term), told.x0, step)
            for name, force in pushing.items()
        }
        total = _clipped(sum(moves.values(), torch.zeros_like(told.x0)), step, clip)
        if watch is not None:
            watch(_watched(seen, pushing, {**moves, "all": total}))
        return replace(told, x0=told.x0 + total)

    return guided


def _uphill(seen: Seen, term: Term, x: Tensor, noise: Tensor | None) -> Tensor:
    """-d term / dx; zeros where the term does not depend on x."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        cost = term(seen.batch(leaf, noise), seen.real)
        if not cost.requires_grad:
            return torch.zeros_like(x)
        return -torch.autograd.grad(cost, leaf, materialize_grads=True)[0]


def _clipped(move: Tensor, step: Step, clip: float | None) -> Tensor:
    if clip is None:
        return move
    size = noise_units(move, step)
    return move * (clip / size.clamp_min(clip)).view(-1, *[1] * (move.dim() - 1))


def _watched(seen: Seen, forces: Mapping[str, Force], moves: Mapping[str, Tensor]) -> Watched:
    values: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, force in forces.items():
            if isinstance(force.term, PerImage):
                step = seen.step
                shown = seen.batch(seen.told.x0, None)
                if force.shows is noisy:
                    shown = seen.batch(step.x, step.x.new_full((len(step.x),), step.sigma))
                values[name] = force.term.per_image(shown, seen.real).float().cpu()
    pushes = {name: noise_units(move, seen.step).float().cpu() for name, move in moves.items()}
    return Watched(seen.step.sigma, seen.step.y.cpu(), values, pushes)


__all__ = [
    "Force",
    "PerImage",
    "Pull",
    "Route",
    "Rule",
    "Seen",
    "Step",
    "Watched",
    "bayes",
    "clean",
    "exact",
    "guide",
    "noisy",
    "normalised",
    "surrogate",
]
