"""PDD on IDC class after class, tile after tile and row after row, with plain SGD; the mask is for the gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def decoded(stored: Tensor, mean: float, std: float) -> Tensor:
    """Four quarters of every [0, 1] image of even sides, each enlarged to the whole, then normalised."""
    high, wide = (side // 2 for side in stored.shape[2:])
    out: list[Tensor] = []
    for image in stored:
        for top in (0, high):
            for left in (0, wide):
                part = image[None, :, top : top + high, left : left + wide]
                out.append((nn.functional.interpolate(part, scale_factor=2.0, mode="bilinear")[0] - mean) / std)
    return torch.stack(out)


def loss(module: nn.Module, syn: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Squared error of the kernels' gradients, one class after the other."""
    kernels = [p for p in module.parameters() if p.dim() == 4]
    total = torch.zeros((), dtype=torch.float64)
    for label, pair in enumerate(zip(syn, real, strict=True)):
        sides: list[tuple[Tensor, ...]] = []
        for images in pair:
            value = torch.zeros((), dtype=torch.float64)
            for image in images:
                value = value - module(image[None])[0].log_softmax(0)[label] / len(images)
            sides.append(torch.autograd.grad(value, kernels, create_graph=True))
        for a, b in zip(*sides, strict=True):
            total = total + (a - b.detach()).square().sum()
    return total


def train(
    module: nn.Module, x: Tensor, y: Tensor, order: Callable[[int], Tensor], *, epochs: int, batch: int, lr: float
) -> None:
    """SGD with momentum 0.9 and weight decay 5e-4, rate x0.2 from epochs 2/3 and 5/6 on (rounded down)."""
    velocity = [torch.zeros_like(p) for p in module.parameters()]
    for epoch in range(epochs):
        rate = lr * 0.2 ** ((epoch >= epochs * 2 // 3) + (epoch >= epochs * 5 // 6))
        for rows in order(len(x)).split(batch):
            value = nn.functional.cross_entropy(module(x[rows]), y[rows])
            grads = torch.autograd.grad(value, list(module.parameters()))
            with torch.no_grad():
                for p, v, g in zip(module.parameters(), velocity, grads, strict=True):
                    v.mul_(0.9).add_(g + 5e-4 * p)
                    p.sub_(rate * v)
