"""Gradient matching as the public code writes it: one class at a time, plain autograd, one row at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def class_gradients(
    module: nn.Module, x: Tensor, target: Tensor, classes: int, create_graph: bool
) -> list[list[Tensor]]:
    """Per class, the gradient of the mean soft cross-entropy with respect to every parameter of the module."""
    size, out = len(x) // classes, []
    for c in range(classes):
        images, wanted = x[c * size : (c + 1) * size], target[c * size : (c + 1) * size]
        loss = sum(-(wanted[i] * module(images[i : i + 1])[0].log_softmax(0)).sum() for i in range(size)) / size
        out.append(list(torch.autograd.grad(loss, list(module.parameters()), create_graph=create_graph)))
    return out


def row_cosine(a: list[Tensor], b: list[Tensor], eps: float = 1e-6) -> Tensor:
    """One class: sum over output units of 1 - cosine, for tensors of two or more dimensions."""
    total = torch.zeros((), dtype=a[0].dtype)
    for left, right in zip(a, b, strict=True):
        if left.ndim < 2:
            continue
        for i in range(left.shape[0]):
            p, q = left[i].reshape(-1), right[i].reshape(-1)
            total = total + 1 - (p @ q) / (p.square().sum().sqrt() * q.square().sum().sqrt() + eps)
    return total
