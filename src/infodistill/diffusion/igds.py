"""IGDS: information-guided diffusion sampling (Ye et al., NeurIPS 2025 workshop), arXiv:2507.04619; our estimators.

    p*(x_1 .. x_n | y)  ~  prod_i p(x_i | y) exp{ s [ sum_i Prototype_i + beta(n) n H(x_1 .. x_n) ] }

What the paper states: while a diffusion model samples, maximise I(X;Y) (prototype) + beta H(X|Y) (contextual) through
lower bounds learned from data, beta growing with the images per class n. What it does not state, and is ours: the
bounds (by default P3, the set decoder, and C2, Kolchinsky and Tracey's), s(n), beta(n), bandwidths, window, the rule
that turns a gradient into a push, and that the n images of a class are one set, whose bounds are summed, not averaged.

    z  = x0 after classifier-free guidance                                   surrogate route, s0^2 of the real images
    g  = s unit(s0^2/(s0^2 + sigma^2) dJ_P/dz) + beta s unit(s0^2/(s0^2 + sigma^2) dJ_C/dz)       t/T <= 0.9
    x0 moves so that the predicted noise changes by sqrt(1 - abar) g, of at most 1.5 r.m.s. an image

Measured on digits: above plain sampling at every n; a k-means pull and the real images nearest to k-means centres are
level with it from ten images per class up (`mgd3.centre_pull`, `methods.nearest`). The classifier pair P1/P2 with C1,
the plainest reading of the paper, lost to P3 with C2 there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from infodistill.diffusion.contract import Denoise, Prediction
from infodistill.diffusion.encoded import Encoded
from infodistill.diffusion.estimators import CONTEXTUALS, PROTOTYPES, Contextual, Prototype, prototype_scale
from infodistill.diffusion.features import Feature, Pooled
from infodistill.diffusion.given import Given, Tightest
from infodistill.diffusion.guidance import Force, Watched, guide
from infodistill.diffusion.in_pixels import InPixels
from infodistill.diffusion.model import DiffusionModel
from infodistill.diffusion.routes import Route, exact, surrogate
from infodistill.diffusion.rules import Rule, bayes, normalised
from infodistill.information.classifier_bounds import NoisyClassifier, Views
from infodistill.types import Batch, Term, ValueSpace

__all__ = ["CONTEXTUALS", "IGDS", "PROTOTYPES", "ROUTES", "RULES", "Fixed", "beta", "igds", "prototype_scale"]

SHOWN = 8192
"""Real images a step looks at, about, where there are many classes."""


def contextual_push(n: int, most: float = 0.2) -> float:
    """Most * min(1, log n / log 5): 0 at one image per class, all of it from five (ours; fitted, not a law)."""
    return most * min(1.0, math.log(n) / math.log(5))


def beta(n: int, prototype: Prototype = PROTOTYPES["p3"], scale: float | None = None) -> float:
    """Contextual push over prototype push in normalised units, `contextual_push` / s; 0 at one image per class.

    The data behind it fix only "small at two, positive and flat from five": where the prototype is a classifier (P1,
    b = 0.4) the best dose grew from n = 1 to 5; beside P3 (b = 0.2), which contains coverage, no trend was resolved.

    Args:
        n: images per class.
        prototype: brings b and s(n).
        scale: s, if it is not the prototype's; 0 gives 0.
    """
    s = prototype.scale(n) if scale is None else scale
    return contextual_push(n, prototype.push) / s if s != 0 else 0.0


@dataclass(frozen=True)
class Fixed:
    """The same number for every n, or whatever else is asked."""

    value: float

    def __call__(self, *asked: object) -> float:
        del asked
        return self.value


def through_denoiser(variance: float) -> Route:
    """The exact route: three to four times the work of an unguided step, and a model's activations in memory."""
    del variance
    return exact


ROUTES: Mapping[str, Callable[[float], Route]] = {"surrogate": surrogate, "exact": through_denoiser}
"""From the variance of the real images to a route."""

RULES: Mapping[str, Rule] = {"normalised": normalised, "bayes": bayes}


@dataclass(frozen=True)
class IGDS:
    """The settings of IGDS; every default is ours.

    Attributes:
        prototype: the bound on I(X;Y), one of `PROTOTYPES`.
        contextual: the bound on H(X|Y), one of `CONTEXTUALS`.
        scale: s(n); None is the prototype's own.
        beta: beta(n), contextual push over prototype push; None is the rule `beta`.
        bandwidth: h of P3 and C7 from real images.
        feature: what distances are measured in, of the sampled tensor itself: hard to game, and needs no decoding.
        rule: from gradients to pushes; `bayes` for posterior sampling, exact where `rules.bayes` says.
        route: from the variance s0^2 of the real images to how gradients pass the denoiser.
        window: t/T at which guidance acts.
        clip: the largest r.m.s. push of an image, in units of the predicted noise; a safety net.
        per_class: real images of every class a step looks at, fewer than that where they would be more than `SHOWN`,
            though 8 at least; None all. A class of no more is there whole.
        noisy_classifier: q(y | x, sigma), which P1 needs.
        teachers: classifiers of clean images, which P2 and C1 need.
    """

    prototype: Prototype = PROTOTYPES["p3"]
    contextual: Contextual = CONTEXTUALS["c2"]
    scale: Callable[[int], float] | None = None
    beta: Callable[[int], float] | None = None
    bandwidth: Callable[[Given], float] = field(default_factory=Tightest)
    feature: Feature = field(default_factory=Pooled)
    rule: Rule = normalised
    route: Callable[[float], Route] = surrogate
    window: tuple[float, float] = (0.0, 0.9)
    clip: float | None = 1.5
    per_class: int | None = 256
    noisy_classifier: NoisyClassifier | None = None
    teachers: Views | None = None


@dataclass(frozen=True)
class Guidance:
    """A `Steer` that shows what it is made of.

    Attributes:
        forces: by name: `prototype`, `contextual`, and whatever was added.
        classes: of the data.
        space: of what is denoised.
        real: real(sigma), the real images of a step.
        route: how gradients pass the denoiser.
        window: noise levels.
        clip: see `IGDS`.
        couples: whether all classes have to be sampled together.
        watch: told after every guided step.
        facts: the numbers in use, JSON-able: s, beta, bandwidths, s0^2.
    """

    forces: Mapping[str, Force]
    classes: int
    space: ValueSpace
    real: Callable[[float], Batch]
    route: Route
    window: tuple[float, float]
    clip: float | None
    couples: bool
    watch: Callable[[Watched], None] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __call__(self, denoise: Denoise) -> Denoise:
        guided = guide(
            denoise,
            self.forces,
            classes=self.classes,
            space=self.space,
            real=self.real,
            route=self.route,
            window=self.window,
            clip=self.clip,
            watch=self.watch,
        )
        return _together(guided, self.classes) if self.couples and guided is not denoise else guided


def igds(
    model: DiffusionModel,
    encoded: Encoded,
    ipc: int,
    *,
    settings: IGDS | None = None,
    seed: int = 0,
    watch: Callable[[Watched], None] | None = None,
    extra: Mapping[str, Force] | None = None,
) -> Guidance:
    """Guidance by J = I(X;Y) + beta H(X|Y), for `sampling.sample`.

    Args:
        model: what is sampled, with whatever classifier-free weight the plan has.
        encoded: the real training images as denoised, on the device of the model.
        ipc: images per class.
        settings: all defaults when None.
        seed: of k-means, of which real images a step sees, of codes.
        watch: told after every guided step.
        extra: more forces, such as CMI or MIM through `InPixels`, added as they are.

    Raises:
        ValueError: ipc below 1, a classifier that is needed and missing, an extra force of a name in use; while
            sampling, a coupled term that is shown some of the classes.
    """
    how = settings or IGDS()
    if ipc < 1:
        raise ValueError(f"ipc (images per class) must be at least 1, got {ipc}")
    given = Given(model, encoded, ipc, seed, how.feature, how.bandwidth, how.noisy_classifier, how.teachers)
    s = (how.scale or how.prototype.scale)(ipc)
    b = how.beta(ipc) if how.beta else beta(ipc, how.prototype, s)
    forces = _forces(given, how, {"prototype": s, "contextual": b * s})
    if twice := forces.keys() & (extra or {}).keys():
        raise ValueError(f"an extra force cannot be called {' or '.join(sorted(twice))}: these names are in use")
    constants = {name: _constants(force.term) for name, force in forces.items()}
    return Guidance(
        forces={**forces, **(extra or {})},
        classes=model.num_classes,
        space=encoded.space,
        real=encoded.minibatch(_shown(how.per_class, model.num_classes), seed),
        route=how.route(encoded.variance),
        window=(model.sigma_at(how.window[0]), model.sigma_at(how.window[1])),
        clip=how.clip,
        couples=how.prototype.couples and "prototype" in forces,
        watch=watch,
        facts={"ipc": ipc, "s": s, "beta": b, "variance": encoded.variance, "window": list(how.window), **constants},
    )


def _forces(given: Given, how: IGDS, scales: Mapping[str, float]) -> dict[str, Force]:
    """The forces that push; a term of scale 0 is not built, so nothing it would need is asked for."""
    forces: dict[str, Force] = {}
    for name, part in (("prototype", how.prototype), ("contextual", how.contextual)):
        if part.build is not None and scales[name] != 0:
            forces[name] = Force(part.build(given), scales[name], how.rule, part.shows)
    return forces


def _shown(per_class: int | None, classes: int) -> int | None:
    return None if per_class is None else min(per_class, max(8, SHOWN // classes))


def _constants(term: Term) -> dict[str, float]:
    inner = term.term if isinstance(term, InPixels) else term
    return {name: value for name, value in vars(inner).items() if isinstance(value, float)}


def _together(guided: Denoise, classes: int) -> Denoise:
    """Refuse to denoise a part of the classes."""

    def whole(x: Tensor, sigma: Tensor, y: Tensor) -> Prediction:
        if (count := len(y.unique())) != classes:
            raise ValueError(
                f"a coupled prototype needs all {classes} classes sampled together, got {count}: sample them in one "
                "group, or take the decoupled form"
            )
        return guided(x, sigma, y)

    return whole
