"""Frequencies at which characteristic functions are compared: random ones, or those an adversary finds (NCFM).

How many features a network has is known when the first of them are seen, so what is drawn is a function of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from infodistill.seeding import stream
from infodistill.sources.critic import Critic
from infodistill.types import Batch, Rows, Source

Frequencies = Callable[[Tensor], Tensor]
"""frequencies(features (n, d)) -> t (m, d), on their device and in their precision; the values are not looked at."""


@dataclass
class Gaussian(Source[Frequencies]):
    """t ~ N(0, I), `count` rows, the same for all classes of a step, keyed by (seed, owner, step).

    For features of length 1 every <t, z> is then N(0, 1). The paper found 1024 as good as 4096.

    Differs: the released code draws 4096 rows afresh for every class; one draw for all of them makes the projections
    of a step a single matrix product, and leaves the expectation as it is.

    Args:
        count: M, frequencies per step; 4096 in the released settings.
        seed: key of the draws, with `owner` and the step.

    Raises:
        ValueError: count below 1.
    """

    count: int = 1024
    seed: int = 0
    owner: str = "match.frequencies"
    _drawn: Tensor | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"characteristic functions are compared at 1 frequency at least, got {self.count}")

    def draw(self) -> Frequencies:
        return self._frequencies

    def advance(self, syn: Batch, real: Rows) -> None:
        self._drawn = None
        super().advance(syn, real)

    def load_state_dict(self, state: dict[str, object]) -> None:
        self._drawn = None
        super().load_state_dict(state)

    def _frequencies(self, features: Tensor) -> Tensor:
        width = features.shape[1]
        if self._drawn is None or self._drawn.shape[1] != width:
            self._drawn = torch.randn(self.count, width, generator=stream(self.seed, self.owner, self.step))
        self._drawn = self._drawn.to(features)
        return self._drawn


def leaky(x: Tensor) -> Tensor:
    """max(x, 0.2 x)."""
    return F.leaky_relu(x, 0.2)


@dataclass
class FrequencySampler(Critic[Frequencies]):
    """The adversary psi: frequencies at which the two sets differ most, made from white noise by a small network.

        t = psi(e),  e ~ N(0, I) (count, d),   psi = three times [Linear(d, d), BatchNorm, activation]

    with LeakyReLU(0.2), LeakyReLU(0.2), tanh, so every t lies in (-1, 1)^d. Batch norm uses the statistics of the
    `count` rows. It climbs the unweighted term by SGD, after the images have moved, on the gradient of the same graph.

    The noise is keyed by (seed, owner, step), the first weights, which follow PyTorch's default law, by (seed, owner).
    Tensors are made when the first features are seen. With groups of classes psi moves after every group, as the
    released code's does.

    Differs: the released code makes 64 rows of 4 noise rows, each 16 times over. Equal rows change no mean, hence
    neither the value nor the gradient: `count=4` is the same. There psi needs 2048 features; here it takes any number.

    Args:
        count: M, rows of noise and of frequencies; the paper's 1024.
        seed: key of noise and weights.
        lr: of its SGD.
        momentum: of its SGD.

    Raises:
        ValueError: count below 2, where batch norm is undefined.
    """

    lr: float = 1e-3
    momentum: float = 0.5
    count: int = 1024
    owner: str = "match.psi"

    def __post_init__(self) -> None:
        if self.count < 2:
            raise ValueError(f"the frequencies of an adversary are normalised over 2 rows at least, got {self.count}")

    def draw(self) -> Frequencies:
        return self._frequencies

    def update(self, grads: Sequence[Tensor]) -> None:
        super().update([-grad for grad in grads])

    def _frequencies(self, features: Tensor) -> Tensor:
        noise = stream(self.seed, f"{self.owner}.noise", self.step)
        t = torch.randn(self.count, features.shape[1], generator=noise).to(features)
        for layer, activation in enumerate((leaky, leaky, torch.tanh)):
            t = activation(self._normalised(layer, t))
        return t

    def _normalised(self, layer: int, x: Tensor) -> Tensor:
        """Linear, then batch norm over the rows."""
        width = x.shape[1]
        weight = self._tensor(layer, "weight", (width, width), 1 / math.sqrt(width), x)
        bias = self._tensor(layer, "bias", (width,), 1 / math.sqrt(width), x)
        scale = self._named(f"{layer}.scale", lambda: torch.ones(width), x)
        shift = self._named(f"{layer}.shift", lambda: torch.zeros(width), x)
        return F.batch_norm(F.linear(x, weight, bias), None, None, scale, shift, training=True)

    def _tensor(self, layer: int, kind: str, shape: tuple[int, ...], bound: float, like: Tensor) -> Tensor:
        """Uniform in +-bound, keyed by its name."""

        def make() -> Tensor:
            generator = stream(self.seed, f"{self.owner}.{kind}", 0, layer)
            return torch.empty(shape).uniform_(-bound, bound, generator=generator)

        return self._named(f"{layer}.{kind}", make, like)
