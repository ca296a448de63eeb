"""IGD: influence-guided diffusion (Chen et al., ICLR 2025). A classifier's training says where images should go.

In the guided steps of 50 respaced DDPM steps (t = 30 .. 45, t = 49 being the first),

    z_(t-1) = DDPM step - k rho_t dI/dz_t - gamma d/dz_t cos(z_t, m*)
    rho_t   = sqrt(1 - abar_t) l_t / rms(dI/dz_t),    l_t = 0.0015 rms(eps)

I the influence of the decoded prediction of the clean image (`influence.py`), m* the most similar latent of the class
among the last 64 made before, eps the predicted noise, each r.m.s. over one image. So the influence moves an image by
k 0.0015 sqrt(1 - abar_t) rms(eps), however large I is.

The samplers here take x0, not a shift of the step: for `ddpm` `next_step` finds the x0 that gives just that step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from infodistill.diffusion.contract import Denoise
from infodistill.diffusion.guidance import Force, Seen, Watched, guide, noisy
from infodistill.diffusion.in_pixels import InPixels
from infodistill.diffusion.influence import Influence, InPieces, each_image
from infodistill.diffusion.memory import Memory, cosines
from infodistill.diffusion.model import DiffusionModel
from infodistill.diffusion.routes import Route, exact
from infodistill.diffusion.rules import Step
from infodistill.diffusion.sampling import Plan, Sampled, Steer, sample
from infodistill.seeding import key
from infodistill.types import Batch, Term

PUBLISHED_VALUES = 4 * 32 * 32
"""Values of the latents that the published gamma belongs to."""


@dataclass(frozen=True)
class IGD:
    """How far images are pushed, and when.

    Attributes:
        k: of the influence; the authors: 5, with a model fine-tuned by Minimax 15 (ImageNette) or 10.
        gamma: of the deviation at 4x32x32 values; None 50 up to 10 images per class and 120 above, theirs for DiT on
            10 classes (ImageNet: 120; with Minimax 10 on ImageNette, 50 / 100 / 100 on ImageWoof for 10 / 50 / 100
            images, 100 on ImageNet).
        length: l_t / rms(eps).
        window: fractions of T at which guidance acts; these hold t = 30 .. 45 of 50, and no other.
        steps: of the plan.
    """

    k: float = 5.0
    gamma: float | None = None
    length: float = 0.0015
    window: tuple[float, float] = (0.602, 0.929)
    steps: int = 50

    def deviation(self, ipc: int, values: int) -> float:
        """Gamma for `ipc` images of `values` entries.

        Differs: scaled by values / 4096. The gradient of a cosine falls as 1 / |z|, so that its r.m.s. falls as
        1 / values: unscaled, the published number would push 8x8 images 64 times as far as the latents it is for.
        """
        gamma = (50.0 if ipc <= 10 else 120.0) if self.gamma is None else self.gamma
        return gamma * values / PUBLISHED_VALUES


def igd(
    model: DiffusionModel,
    influence: Influence,
    ipc: int,
    how: IGD | None = None,
    *,
    route: Route = exact,
    memory: Memory | None = None,
    most: int | None = None,
    watch: Callable[[Watched], None] | None = None,
) -> Steer:
    """Guidance by influence and deviation. With k = gamma = 0 it is the model itself.

    Differs: all images of a class are sampled together here, so that none is made before another. m* is then the most
    similar of the *other* images of the class, as predicted clean at the same step (`apart`). With `memory` it is the
    published one: sample by `one_by_one`, which fills it.

    Args:
        model: what is sampled.
        influence: of the surrogate, `influence_of`.
        ipc: images per class; chooses gamma where none is given.
        how: hyper-parameters.
        route: `exact`, through the denoiser, as published; `surrogate(s0^2)` is an ablation.
        memory: of what was made before, 64 images of every class as published.
        most: images decoded and differentiated at a time (`each_image` only); None all of a group at once.
        watch: told after every guided step.

    Raises:
        ValueError: pieces of a term that is no sum over images; while sampling, other steps than `how` has.
    """
    how = how or IGD()
    if most is not None and influence.groups is not each_image:
        raise ValueError("images can be taken in pieces where influence is that of each image, not of a class")
    walk = tuple(model.sigmas(how.steps).tolist())
    term: Term = InPixels(influence, model.codec, influence.space, per_class=0)
    if most is not None:
        term = InPieces(term, most)
    gamma = how.deviation(ipc, math.prod(model.shape))
    forces = {
        "influence": Force(term, how.k, InfluenceStep(walk, how.length)),
        "deviation": Force(apart, gamma, DeviationStep(walk), beside)
        if memory is None
        else Force(Remembered(memory), gamma, DeviationStep(walk), noisy),
    }
    window = (model.sigma_at(how.window[0]), model.sigma_at(how.window[1]))

    def steer(denoise: Denoise) -> Denoise:
        return guide(
            denoise,
            forces,
            classes=model.num_classes,
            space=model.latent_space(),
            route=route,
            window=window,
            clip=None,
            watch=watch,
        )

    return steer


def next_step(move: Tensor, walk: Sequence[float], step: Step) -> Tensor:
    """The shift of x0 by which the next step of `ddpm` ends at z_(t-1) + move.

    In x = x0 + sigma * noise the step from sigma to s has mean x0 + (s/sigma)^2 (x - x0), and x_s = sqrt(1 + s^2) z_s:
    a shift D of x0 moves z_s by (1 - s^2/sigma^2) / sqrt(1 + s^2) D.

    Raises:
        ValueError: this noise level is not among `walk`.
    """
    place = min(range(len(walk) - 1), key=lambda i: abs(walk[i] - step.sigma))
    if abs(walk[place] - step.sigma) > 1e-3 * step.sigma:
        raise ValueError(f"IGD was set up for {len(walk) - 1} steps, which have no noise level {step.sigma:.4g}")
    lower = walk[place + 1]
    return move * ((1 + lower**2) ** 0.5 / (1 - (lower / step.sigma) ** 2))


@dataclass(frozen=True)
class InfluenceStep:
    """The rule -rho_t dI/dz: a step of length * sqrt(1 - abar) * rms(eps) of every image down its influence.

    Attributes:
        walk: the sampler's noise levels, falling to 0.
        length: l_t / rms(eps).
    """

    walk: tuple[float, ...]
    length: float = 0.0015

    def __call__(self, g: Tensor, x0: Tensor, step: Step) -> Tensor:
        sine = step.sigma / (1 + step.sigma**2) ** 0.5  # sqrt(1 - abar)
        own = _rms(g)
        there = own > 0
        unit = torch.where(there, g / torch.where(there, own, 1), 0)
        return next_step(sine * self.length * _rms((step.x - x0) / step.sigma) * unit, self.walk, step)


@dataclass(frozen=True)
class DeviationStep:
    """The rule -d/dz cos(z, m*); its size is that of the gradient. `walk`: the sampler's noise levels."""

    walk: tuple[float, ...]

    def __call__(self, g: Tensor, x0: Tensor, step: Step) -> Tensor:
        del x0
        return next_step(g * (1 + step.sigma**2) ** 0.5, self.walk, step)  # z = x / sqrt(1 + sigma^2)


def apart(syn: Batch, others: Batch) -> Tensor:
    """Sum over images i of max over j != i of its class of cos(syn_i, others_j); an only image has no other: 0."""
    total = syn.x.new_zeros(())
    for label in syn.classes().tolist():
        rows = (syn.y == label).nonzero().flatten()
        if len(rows) > 1:
            alike = cosines(syn.x[rows], others.x[rows].detach())
            itself = torch.eye(len(rows), dtype=torch.bool, device=alike.device)
            total = total + alike.masked_fill(itself, -torch.inf).amax(1).sum()
    return total


def beside(seen: Seen, term: Term) -> Tensor:
    """-d term/dx where the term sees noisy images and, as the other batch, the clean ones predicted from them."""
    x = seen.step.x
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        cost = term(seen.batch(leaf, x.new_full((len(x),), seen.step.sigma)), seen.batch(seen.told.x0, None))
        return -torch.autograd.grad(cost, leaf)[0] if cost.requires_grad else torch.zeros_like(x)


@dataclass(frozen=True)
class Remembered:
    """Sum over images of max over the class's memory of cos(x_i, m_j); 0 of a class without memory."""

    memory: Memory

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        del real
        total = syn.x.new_zeros(())
        for label in syn.classes().tolist():
            held = self.memory.of(label)
            if held is not None:
                total = total + cosines(syn.x[syn.y == label], held.to(syn.x)).amax(1).sum()
        return total


def one_by_one(
    model: DiffusionModel, plan: Plan, steer: Steer, memory: Memory, *, classes: Sequence[int] | None = None
) -> Iterator[Sampled]:
    """Sample class after class and within it image after image, each remembered for those after it, as published.

    `steer` was made with this `memory`, which starts anew with every class; so a class may be sampled without those
    before it. Image i has the noise of its own key, the same whatever the number of images; not that of joint sampling.
    """
    for label in range(model.num_classes) if classes is None else classes:
        memory.forget(label)
        made: list[Sampled] = []
        for number in range(plan.ipc):
            alone = replace(plan, ipc=1, together=1, seed=key(plan.seed, "one by one", number))
            made.extend(sample(model, alone, steer, classes=[label]))
            memory.extend(made[-1].x, made[-1].y)
        joined = (torch.cat(parts) for parts in zip(*((one.y, one.x, one.pixels) for one in made), strict=True))
        y, x, pixels = joined
        yield Sampled((label,), y, x, pixels)


def _rms(x: Tensor) -> Tensor:
    """(n, 1, 1, 1), of every image."""
    return x.square().mean((1, 2, 3), keepdim=True).sqrt()
