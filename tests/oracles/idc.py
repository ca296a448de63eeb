"""IDC and DREAM as the public code computes them: class after class, tile after tile, plain autograd."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def decoded(pixels: Tensor, factor: int, mean: float, std: float) -> Tensor:
    """Stored [0, 1] pixels (n, c, h, w), sides multiples of `factor`, to normalised images, tile after tile."""
    high, wide = pixels.shape[2] // factor, pixels.shape[3] // factor
    images = []
    for image in pixels:
        for i in range(factor):
            for j in range(factor):
                tile = image[:, i * high : (i + 1) * high, j * wide : (j + 1) * wide]
                images.append(F.interpolate(tile[None], size=pixels.shape[2:], mode="bilinear")[0])
    return (torch.stack(images) - mean) / std


def kernel_gradients(module: nn.Module, x: Tensor, label: int, create_graph: bool) -> list[Tensor]:
    """The gradient of the mean cross-entropy with respect to every convolution's kernel."""
    loss = F.cross_entropy(module(x), torch.full((len(x),), label))
    kernels = [layer.weight for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    return list(torch.autograd.grad(loss, kernels, create_graph=create_graph))


def class_loss(module: nn.Module, syn: Tensor, real: Tensor, label: int, power: int) -> Tensor:
    """sum over kernels and their entries of |g_syn - g_real|^power for the images of one class."""
    total = torch.zeros((), dtype=syn.dtype)
    mine, theirs = kernel_gradients(module, syn, label, True), kernel_gradients(module, real, label, False)
    for a, b in zip(mine, theirs, strict=True):
        total = total + (a - b).abs().pow(power).sum()
    return total


def mean_feature_loss(module: nn.Module, syn: list[Tensor], real: list[Tensor], power: int) -> Tensor:
    """DREAM+: sum over classes and features of |mean f(syn) - mean f(real)|^power."""
    total = torch.zeros((), dtype=syn[0].dtype)
    for s, t in zip(syn, real, strict=True):
        difference = module.stages(s)[-1].sum(0) / len(s) - module.stages(t)[-1].sum(0).detach() / len(t)
        total = total + difference.abs().pow(power).sum()
    return total


def nearest_each(distance: list[list[float]], each: int) -> list[int]:
    """Rows choose in order: every one the `each` closest columns that nobody has taken yet, closest first."""
    taken: list[int] = []
    for row in distance:
        free = [column for column in range(len(row)) if column not in taken]
        taken += sorted(free, key=lambda column: row[column])[:each]
    return taken
