"""What a faster precision changes: test accuracy with paired seeds, and the direction of gradients."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from infodistill.compute import Policy, View
from infodistill.nets import by_name, initialise
from infodistill.real import RealData
from infodistill.seeding import stream
from infodistill.training import Fit, accuracy, fit
from infodistill.types import Batch, Net

SHAPE, CLASSES = (3, 32, 32), 10
NET = "convnet3"
EPOCHS = 100


def trained(real: RealData, images: Batch, seed: int, policy: Policy) -> float:
    """Float32 test accuracy (up to 2000 images) of a network trained for EPOCHS on `images` under `policy`."""
    net = by_name(NET)(SHAPE, CLASSES)
    initialise(net, stream(seed, "evaluate"))
    hyper = Fit(EPOCHS, 256, 0.01, 0.9, 5e-4)
    fit(net, images, hyper, stream(seed, "order"), policy=policy)
    test = real.test or real
    rows = test.rows(torch.arange(0, len(test), max(1, len(test) // 2000)))
    return accuracy(View.own(net.requires_grad_(False)), rows)


def paired_difference(scores: list[list[float]], *, steps: int) -> dict[str, object]:
    """Scores of two precisions over the same seeds: both lists, mean difference and its standard error."""
    exact, fast = (torch.tensor(values, dtype=torch.float64) for values in scores)
    change = fast - exact
    error = float(change.std() / len(change) ** 0.5)
    return {
        "float32": scores[0],
        "bf16": scores[1],
        "bf16_minus_float32": float(change.mean()),
        "standard_error": error,
        "steps": steps,
    }


def cosine(a: Tensor, b: Tensor) -> float:
    """Of two gradients, all entries in one vector."""
    return float(F.cosine_similarity(a.double().flatten(), b.double().flatten(), dim=0))


def flat(net: Net) -> Tensor:
    """Every parameter of a network in one vector, copied."""
    return torch.cat([parameter.detach().flatten().clone() for parameter in net.parameters()])
