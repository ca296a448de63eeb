"""One training step on the synthetic set as two functions: its gradient, and the product its adjoint needs.

For l(theta, x, Y) = -(1/b) sum_i sum_k Y_ik log p_ik(theta, x_i), `gradient` gives g = dl/dtheta and `product` gives,
for a cotangent u over the parameters, g and d<u, g>/d(theta, x, Y): one second-order product, no kept graph. Both run
in the policy's chunks and precision, and compiled where the policy says so (eager, a product is the slower form).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from infodistill.compute.policy import Policy
from infodistill.types import Augment, Net
from infodistill.unrolling.derivatives import Params, chunks, gradient, product, run, total


class Product(NamedTuple):
    """g and the derivatives of <u, g>: over the parameters, the images (b, c, h, w) and the targets (b, k)."""

    g: Params
    theta: Params
    x: Tensor
    target: Tensor


@dataclass(frozen=True)
class Inner:
    """The problem a student solves: a network, the augmentation of its images, SGD with momentum.

    Raises:
        ValueError: the network has batch norm, whose running statistics no parameter vector holds.
    """

    module: Net
    augment: Augment
    momentum: float = 0.0
    policy: Policy = field(default_factory=Policy)

    def __post_init__(self) -> None:
        if any(isinstance(part, _BatchNorm) for part in self.module.modules()):
            raise ValueError(
                "an unrolled network must not have batch norm: its statistics are no parameters; use instance"
            )
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {self.momentum}")

    def view(self, x: Tensor, omega: Tensor) -> Tensor:
        """The images of a step as the network sees them; a record of one row serves all of them."""
        one = len(omega) == 1
        row = torch.zeros(len(x), dtype=torch.int64) if one else torch.arange(len(x))
        return self.augment.apply(x, omega, row.to(x.device))

    def gradient(self, theta: Params, x: Tensor, target: Tensor) -> Params:
        """g, detached; x (b, c, h, w) augmented, target (b, k)."""
        return total([self._run(gradient, theta, *chunk) for chunk, _ in self._chunks(x, target)])

    def product(self, theta: Params, x: Tensor, target: Tensor, u: Params) -> Product:
        """g, and the derivatives of <u, g>, all detached."""
        dx, dy = list[Tensor](), list[Tensor]()
        gs, thetas = list[Params](), list[Params]()
        for chunk, rows in self._chunks(x, target):
            (d_theta, d_x, d_target), g = self._run(product, theta, *chunk, u)
            gs.append(g)
            thetas.append(d_theta)
            dx.append(d_x[:rows])
            dy.append(d_target[:rows])
        return Product(total(gs), total(thetas), torch.cat(dx), torch.cat(dy) / len(x))

    def _chunks(self, x: Tensor, target: Tensor) -> Iterable[tuple[tuple[Tensor, Tensor], int]]:
        return chunks(self.module, x.detach(), target.detach() / len(x), self.policy)

    def _run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return run(function, self.module, self.policy, *arguments)


@dataclass(frozen=True)
class Record:
    """What the steps look at, drawn once and replayed: `rows[i]` (b_i,) int64 and `omegas[i]` (1 or b_i, p)."""

    rows: tuple[Tensor, ...]
    omegas: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        if not self.rows or len(self.rows) != len(self.omegas):
            raise ValueError(
                f"a record needs as many omegas as steps, at least 1, got {len(self.omegas)}, {len(self.rows)}"
            )

    def __len__(self) -> int:
        return len(self.rows)


Unroll = Callable[[Inner, Mapping[str, Tensor], Tensor, Tensor, Tensor, Record], Params]
"""unroll(inner, theta_0, images (n, c, h, w), labels (n, k), rates (N,), record of N steps) -> theta_N."""


def check_steps(images: Tensor, labels: Tensor, rates: Tensor, record: Record) -> None:
    if rates.shape != (len(record),):
        raise ValueError(f"{len(record)} steps need as many rates, got a tensor of shape {tuple(rates.shape)}")
    if len(images) != len(labels):
        raise ValueError(f"{len(images)} images need as many rows of labels, got {len(labels)}")
