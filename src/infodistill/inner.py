"""One training step on the synthetic set as two functions: its gradient, and the product its adjoint needs.

For l(theta, x, Y) = -(1/b) sum_i sum_k Y_ik log p_ik(theta, x_i), `gradient` gives g = dl/dtheta and `product` gives,
for a cotangent u over the parameters, g and d<u, g>/d(theta, x, Y): one second-order product, no kept graph. Both run
in the policy's chunks and precision, and compiled where the policy says so (eager, a product is the slower form).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from infodistill.execution import chunk_rows, compiled, compiling, padded
from infodistill.policy import Policy
from infodistill.types import Augment, Net

Params = dict[str, Tensor]


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
        run = self._runner(_gradient)
        parts = [run(self.module, theta, *chunk) for chunk, _ in self._chunks(x, target)]
        return _total(parts)

    def product(self, theta: Params, x: Tensor, target: Tensor, u: Params) -> Product:
        """g, and the derivatives of <u, g>, all detached."""
        run, dx, dy = self._runner(_product), list[Tensor](), list[Tensor]()
        gs, thetas = list[Params](), list[Params]()
        for chunk, rows in self._chunks(x, target):
            (d_theta, d_x, d_target), g = run(self.module, theta, *chunk, u)
            gs.append(g)
            thetas.append(d_theta)
            dx.append(d_x[:rows])
            dy.append(d_target[:rows])
        return Product(_total(gs), _total(thetas), torch.cat(dx), torch.cat(dy) / len(x))

    def _chunks(self, x: Tensor, target: Tensor) -> Iterable[tuple[tuple[Tensor, Tensor], int]]:
        """Pieces of one shape; the mean over the batch is in the targets, so rows filled up count nothing."""
        rows = chunk_rows(self.module, x, self.policy)
        x, target = x.detach(), target.detach() / len(x)
        for images, wanted in zip(x.split(rows), target.split(rows), strict=True):
            filled = padded(images, rows, self.policy)
            if self.policy.compile:
                filled = filled.contiguous(memory_format=torch.channels_last)
            yield (filled, padded(wanted, rows, self.policy)), len(images)

    def _runner(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if self.policy.compile:
            function = compiled(function, type(self.module), torch.get_num_threads())
        return _In(function, self.policy)


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


@dataclass(frozen=True)
class _In:
    """A function run under a policy's precision."""

    function: Callable[..., Any]
    policy: Policy

    def __call__(self, module: Net, theta: Params, x: Tensor, *rest: Any) -> Any:
        with compiling(), torch.autocast(x.device.type, torch.bfloat16, enabled=self.policy.precision == "bf16"):
            return self.function(_Classifier(module), theta, x, *rest)


class _Classifier(nn.Module):
    """The network with its head in full precision, whatever the blocks run in."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        feature = self.net.stages(x)[-1]
        with torch.autocast(x.device.type, enabled=False):
            return self.net.head(feature.to(x.dtype))


def _loss(module: _Classifier, theta: Params, x: Tensor, target: Tensor) -> Tensor:
    named = {f"net.{name}": value for name, value in theta.items()}
    logits = cast(Tensor, functional_call(module, named, (x,)))
    return -(target * logits.log_softmax(1)).sum()


def _gradient(module: _Classifier, theta: Params, x: Tensor, target: Tensor) -> Params:
    return grad(_loss, argnums=1)(module, theta, x, target)


def _product(module: _Classifier, theta: Params, x: Tensor, target: Tensor, u: Params) -> Any:
    def along(t: Params, images: Tensor, wanted: Tensor) -> tuple[Tensor, Params]:
        g = grad(_loss, argnums=1)(module, t, images, wanted)
        return torch.stack([(g[name] * u[name]).sum() for name in g]).sum(), g

    return grad(along, argnums=(0, 1, 2), has_aux=True)(theta, x, target)


def _total(parts: list[Params]) -> Params:
    """The sum of parameter dicts, in order."""
    total = parts[0]
    for part in parts[1:]:
        total = {name: value + part[name] for name, value in total.items()}
    return total
