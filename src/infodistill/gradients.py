"""Per-class parameter gradients and the distances between them (DC, DSA and everything built on gradient matching)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from infodistill.compute import View

Gradients = Mapping[str, Tensor]
"""One tensor (classes, *parameter shape) per parameter name."""


def class_gradients(
    view: View,
    x: Float[Tensor, "n c h w"],
    target: Float[Tensor, "n k"],
    classes: int,
    *,
    create_graph: bool,
) -> dict[str, Tensor]:
    """Row c of every tensor: the gradient of class c's mean cross-entropy with respect to one parameter.

    Rows are class-major with n / classes images per class. The loss is mean_i -sum_k target_ik log p_ik.
    `create_graph=True` (the synthetic side) keeps a graph to `x` and `target`; otherwise the result is detached.
    Raises ValueError when n is not a multiple of `classes`.
    """
    if classes < 1 or len(x) % classes:
        raise ValueError(f"{len(x)} images do not divide into {classes} classes of equal size")
    theta = {
        name: value if value.requires_grad else value.detach().requires_grad_() for name, value in view.params.items()
    }
    seen, per_class = replace(view, params=theta), len(x) // classes
    rows: list[tuple[Tensor, ...]] = []
    for part, wanted in zip(x.split(per_class), target.split(per_class), strict=True):
        loss = -(wanted * seen.logits(part).log_softmax(1)).sum(1).mean()
        rows.append(torch.autograd.grad(loss, list(theta.values()), create_graph=create_graph))
    return {name: torch.stack(values) for name, values in zip(theta, zip(*rows, strict=True), strict=True)}


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
