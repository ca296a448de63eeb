"""The field's public code as a plain loop: one class at a time, eager float32, one large forward per class.

Written for `speed.py` the way the papers' repositories write it and no slower: images are preloaded in their value
space, weights of matching networks are frozen, one augmentation per class comes from one draw. Every function makes one
step and returns the gradient of the synthetic images (or nothing).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from infodistill.types import Augment, Net


def dm_loss(net: Net, real: list[Tensor], syn: Tensor, augment: Augment, record: Tensor) -> Tensor:
    """DM: squared distance of mean features, class after class."""
    loss, ipc = torch.zeros(()), len(syn) // len(real)
    for label, images in enumerate(real):
        part = syn[label * ipc : (label + 1) * ipc]
        images = augment.apply(images, record, torch.full((len(images),), label))
        part = augment.apply(part, record, torch.full((ipc,), label))
        target = net.stages(images)[-1].detach().mean(0)
        loss = loss + (target - net.stages(part)[-1].mean(0)).square().sum()
    return loss


def matching_loss(net: Net, real: list[Tensor], syn: Tensor, augment: Augment, record: Tensor) -> Tensor:
    """DSA: row cosine of parameter gradients, class after class."""
    loss, ipc, parameters = torch.zeros(()), len(syn) // len(real), list(net.parameters())
    for label, images in enumerate(real):
        part = syn[label * ipc : (label + 1) * ipc]
        images = augment.apply(images, record, torch.full((len(images),), label))
        part = augment.apply(part, record, torch.full((ipc,), label))
        wanted = F.cross_entropy(net(images), torch.full((len(images),), label))
        target = [g.detach() for g in torch.autograd.grad(wanted, parameters)]
        got = torch.autograd.grad(F.cross_entropy(net(part), torch.full((ipc,), label)), parameters, create_graph=True)
        loss = loss + _row_distance(got, target)
    return loss


def _row_distance(got: tuple[Tensor, ...], target: list[Tensor]) -> Tensor:
    total = torch.zeros(())
    for a, b in zip(got, target, strict=True):
        if a.ndim > 1:
            a, b = a.flatten(1), b.flatten(1)
            total = total + (1 - (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-6)).sum()
    return total


def cmi(teacher: Net, syn: Tensor, classes: int) -> Tensor:
    """CMI in nats: KL of every image's softmax to its class's mean, class after class."""
    p = teacher.stages(syn)[-1].softmax(1)
    total, ipc = torch.zeros(()), len(syn) // classes
    for label in range(classes):
        rows = p[label * ipc : (label + 1) * ipc]
        total = total + F.kl_div(rows.mean(0).log().expand_as(rows), rows, reduction="sum")
    return total / len(syn)


def train_epoch(net: nn.Module, x: Tensor, y: Tensor, optimiser: torch.optim.Optimizer, batch: int = 256) -> None:
    """One epoch of cross-entropy over shuffled batches."""
    for index in torch.randperm(len(x)).split(batch):
        optimiser.zero_grad()
        F.cross_entropy(net(x[index]), y[index]).backward()
        optimiser.step()
