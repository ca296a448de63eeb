"""Segments of recorded trajectories, drawn one per step (Cazenavette et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from infodistill.compute import Policy
from infodistill.seeding import stream
from infodistill.sources.expert_recording import record_experts as record_experts
from infodistill.sources.expert_store import ExpertStore as ExpertStore
from infodistill.sources.segments import Segment
from infodistill.types import Source

Window = Callable[[int], tuple[int, int]]
"""window(step) -> the start epochs low .. high - 1 a segment may begin at."""


def up_to(high: int, low: int = 0) -> Window:
    """Start epochs low .. high - 1 at every step: MTT's max_start_epoch, which it excludes."""

    def window(step: int) -> tuple[int, int]:
        del step
        return low, high

    return window


def epochs_read(window: tuple[int, int], span: int) -> tuple[int, ...]:
    """The epochs that segments of `span` epochs from low .. high - 1 read, which is all a store has to keep."""
    low, high = window
    return tuple(sorted({t + end for t in range(low, high) for end in (0, span)}))


class Experts(Source[Segment]):
    """One segment per step: an expert and its start epoch t drawn uniformly by (seed, owner, step).

    Args:
        store: recorded trajectories.
        span: M, epochs between the ends of a segment.
        window: where it may begin, by step.
        seed: key of the draws.
        owner: name of the draws.

    Raises:
        ValueError: the store lacks an epoch that the first step may ask for.
    """

    def __init__(self, store: ExpertStore, *, span: int, window: Window, seed: int = 0, owner: str = "experts") -> None:
        self.store, self.span, self.window, self.seed, self.owner = store, span, window, seed, owner
        self.device = "cpu"
        self._drawn: tuple[int, Segment] | None = None
        if missing := sorted(set(epochs_read(window(0), span)) - set(store.epochs)):
            raise ValueError(f"segments of {span} epochs need epochs {missing} too; the store has {store.epochs}")

    def use(self, policy: Policy) -> None:
        self.device = policy.device
        self.store.module.to(policy.device)
        self._drawn = None

    def draw(self) -> Segment:
        if self._drawn is None or self._drawn[0] != self.step:
            self._drawn = (self.step, self._segment())
        return self._drawn[1]

    def _segment(self) -> Segment:
        generator, (low, high) = stream(self.seed, self.owner, self.step), self.window(self.step)
        expert = int(torch.randint(self.store.count, (), generator=generator))
        t = int(torch.randint(low, high, (), generator=generator))
        ends = (self.store.parameters(expert, epoch) for epoch in (t, t + self.span))
        start, end = ({name: value.to(self.device) for name, value in side.items()} for side in ends)
        return Segment(self.store.module, start, end, t, self.store.space)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "store": self.store.digest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError when the saved run matched other experts."""
        if state["store"] != self.store.digest:
            raise ValueError(
                f"the saved run matched other experts (digest {state['store'][:8]}, here {self.store.digest[:8]}): "
                "put their cache back, or start anew"
            )
        super().load_state_dict(state)
