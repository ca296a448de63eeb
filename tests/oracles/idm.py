"""IDM as its equation reads: class by class, image by image, in the dtype given. The queue as a plain list."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oracles import sgd


def expanded(stored: Tensor) -> list[Tensor]:
    """The four quarters of an image (c, h, w) of even sides, each enlarged to its size."""
    _, h, w = stored.shape
    quarters = [stored[:, a : a + h // 2, b : b + w // 2] for a in (0, h // 2) for b in (0, w // 2)]
    return [F.interpolate(q[None], (h, w), mode="bilinear", align_corners=False)[0] for q in quarters]


def loss(
    module: nn.Module, stored: Sequence[Tensor], real: Sequence[Tensor], gains: Tensor, accuracy: float
) -> tuple[Tensor, Tensor]:
    """(sum of squared feature distances, accuracy times the sum of class-mean cross-entropies).

    stored[c] and real[c] are the images (n, c, h, w) of class c; its augmentation multiplies them by gains[c].
    """
    match, entropy = torch.zeros((), dtype=gains.dtype), torch.zeros((), dtype=gains.dtype)
    for c, (mine, theirs) in enumerate(zip(stored, real, strict=True)):
        shown = [gains[c] * image for one in mine for image in expanded(one)]
        features = [module.stages(image[None])[-1][0] for image in shown]
        wanted = [module.stages(gains[c] * image[None])[-1][0].detach() for image in theirs]
        gap = sum(features) / len(features) - sum(wanted) / len(wanted)
        match = match + (gap * gap).sum()
        for feature in features:
            z = module.head(feature[None])[0]
            entropy = entropy + (z.exp().sum().log() - z[c]) / len(features)
    return match, accuracy * entropy


def members(steps: int, start: int, nets: int, interval: int) -> list[int]:
    """Numbers of the networks in the queue at step `steps`, oldest first."""
    queue, born = list(range(start)), start
    for step in range(steps + 1):
        if step % interval == 0:
            if len(queue) == nets:
                queue.pop(0)
            queue.append(born)
            born += 1
    return queue


def correct(
    weight: np.ndarray, bias: np.ndarray, batches: Sequence[tuple[np.ndarray, np.ndarray]], **rules: float
) -> tuple[np.ndarray, int, int]:
    """Softmax regression trained on `batches` in turn: (final weight, hits counted before each step, images seen)."""
    hits = seen = 0
    for i, (x, target) in enumerate(batches):
        w, b, _ = sgd.train(weight, bias, [batches[:i]], **_rules(rules)) if i else (weight, bias, None)
        hits += int(((x @ w.T + b).argmax(1) == target.argmax(1)).sum())
        seen += len(x)
    return sgd.train(weight, bias, [batches], **_rules(rules))[0], hits, seen


def _rules(rules: dict[str, float]) -> dict[str, object]:
    return {"rate": lambda epoch: rules["lr"], "momentum": rules["momentum"], "decay": rules["decay"]}


def lowest(loss_of: Sequence[float], y: Sequence[int], most: int, classes: int) -> list[list[int]]:
    """Per class the rows of smallest loss, by sorting."""
    return [sorted((i for i in range(len(y)) if y[i] == c), key=lambda i: loss_of[i])[:most] for c in range(classes)]
