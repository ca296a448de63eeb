"""CAFE class after class and layer after layer, from explicit lists of maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def maps(module: nn.Module, x: Tensor, groups: int) -> list[Tensor]:
    """Post-ReLU maps of every block of a ConvNet with `groups` channels and instance norm, and the last pooled map."""
    convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in module.modules() if isinstance(m, nn.GroupNorm)]
    out: list[Tensor] = []
    for conv, norm in zip(convolutions, norms, strict=True):
        z = F.conv2d(x, conv.weight, conv.bias, padding=conv.padding)
        z = F.relu(F.group_norm(z, groups, norm.weight, norm.bias, norm.eps))
        out.append(z)
        x = F.avg_pool2d(z, 2)
    return [*out, x]


def alignment(syn: list[Tensor], real: list[Tensor], y_syn: Tensor, y_real: Tensor, weights: list[float]) -> Tensor:
    """Weighted squared distances of class means, one weight per map, plus those of the last map's flattening."""
    total = torch.zeros((), dtype=syn[0].dtype)
    for c in y_real.unique().tolist():
        for w, s, t in zip([*weights, 1.0], [*syn, syn[-1]], [*real, real[-1]], strict=True):
            total = total + w * (s[y_syn == c].mean(0) - t[y_real == c].mean(0)).pow(2).sum()
    return total


def discrimination(syn: Tensor, real: Tensor, y_syn: Tensor, y_real: Tensor) -> Tensor:
    """Real rows classified by the synthetic class means, summed over real rows."""
    labels = y_real.unique().tolist()
    means = [syn[y_syn == c].flatten(1).mean(0) for c in labels]
    total = torch.zeros((), dtype=syn.dtype)
    for row, label in zip(real.flatten(1), y_real.tolist(), strict=True):
        scores = torch.stack([row @ mean for mean in means])
        total = total + torch.logsumexp(scores, 0) - scores[labels.index(label)]
    return total


def lives(
    readings: list[float], *, window: int, calm: float, moved: float, updates: int, epochs: int
) -> list[tuple[int, int]]:
    """CAFE's nested loops, capped, on given accuracies: (life, readings used so far) after each update of images."""
    rest, out, life = list(readings), list[tuple[int, int]](), 0
    while len(rest) > epochs:
        watch: list[float] = []
        for _ in range(updates):
            if len(rest) <= epochs:
                return out
            watch.append(rest.pop(0))
            if len(watch) == updates or (len(watch) >= window and max(watch[-window:]) - min(watch[-window:]) < calm):
                out.append((life, len(readings) - len(rest)))
                break
            inner: list[float] = []
            for _ in range(epochs):
                inner.append(rest.pop(0))
                if len(inner) == window:
                    if max(inner) - min(inner) > moved:
                        break
                    inner.pop(0)
            out.append((life, len(readings) - len(rest)))
        life += 1
    return out
