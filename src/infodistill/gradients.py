"""Per-class parameter gradients and the distances between them (DC, DSA and everything built on gradient matching)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vmap
from torch.utils.checkpoint import checkpoint

from infodistill.class_products import class_products, serves
from infodistill.compute import View
from infodistill.compute.execution import chunk_loss, chunk_rows
from infodistill.unrolling.derivatives import Classifier, gradient, run

Gradients = Mapping[str, Tensor]
"""One tensor (classes, *parameter shape) per parameter name."""


def class_gradients(
    view: View,
    x: Float[Tensor, "n c h w"],
    target: Float[Tensor, "n k"],
    classes: int,
    *,
    create_graph: bool,
    precision: str | None = None,
) -> dict[str, Tensor]:
    """Row c of every tensor: the gradient of class c's mean cross-entropy with respect to one parameter.

    Rows are class-major with n / classes images per class. The loss is mean_i -sum_k target_ik log p_ik.
    `create_graph=True` (the synthetic side) keeps a graph to `x` and `target`; otherwise the result is detached. Both
    run in the policy's precision, and in its chunks where compiled. Compiled, the result can be differentiated once
    (a second derivative raises RuntimeError) and the network's parameters are constants; a network with batch norm, or
    whose parameters ask for gradients, stays eager. `precision`, where given, is that of the synthetic side's values in
    compiled code, not of its derivatives: a distance that divides by small norms wants "float32".
    Raises ValueError when n is not a multiple of `classes`.
    """
    if classes < 1 or len(x) % classes:
        raise ValueError(f"{len(x)} images do not divide into {classes} classes of equal size")
    x, target = x.unflatten(0, (classes, -1)), target.unflatten(0, (classes, -1))
    if not create_graph:
        return _detached(view, x.detach(), target.detach())
    if view.policy.compile and serves(view):
        return class_products(view, x, target, precision)
    eager = replace(view, policy=replace(view.policy, compile=False, chunk=None, recompute=False))
    if not view.policy.recompute and _at_once(eager, x):
        return batched_gradients(eager, x, target)
    return looped_gradients(eager, x, target, recompute=view.policy.recompute)


def batched_gradients(view: View, x: Float[Tensor, "k b c h w"], target: Float[Tensor, "k b j"]) -> dict[str, Tensor]:
    """All classes in one pass by vmap: what CUDA runs, and a CPU when everything fits its cache."""

    def every(module: Classifier, theta: dict[str, Tensor], images: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        return vmap(gradient, in_dims=(None, None, 0, 0))(module, theta, images, wanted)

    return run(every, view.module, view.policy, _differentiable(view), x, target / x.shape[1])


def looped_gradients(
    view: View, x: Float[Tensor, "k b c h w"], target: Float[Tensor, "k b j"], *, recompute: bool = False
) -> dict[str, Tensor]:
    """Class after class, with a graph to `x`; a CPU is faster this way at CIFAR size (grouped convolutions are slow).

    With `recompute` every class's first backward is thrown away and made again when its turn comes.
    """
    theta = _differentiable(view)
    seen, names = replace(view, params=theta), list(theta)

    def one(images: Tensor, wanted: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            loss = cross_entropy(seen.logits(images), wanted)
            return torch.autograd.grad(loss, list(theta.values()), create_graph=True)

    run = partial(checkpoint, one, use_reentrant=False, preserve_rng_state=False) if recompute else one
    rows = [run(images, wanted) for images, wanted in zip(x, target, strict=True)]
    return {name: torch.stack(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}


def cross_entropy(logits: Float[Tensor, "n k"], target: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    """Mean over rows of -sum_k target_k log softmax(logits)_k, in nats; soft targets are differentiated too."""
    return -(target * logits.log_softmax(1)).sum(1).mean()


def row_cosine(a: Gradients, b: Gradients, eps: float = 1e-6) -> Float[Tensor, ""]:
    """DC's distance, summed over classes, tensors and output rows: 1 - <a_i, b_i> / (|a_i| |b_i| + eps).

    Tensors of one dimension (biases, norm affine) are left out; a zero row counts exactly 1. In float32 or better.
    `eps` is added to the product of the norms, as in the authors' code, so tiny equal rows are not at distance 0.
    """
    total: Tensor | None = None
    for name in a:
        if a[name].ndim < 3:
            continue
        left, right = a[name].flatten(2), b[name].flatten(2)
        dot = (left * right).sum(2)
        size = left.norm(dim=2) * right.norm(dim=2)
        part = (1 - dot / (size + eps)).sum()
        total = part if total is None else total + part
    if total is None:
        raise ValueError("no gradient has two or more dimensions: the row cosine compares nothing")
    return total


def squared_error(a: Gradients, b: Gradients) -> Float[Tensor, ""]:
    """Sum of squared differences over classes and all parameters, one-dimensional ones included."""
    parts = [(a[name] - b[name]).square().sum() for name in a]
    return torch.stack(parts).sum()


def _detached(view: View, x: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Class after class and chunk after chunk, so that one chunk's activations are all that is ever kept."""
    theta, rows = _differentiable(view), chunk_rows(view.module, x[0], view.policy)
    total = {name: value.new_zeros(len(x), *value.shape) for name, value in theta.items()}
    with torch.enable_grad():
        for label in range(len(x)):
            for images, wanted in zip(x[label].split(rows), target[label].split(rows), strict=True):
                loss = chunk_loss(view.module, theta, images, wanted, rows=rows, policy=view.policy) / x.shape[1]
                for row, part in zip(total.values(), torch.autograd.grad(loss, list(theta.values())), strict=True):
                    row[label] += part
    return total


def _at_once(view: View, x: Tensor) -> bool:
    return x.device.type != "cpu" or chunk_rows(view.module, x.flatten(0, 1), view.policy) == x.shape[0] * x.shape[1]


def _differentiable(view: View) -> dict[str, Tensor]:
    """The view's parameters, as leaves where they do not require grad yet."""
    return {
        name: value if value.requires_grad else value.detach().requires_grad_() for name, value in view.params.items()
    }
