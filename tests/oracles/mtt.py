"""Trajectory matching by plain autograd over flat vectors: the whole graph is kept, in the dtype given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from infodistill.types import Augment


def flat(parameters: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([value.reshape(-1) for value in parameters.values()])


def loss(
    module: nn.Module,
    ends: tuple[Mapping[str, Tensor], Mapping[str, Tensor]],
    x: Tensor,
    target: Tensor,
    rate: Tensor,
    record: Sequence[tuple[Tensor, Tensor]],
    augment: Augment,
) -> Tensor:
    """|theta_N - b|^2 / |a - b|^2 of the segment (a, b); step i trains on rows record[i][0] augmented by [1].

    Every gradient is d/dtheta of -(1/b) sum_i sum_k Y_ik (z_ik - max z - log sum exp(z - max z)).
    """
    names, shapes = list(ends[0]), [value.shape for value in ends[0].values()]
    vector = flat(ends[0]).clone().requires_grad_()
    for rows, omega in record:
        parts = vector.split([shape.numel() for shape in shapes])
        named = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        z = functional_call(module, named, (augment.apply(x[rows], omega, torch.arange(len(rows))),))
        z = z - z.detach().amax(1, keepdim=True)
        error = -(target[rows] * (z - z.exp().sum(1, keepdim=True).log())).sum() / len(rows)
        vector = vector - rate * torch.autograd.grad(error, vector, create_graph=True)[0]
    return (vector - flat(ends[1])).pow(2).sum() / (flat(ends[0]) - flat(ends[1])).pow(2).sum()


def window(step: int, lowest: int, first: int, highest: int, steps: int) -> tuple[int, int]:
    """DATM's range of start epochs, by counting: the upper end rises by one every steps / (highest - first)."""
    high = first
    while high < highest and (high + 1 - first) * steps <= (highest - first) * step:
        high += 1
    return lowest, high


def average(images: Sequence[Tensor], decay: float) -> Tensor:
    """Weighted mean of the images after updates 1 ... t with weights decay^(t - s), which sum to one after division."""
    weights = [decay ** (len(images) - 1 - s) for s in range(len(images))]
    return torch.stack([w * x.double() for w, x in zip(weights, images, strict=True)]).sum(0) / sum(weights)
