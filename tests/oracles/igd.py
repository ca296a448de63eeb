"""Influence and deviation image by image, by plain autograd over flat gradients, in the dtype given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call


def flat_gradient(net: nn.Module, theta: Mapping[str, Tensor], x: Tensor, labels: Sequence[int]) -> Tensor:
    """d/dtheta of the mean over images of log sum_k exp(z_k) - z_y, one vector, with a graph to x."""
    leaves = {name: value.detach().clone().requires_grad_() for name, value in theta.items()}
    z = functional_call(net, leaves, (x,))
    top = z.detach().amax(1)
    losses = (z - top[:, None]).exp().sum(1).log() + top - z[torch.arange(len(z)), list(labels)]
    found = torch.autograd.grad(losses.sum() / len(losses), list(leaves.values()), create_graph=True)
    return torch.cat([part.reshape(-1) for part in found])


def influence(
    net: nn.Module,
    thetas: Sequence[Mapping[str, Tensor]],
    sets: Sequence[tuple[Tensor, int]],
    real: Mapping[int, Tensor],
) -> list[Tensor]:
    """Mean over checkpoints of 1 - cos(gradient of a set, gradient of the real images of its class), set by set."""
    values: list[Tensor] = []
    for x, label in sets:
        terms: list[Tensor] = []
        for theta in thetas:
            own = flat_gradient(net, theta, x, [label] * len(x))
            wanted = flat_gradient(net, theta, real[label], [label] * len(real[label])).detach()
            terms.append(1 - (own @ wanted) / (own @ own).sqrt() / (wanted @ wanted).sqrt())
        values.append(torch.stack(terms).mean())
    return values


def pushed_apart(x: Tensor, memory: Sequence[Tensor]) -> Tensor:
    """d/dx of the largest cosine of one image with those in memory, by hand."""

    def cosine(m: Tensor) -> float:
        return float((x * m).sum() / ((x * x).sum() * (m * m).sum()).sqrt())

    near = max(memory, key=cosine)
    size = (x * x).sum().sqrt()
    return (near / (near * near).sum().sqrt() - cosine(near) * x / size) / size
