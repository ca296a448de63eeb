"""What a network may predict, stated once, in both directions: the answer it learns, and the clean image it means.

A variance-preserving network is fed z = sqrt(abar) x0 + sqrt(1 - abar) eps, which is x / sqrt(1 + sigma^2) of
x = x0 + sigma eps with abar = 1 / (1 + sigma^2). What it learns to say gives the clean image back exactly:

    eps (Ho et al., NeurIPS 2020):                                          x0 = x - sigma eps
    v = sqrt(abar) eps - sqrt(1 - abar) x0 (Salimans & Ho, ICLR 2022):      x0 = (x - sigma sqrt(1 + sigma^2) v)
                                                                                 / (1 + sigma^2)
    x0 itself.

So at equal predictions the three agree to rounding; what differs is how a network's error grows: sigma times that of
eps, sigma / sqrt(1 + sigma^2) < 1 times that of v.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

Clean = Callable[[Tensor, Tensor, Tensor], Tensor]
"""clean(x (n, c, h, w), sigma (n, 1, 1, 1), predicted (n, c, h, w)) -> x0 (n, c, h, w)."""

Target = Callable[[Tensor, Tensor, Tensor], Tensor]
"""target(x0, eps, abar (n, 1, 1, 1)): what the network should say, (n, c, h, w)."""


def from_noise(x: Tensor, sigma: Tensor, predicted: Tensor) -> Tensor:
    """The clean image that predicted noise means."""
    return x - sigma * predicted


def from_velocity(x: Tensor, sigma: Tensor, predicted: Tensor) -> Tensor:
    """The clean image that a predicted velocity means."""
    return (x - sigma * (1 + sigma.square()).sqrt() * predicted) / (1 + sigma.square())


def from_clean(x: Tensor, sigma: Tensor, predicted: Tensor) -> Tensor:
    """The network predicts the clean image."""
    del x, sigma
    return predicted


def noise(x0: Tensor, eps: Tensor, abar: Tensor) -> Tensor:
    """What a network of noise learns."""
    del x0, abar
    return eps


def velocity(x0: Tensor, eps: Tensor, abar: Tensor) -> Tensor:
    """What a network of velocities learns."""
    return abar.sqrt() * eps - (1 - abar).sqrt() * x0


PREDICTIONS: Mapping[str, Clean] = {"epsilon": from_noise, "v_prediction": from_velocity, "sample": from_clean}
"""To the clean image, by the name a scheduler's configuration gives it."""

TARGETS: Mapping[str, Target] = {"v_prediction": velocity, "epsilon": noise}
"""What is trained here, by the same names."""
