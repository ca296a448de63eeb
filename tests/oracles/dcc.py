"""Contrastive signals as the paper writes them: class after class on the real side, one loss on the synthetic side."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def real_gradient(module: nn.Module, x: Tensor, target: Tensor, classes: int) -> list[Tensor]:
    """(1/C) sum_c of the gradient of class c's mean cross-entropy, detached; rows are class-major."""
    size, total = len(x) // classes, [torch.zeros_like(p) for p in module.parameters()]
    for c in range(classes):
        loss = torch.zeros((), dtype=x.dtype)
        for i in range(c * size, (c + 1) * size):
            logits = module(x[i : i + 1])[0]
            loss = loss + (torch.logsumexp(logits, 0) - (target[i] * logits).sum()) / size
        rows = torch.autograd.grad(loss, list(module.parameters()))
        total = [a + b / classes for a, b in zip(total, rows, strict=True)]
    return total


def synthetic_gradient(module: nn.Module, x: Tensor, target: Tensor) -> list[Tensor]:
    """The gradient of the cross-entropy averaged over every synthetic image, with a graph to the images."""
    logits = module(x)
    loss = -(target * (logits - torch.logsumexp(logits, 1, keepdim=True))).sum() / len(x)
    return list(torch.autograd.grad(loss, list(module.parameters()), create_graph=True))


def row_cosine(a: list[Tensor], b: list[Tensor], eps: float = 1e-6) -> Tensor:
    """Sum over output units of 1 - cosine, for tensors of two or more dimensions."""
    total = torch.zeros((), dtype=a[0].dtype)
    for left, right in zip(a, b, strict=True):
        for p, q in zip(left, right, strict=True):
            if p.ndim:
                total = total + 1 - (p * q).sum() / (p.norm() * q.norm() + eps)
    return total
