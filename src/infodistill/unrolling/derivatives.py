"""Derivatives of one batch's cross-entropy as functions of everything they depend on.

    l(theta, x, Y) = -sum_i sum_k Y_ik log p_ik(theta, x_i)

`run` calls one of them in a policy's precision, and compiled where it says so; `chunks` cuts the batch for it. A mean
over the batch is in the targets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

from infodistill.compute.execution import chunk_rows, compiled, compiling, padded
from infodistill.compute.policy import Policy
from infodistill.types import Net

Params = dict[str, Tensor]


class Classifier(nn.Module):
    """The network with its head in full precision, whatever the blocks run in."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        feature = self.net.stages(x)[-1]
        with torch.autocast(x.device.type, enabled=False):
            return self.net.head(feature.to(x.dtype))


def loss(module: Classifier, theta: Mapping[str, Tensor], x: Tensor, target: Tensor) -> Tensor:
    """l, (): images (b, c, h, w), targets (b, k)."""
    named = {f"net.{name}": value for name, value in theta.items()}
    logits = cast(Tensor, functional_call(module, named, (x,)))
    return -(target * logits.log_softmax(1)).sum()


def gradient(module: Classifier, theta: Mapping[str, Tensor], x: Tensor, target: Tensor) -> Params:
    """dl/dtheta, called g."""
    return grad(loss, argnums=1)(module, theta, x, target)


def product(module: Classifier, theta: Params, x: Tensor, target: Tensor, u: Params) -> Any:
    """The derivatives of <u, g> over (theta, x, Y), and g."""

    def along(t: Params, images: Tensor, wanted: Tensor) -> tuple[Tensor, Params]:
        g = gradient(module, t, images, wanted)
        return _inner(u, g), g

    return grad(along, argnums=(0, 1, 2), has_aux=True)(theta, x, target)


def of_images(module: Classifier, theta: Params, x: Tensor, target: Tensor, u: Params) -> tuple[Tensor, Tensor]:
    """The derivatives of <u, g> over x and Y alone, which costs less than `product`."""

    def along(images: Tensor, wanted: Tensor) -> Tensor:
        return _inner(u, gradient(module, theta, images, wanted))

    return grad(along, argnums=(0, 1))(x, target)


def run(
    function: Callable[..., Any],
    module: Net,
    policy: Policy,
    theta: Mapping[str, Tensor],
    x: Tensor,
    target: Tensor,
    *rest: Any,
) -> Any:
    """function(classifier, theta, x, target, ...) as the policy says."""
    if policy.compile:
        function = compiled(function, type(module), torch.get_num_threads())
    with compiling(), torch.autocast(x.device.type, torch.bfloat16, enabled=policy.precision == "bf16"):
        return function(Classifier(module), theta, x, target, *rest)


def chunks(module: Net, x: Tensor, target: Tensor, policy: Policy) -> Iterable[tuple[tuple[Tensor, Tensor], int]]:
    """Images and targets in pieces of one shape, with the number of rows that count.

    Compiled, rows are filled up with zero targets, so what is added counts nothing.
    """
    rows = chunk_rows(module, x, policy)
    for images, wanted in zip(x.split(rows), target.split(rows), strict=True):
        filled = padded(images, rows, policy)
        if policy.compile:
            filled = filled.contiguous(memory_format=torch.channels_last)
        yield (filled, padded(wanted, rows, policy)), len(images)


def total(parts: Sequence[Params]) -> Params:
    """The sum of parameter dicts, in order."""
    added = parts[0]
    for part in parts[1:]:
        added = {name: value + part[name] for name, value in added.items()}
    return added


def _inner(u: Params, g: Params) -> Tensor:
    return torch.stack([(g[name] * u[name]).sum() for name in g]).sum()
