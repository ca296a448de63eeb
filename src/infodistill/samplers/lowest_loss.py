"""Real images that a network finds easiest (the released code of IDM, Zhao et al., CVPR 2023)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from infodistill.compute import View
from infodistill.descent import cross_entropy_rows
from infodistill.real import RealData
from infodistill.types import Rows, Source

READ = 512
"""Images per read while the losses are measured."""


@torch.no_grad()
def losses(view: View, rows: Rows, count: int = READ) -> Float[Tensor, " n"]:
    """Cross-entropy of every image under `view`, in nats, un-augmented, on the CPU."""
    parts = [rows.rows(index) for index in torch.arange(len(rows)).split(count)]
    return torch.cat([cross_entropy_rows(view.logits(part.x, part.space), part.target).cpu() for part in parts])


def lowest(loss: Float[Tensor, " n"], y: Int[Tensor, " n"], most: int) -> Int[Tensor, " m"]:
    """The `most` rows of every class with the smallest loss, class-major, by loss within a class.

    Of a smaller class all rows; of equal losses the first.
    """
    by_loss = loss.argsort(stable=True)
    order = by_loss[y[by_loss].argsort(stable=True)]
    counts = y.bincount()
    rank = torch.arange(len(y)) - (counts.cumsum(0) - counts)[y[order]]
    return order[rank < most]


class LowestLoss:
    """A sampler: random images among the `most` of each class whose cross-entropy under a network is smallest.

    They are chosen under `nets.draw()` of the step at which the sampler is first asked, and again whenever `interval`
    steps have gone by (None: once). Every choice costs a forward pass over all of the data. The draw among them is
    keyed as `uniform`'s is; a class that keeps fewer than a step wants gives them again.

    Args:
        nets: whose eyes; best the source that a term of the same job holds, which moves it on.
        most: images of a class that are kept.
        interval: steps after which they are chosen anew.

    Raises:
        ValueError: most or interval below 1.
    """

    def __init__(self, nets: Source[View], most: int = 2560, interval: int | None = None) -> None:
        if most < 1 or (interval is not None and interval < 1):
            raise ValueError(f"most and interval must be at least 1, got {most} and {interval}")
        self.nets, self.most, self.interval = nets, most, interval
        self._kept = torch.empty(0, dtype=torch.int64)
        self._since = -1

    def __call__(self, real: RealData, seed: int, step: int, per_class: int) -> Tensor:
        due = self._since < 0 or (self.interval is not None and step - self._since >= self.interval)
        if due:
            self._kept = lowest(losses(self.nets.draw(), real), real.labels.cpu(), self.most)
            self._since = step
        return self._kept[real.subset(self._kept).draw(seed, step, per_class)]

    def state_dict(self) -> dict[str, Any]:
        return {"kept": self._kept, "since": self._since}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._kept, self._since = state["kept"].clone(), int(state["since"])
