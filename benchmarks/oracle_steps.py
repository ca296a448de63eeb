"""Whole steps of IDM, NCFM and IDC as the papers' repositories make them: class after class, eager float32.

As in `oracle.py` no slower than those: images are preloaded in their value space, weights of matching networks are
frozen where only features are matched, the real side of features keeps no graph, one forward gives features and logits.
A class's loss is differentiated and the optimiser stepped before the next class is looked at, as published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from infodistill.types import Augment, Net

ClassLoss = Callable[[Net, Tensor, Tensor, int], Tensor]
"""loss(network, augmented real images, augmented synthetic images, class) -> scalar."""


def tiled(stored: Tensor) -> Tensor:
    """Two by two tiles of every stored image, each enlarged to its size; all tiles of an image stand together."""
    n, c, h, w = stored.shape
    cut = stored.reshape(n, c, 2, h // 2, 2, w // 2).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
    return F.interpolate(cut, (h, w), mode="bilinear", align_corners=False)


def idm_class(weight: float) -> ClassLoss:
    """|mean feature, real - mean feature, synthetic|^2 + weight * cross-entropy of the synthetic images."""

    def loss(net: Net, real: Tensor, syn: Tensor, label: int) -> Tensor:
        with torch.no_grad():
            wanted = net.stages(real)[-1].mean(0)
        feature = net.stages(syn)[-1]
        entropy = F.cross_entropy(net.head(feature), torch.full((len(syn),), label))
        return (wanted - feature.mean(0)).square().sum() + weight * entropy

    return loss


def ncfm_class(frequencies: Callable[[], Tensor], scale: float) -> ClassLoss:
    """Scale * mean_t sqrt(1/2 amplitude + 1/2 phase) of the two characteristic functions at fresh frequencies (m, d).

    Both functions are evaluated once; the public code evaluates them once for each of the two differences.
    """

    def loss(net: Net, real: Tensor, syn: Tensor, label: int) -> Tensor:
        del label
        t = frequencies()
        with torch.no_grad():
            a_re, a_im = _characteristic(net.stages(real)[-1], t)
        b_re, b_im = _characteristic(net.stages(syn)[-1], t)
        a, b = torch.hypot(a_re, a_im), torch.hypot(b_re, b_im)
        phase = (2 * (a * b - a_re * b_re - a_im * b_im)).clamp_min(1e-12)
        return scale * (0.5 * (a - b).square() + 0.5 * phase).sqrt().mean()

    return loss


def _characteristic(feature: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    angle = F.normalize(feature, dim=1) @ t.T
    return angle.cos().mean(0), angle.sin().mean(0)


def idc_class(net: Net, real: Tensor, syn: Tensor, label: int) -> Tensor:
    """Squared distance of the gradients of all convolution weights."""
    parameters = list(net.parameters())
    wanted = F.cross_entropy(net(real), torch.full((len(real),), label))
    target = torch.autograd.grad(wanted, parameters)
    got = F.cross_entropy(net(syn), torch.full((len(syn),), label))
    rows = torch.autograd.grad(got, parameters, create_graph=True)
    parts = [(a.detach() - b).square().sum() for a, b in zip(target, rows, strict=True) if a.ndim == 4]
    return torch.stack(parts).sum()


def train_batches(net: Net, batches: Iterable[tuple[Tensor, Tensor]], optimiser: torch.optim.Optimizer) -> float:
    """One step of cross-entropy on every batch; the share of images classified rightly before the steps."""
    right, seen = 0, 0
    for x, y in batches:
        logits = net(x)
        optimiser.zero_grad()
        F.cross_entropy(logits, y).backward()
        optimiser.step()
        right, seen = right + int((logits.argmax(1) == y).sum()), seen + len(y)
    return right / seen


def train_mixed(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    optimiser: torch.optim.Optimizer,
    *,
    augment: Augment,
    generator: Generator,
) -> None:
    """IDC's pass over real images in batches of 64: augmented image by image, every other batch with CutMix."""
    for index in torch.randperm(len(x), generator=generator).split(64):
        images, label = x[index], y[index]
        record = augment.draw(generator, len(images), tuple(images.shape[1:]))
        images = augment.apply(images, record, torch.arange(len(images)))
        order = torch.randperm(len(images), generator=generator)
        kept = 1.0
        if float(torch.rand((), generator=generator)) < 0.5:
            images, kept = _pasted(images, order, torch.rand(3, generator=generator).tolist())
        optimiser.zero_grad()
        logits = net(images)
        loss = kept * F.cross_entropy(logits, label) + (1 - kept) * F.cross_entropy(logits, label[order])
        loss.backward()
        optimiser.step()


def _pasted(x: Tensor, order: Tensor, uniform: list[float]) -> tuple[Tensor, float]:
    """A box of another image in every image, at a uniform place, of a uniform share of the area before it is cut."""
    side = x.shape[2]
    half = int(side * (1 - uniform[0]) ** 0.5) // 2
    row, column = int(uniform[1] * side), int(uniform[2] * side)
    top, bottom, left, right = (
        max(row - half, 0),
        min(row + half, side),
        max(column - half, 0),
        min(column + half, side),
    )
    x = x.clone()
    x[:, :, top:bottom, left:right] = x[order, :, top:bottom, left:right]
    return x, 1 - (bottom - top) * (right - left) / side**2
