"""Networks between the start and the end of a training: NCFM looks through a point on the line between the two."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from infodistill.compute import Policy, View
from infodistill.seeding import stream
from infodistill.sources.segments import Segment
from infodistill.types import Batch, Net, Rows, Source


@torch.no_grad()
def fill(module: Net, start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> None:
    """Set every parameter of `module`, in place, to share * start + (1 - share) * end."""
    for name, value in module.named_parameters():
        value.copy_(share * start[name] + (1 - share) * end[name])


class Interpolated(Source[View]):
    """theta = l theta_start + (1 - l) theta_end per step: a segment of an expert, and l ~ U(0, 1).

    The segments are drawn by their own source, l by (seed, owner, step). One module, filled in place, serves the whole
    run; nothing here is trained, so nothing but the step needs saving.

    Args:
        segments: segments with an end: of whole trainings in NCFM, epoch 0 and the last.
        seed: key of l.
        owner: name of the draws.
    """

    def __init__(self, segments: Source[Segment], seed: int, owner: str = "match.interpolated") -> None:
        self.segments, self.seed, self.owner = segments, seed, owner
        self.policy = Policy()
        self.module: Net | None = None
        self._view: View | None = None

    @property
    def share(self) -> float:
        """The share l of the start, this step's, in [0, 1)."""
        return float(torch.rand((), generator=stream(self.seed, self.owner, self.step), dtype=torch.float64))

    def use(self, policy: Policy) -> None:
        self.policy, self._view = policy, None

    def draw(self) -> View:
        if self._view is None:
            segment, end = self._segment()
            if self.module is None:
                self.module = copy.deepcopy(segment.module).requires_grad_(False)
            self.module.to(self.policy.device)
            fill(self.module, segment.start, end, self.share)
            self._view = View.own(self.module, policy=self.policy, space=segment.space, age=segment.age)
        return self._view

    def final(self) -> View:
        """The network at the end of this step's segment."""
        segment, end = self._segment()
        return View(segment.module, end, self.policy, segment.space)

    def advance(self, syn: Batch, real: Rows) -> None:
        self._view = None
        super().advance(syn, real)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._view = None
        super().load_state_dict(state)

    def _segment(self) -> tuple[Segment, dict[str, Tensor]]:
        segment = self.segments.draw()
        if segment.end is None:
            raise ValueError("networks between two others need segments of experts with an end, not fresh networks")
        return segment, segment.end
