"""What was seen lately of every class: the first-in-first-out memories of Minimax and IGD, and cosines with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


class Memory:
    """The last `size` images of every class, detached; images of any shape (c, h, w).

    The order within a class is that of `extend`, and the oldest leave first.

    Raises:
        ValueError: size is not positive.
    """

    def __init__(self, size: int = 64) -> None:
        if size < 1:
            raise ValueError(f"a memory holds at least 1 image per class, got {size}")
        self.size = size
        self._held: dict[int, Tensor] = {}

    def extend(self, x: Tensor, y: Tensor) -> None:
        """Remember images x (n, c, h, w) of classes y (n,), row after row."""
        for label in y.unique().tolist():
            rows = x.detach()[y == label]
            before = self._held.get(label)
            whole = rows if before is None else torch.cat([before.to(rows), rows])
            self._held[label] = whole[-self.size :].clone()  # not a view that keeps everything alive

    def of(self, label: int) -> Tensor | None:
        """What is held of a class, (m, c, h, w) with the oldest first; None before its first image."""
        return self._held.get(label)

    def forget(self, label: int) -> None:
        """Start this class anew."""
        self._held.pop(label, None)

    def __len__(self) -> int:
        return sum(len(rows) for rows in self._held.values())

    def state_dict(self) -> dict[str, Any]:
        return {"size": self.size, "held": dict(self._held)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError when the memory that was saved has another size."""
        if int(state["size"]) != self.size:
            raise ValueError(f"the saved memory holds {state['size']} images per class, this one {self.size}")
        self._held = {int(label): rows.clone() for label, rows in state["held"].items()}


def cosines(a: Float[Tensor, "n c h w"], b: Float[Tensor, "m c h w"]) -> Float[Tensor, "n m"]:
    """Every <a_i, b_j> / (|a_i| |b_j|) of whole images, in [-1, 1]; 0 where either is zero."""
    return unit(a.flatten(1)) @ unit(b.flatten(1)).T


def unit(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Rows of length 1; zero rows stay zero, with zero gradient."""
    squares = rows.square().sum(1, keepdim=True)
    there = squares > 0
    return rows * torch.where(there, squares, 1).rsqrt() * there
