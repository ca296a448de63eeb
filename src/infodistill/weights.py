"""How strongly a term counts: a number, a schedule, or a share of the base method's gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from infodistill.types import Term

Schedule = Callable[[int], float]
"""Step to weight; 0 skips the term in that step."""


def own_group(grouped: bool) -> bool:
    """A term that sees the classes being updated, as a method's own term does."""
    del grouped
    return False


def whole_set(grouped: bool) -> bool:
    """A term that sees the whole set once per round, as an information term does."""
    return grouped


Sees = Callable[[bool], bool]
"""Given whether a round is updated group by group: is this term evaluated apart, once, on the whole set?"""


@dataclass
class Ratio:
    """A weight lambda held such that |lambda grad R| = r |grad L|, over the stored tensors of the whole set.

    L is the sum of the terms whose weights are not ratios. The two norms are measured every `every` steps and the
    lambda they give is held, saved and logged in between (ours, an alternative to a paper's lambda, whose scale
    depends on the layer and on sum or mean conventions).
    """

    r: float
    every: int = 50
    held: list[float] = field(default_factory=list[float])

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"a ratio is measured every n >= 1 steps, got {self.every}")

    def due(self, step: int) -> bool:
        return not self.held or step % self.every == 0

    def measure(self, base: Tensor, own: Tensor) -> None:
        """Set lambda from the two gradient norms; a term without gradient keeps its last lambda (0 at first)."""
        if float(own) > 0:
            self.held[:] = [self.r * float(base) / float(own)]
        elif not self.held:
            self.held[:] = [0.0]

    def state_dict(self) -> dict[str, Any]:
        return {"held": list(self.held)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.held[:] = [float(value) for value in state["held"]]


class Weighted(NamedTuple):
    """One entry of an objective: weight x term, and which part of the set the term sees."""

    weight: float | Schedule | Ratio
    term: Term
    sees: Sees = own_group

    def at(self, step: int) -> float:
        """The absolute weight in this step, lambda for a ratio."""
        if isinstance(self.weight, Ratio):
            return self.weight.held[0] if self.weight.held else self.weight.r
        return float(self.weight(step)) if callable(self.weight) else float(self.weight)

    def described(self) -> str:
        """What a checkpoint remembers of this entry, to refuse another one."""
        if isinstance(self.weight, Ratio):
            return f"ratio {self.weight.r!r} every {self.weight.every}"
        return "a schedule" if callable(self.weight) else repr(float(self.weight))

    def off(self, step: int) -> bool:
        """Whether this step skips the term altogether, draws included."""
        return (self.weight.r if isinstance(self.weight, Ratio) else self.at(step)) == 0
