"""How far a force moves the predicted clean image: the step a sampler is at, and what its gradient is worth there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Step:
    """Where a sampler is: noisy images x (n, c, h, w), one noise level, classes y (n,) class-major."""

    x: Tensor
    sigma: float
    y: Tensor

    def by_class(self, value: Tensor) -> Tensor:
        """(n, ...) to (classes, n / classes, ...)."""
        return value.unflatten(0, (self.groups, -1))

    @property
    def groups(self) -> int:
        """How many classes are sampled together.

        Raises:
            ValueError: the images are not class-major with equally many of every class.
        """
        values, counts = self.y.unique_consecutive(return_counts=True)
        if len(values.unique()) < len(values) or len(counts.unique()) > 1:
            raise ValueError(f"guidance needs class-major images, equally many of every class, got {self.y.tolist()}")
        return len(values)


Rule = Callable[[Tensor, Tensor, Step], Tensor]
"""rule(g, x0, step) -> how far a force of scale 1 moves x0; g = dJ/dx (n, c, h, w), x0 before any force."""


def bayes(g: Tensor, x0: Tensor, step: Step) -> Tensor:
    """sigma^2 g: Tweedie's step, the score of p(x | y) exp(J) where J sees noisy images and knows it.

    Exact at scale 1 for exp J(x, sigma) = E[exp J(x0) | x], such as the log of q(y | x, sigma) = E[q(y | x0) | x]: then
    every noise level is that of the one tilted law. At another scale, or for a learned J, it is an approximation.
    """
    del x0
    return step.sigma**2 * g


def normalised(g: Tensor, x0: Tensor, step: Step, *, floor: float = 1e-6) -> Tensor:
    """Unit root mean square over the images of a class, in units of the predicted noise: eps moves by sqrt(1 - abar).

    Per class and not per image, so that images which are well placed already move less. Gradients (in z) whose r.m.s.
    is below `floor` are not blown up: equal images, where only rounding is left, stay. Samples no stated law exactly.
    """
    del x0
    in_z = g * (1 + step.sigma**2) ** 0.5
    sizes = step.by_class(in_z).flatten(1).square().mean(1).sqrt()
    unit = step.by_class(in_z) / sizes.clamp_min(floor).view(-1, *[1] * g.dim())
    return unit.flatten(0, 1) * (step.sigma**2 / (1 + step.sigma**2) ** 0.5)


def noise_units(move: Tensor, step: Step) -> Tensor:
    """R.m.s. per image, (n,), of the change of the predicted noise that a move of x0 is: eps = (x - x0) / sigma."""
    return move.flatten(1).square().mean(1).sqrt() / step.sigma
