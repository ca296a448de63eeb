"""Influence terms on tiny images, in float64 from the oracle and in float32 as the library makes them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from infodistill.compute import View
from infodistill.diffusion.influence import Influence, real_gradients
from infodistill.nets.convnet import convnet
from infodistill.seeding import build_seeded, stream
from infodistill.types import Batch, Net, pixel_space
from oracles import igd as oracle
from tiny_data import tiny_real

NET = convnet(depth=1, width=3)


def normal(*shape: int, label: str = "x") -> Tensor:
    return torch.randn(*shape, generator=stream(0, label), dtype=torch.float64)


def nets(count: int = 2) -> list[Net]:
    return [build_seeded(lambda: NET((3, 8, 8), 3), stream(i, "net")).double() for i in range(count)]


def batch(x: Tensor, y: list[int]) -> Batch:
    labels = torch.as_tensor(y)
    return Batch(x, labels, one_hot(labels, 3).to(x.dtype), pixel_space(3))


def exact_influence(real: dict[int, Tensor]) -> Influence:
    """Influence in float64, its real gradients from the oracle."""
    views = tuple(View.own(net, space=pixel_space(3)) for net in nets())
    wanted: list[dict[str, Tensor]] = []
    for view in views:
        sizes = [value.numel() for value in view.params.values()]
        rows = torch.stack([oracle.flat_gradient(view.module, view.params, x, [c] * len(x)) for c, x in real.items()])
        parts = zip(view.params.items(), rows.detach().split(sizes, 1), strict=True)
        wanted.append({name: part.unflatten(1, value.shape) for (name, value), part in parts})
    return Influence(views, tuple(wanted))


def toy_influence(per_class: int = 9) -> Influence:
    """Of two random networks, in float32, for the images of `tiny_real`."""
    real = tiny_real()
    views = tuple(View.own(net.float(), space=real.space) for net in nets())
    return Influence(views, tuple(real_gradients(view, real, per_class) for view in views))
