"""Per-class gradients of the synthetic images where networks run compiled: exact, with the memory of one chunk.

Forward computes g_c, the gradient of class c's mean cross-entropy over the weights, and keeps nothing but its inputs.
Backward computes the derivatives of <u_c, g_c> for the cotangents u_c by one compiled product per chunk, which begins
anew. On a CPU that is faster than a kept graph although it computes g_c twice: the graph's memory is what was slow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from infodistill.compute.views import View
from infodistill.unrolling.derivatives import Params, chunks, gradient, of_images, run, total


def class_products(
    view: View, x: Float[Tensor, "k b c h w"], target: Float[Tensor, "k b j"], precision: str | None = None
) -> Params:
    """Row c of every tensor: g_c, class after class in the policy's chunks, precision and compilation.

    `precision` is that of the values g_c where it differs from the policy's, which the products keep.
    Differentiable once, in `x` and `target`; parameters are constants.

    Raises:
        RuntimeError: at a derivative with `create_graph=True`.
    """
    theta = {name: value.detach() for name, value in view.params.items()}
    values = view if precision is None else replace(view, policy=replace(view.policy, precision=precision))
    rows = _Products.apply((view, values), tuple(theta), x, target, *theta.values())
    return dict(zip(theta, rows, strict=True))  # type: ignore[arg-type]


def serves(view: View) -> bool:
    """Whether `class_products` can stand for a kept graph.

    Not with batch norm, which makes one batch of its images, nor where parameters ask for derivatives of their own.
    """
    coupled = any(isinstance(part, _BatchNorm) for part in view.module.modules())
    return not coupled and not any(value.requires_grad for value in view.params.values())


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, views: tuple[View, View], names: tuple[str, ...], x: Tensor, target: Tensor, *theta: Tensor
    ) -> Any:
        (ctx.view, values), ctx.names = views, names
        ctx.save_for_backward(x, target, *theta)
        weights = dict(zip(names, theta, strict=True))
        rows = [_gradient(values, weights, images, wanted) for images, wanted in zip(x, target, strict=True)]
        return tuple(torch.stack([row[name] for row in rows]) for name in names)

    @staticmethod
    def backward(ctx: Any, *u: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if torch.is_grad_enabled():
            raise RuntimeError(
                "compiled gradient matching has first derivatives only: ask for more under an eager policy"
            )
        x, target, *theta = ctx.saved_tensors
        weights = dict(zip(ctx.names, theta, strict=True))
        slopes = [
            _slopes(ctx.view, weights, images, wanted, dict(zip(ctx.names, cotangent, strict=True)))
            for images, wanted, *cotangent in zip(x, target, *u, strict=True)
        ]
        dx, dy = (torch.stack(parts) for parts in zip(*slopes, strict=True))
        return None, None, dx, dy, *[None] * len(theta)


def _gradient(view: View, theta: Mapping[str, Tensor], x: Tensor, target: Tensor) -> Params:
    pieces = chunks(view.module, x, target / len(x), view.policy)
    return total([run(gradient, view.module, view.policy, theta, *chunk) for chunk, _ in pieces])


def _slopes(view: View, theta: Params, x: Tensor, target: Tensor, u: Params) -> tuple[Tensor, Tensor]:
    """The derivatives of <u, g> over one class's images (b, c, h, w) and targets (b, j)."""
    dx, dy = list[Tensor](), list[Tensor]()
    for chunk, rows in chunks(view.module, x, target / len(x), view.policy):
        d_x, d_target = run(of_images, view.module, view.policy, theta, *chunk, u)
        dx.append(d_x[:rows])
        dy.append(d_target[:rows])
    return torch.cat(dx), torch.cat(dy) / len(x)
