"""Where a student starts, and what it should become: a piece of an expert's training, or a fresh network."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from infodistill.compute import Policy
from infodistill.nets.initialise import initialise
from infodistill.seeding import stream
from infodistill.types import Net, NetFactory, Source, ValueSpace


@dataclass(frozen=True)
class Segment:
    """Parameters to start from and, for trajectory matching, the parameters of the expert some epochs later.

    `module` gives the architecture (its own weights are not read), `age` the epoch the segment starts at, `space` the
    value space the expert was trained in (None for any).
    """

    module: Net
    start: dict[str, Tensor]
    end: dict[str, Tensor] | None
    age: int
    space: ValueSpace | None


class FreshStarts(Source[Segment]):
    """Random initial networks, a new one every `hold` steps; `hold` None keeps the first (DD's known initialisation).

    Weights are drawn in place by (seed, owner, life), so one module serves the whole run.
    """

    def __init__(
        self,
        factory: NetFactory,
        shape: tuple[int, int, int],
        classes: int,
        *,
        seed: int,
        owner: str = "students.start",
        hold: int | None = 1,
    ) -> None:
        if hold is not None and hold < 1:
            raise ValueError(f"a start is held for at least 1 step, got {hold}")
        self.seed, self.owner, self.hold = seed, owner, hold
        self.module = factory(shape, classes).requires_grad_(False)
        self._drawn: tuple[int, Segment] | None = None

    def use(self, policy: Policy) -> None:
        self.module.to(policy.device)
        self._drawn = None

    def draw(self) -> Segment:
        life = 0 if self.hold is None else self.step // self.hold
        if self._drawn is None or self._drawn[0] != life:
            initialise(self.module, stream(self.seed, self.owner, life))
            start = {name: value.detach().clone() for name, value in self.module.named_parameters()}
            self._drawn = (life, Segment(self.module, start, None, 0, None))
        return self._drawn[1]
