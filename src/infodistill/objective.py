"""Evaluating an objective: each term's value, its gradient over the stored tensors, and over its critics.

Every term gets a backward pass of its own. So adding a term cannot perturb another's rounding, the gradient norm of
every term is known at every step, and a critic receives the gradient of its unweighted term whatever the weight is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from infodistill.running.state import find_parts
from infodistill.synthetic import SyntheticSet
from infodistill.types import Batch, Source, Term

Classes = Sequence[int] | None


@runtime_checkable
class Holds(Protocol):
    """A source that gives all terms of one update the same thing: a look, or a trained student."""

    def holding(self) -> AbstractContextManager[None]: ...


@dataclass(frozen=True)
class Progress:
    """What one round measured: raw value, gradient norm over the stored tensors, and absolute weight of every term.

    Values and norms stay on the device until they are read.
    """

    step: int
    values: dict[str, Tensor]
    norms: dict[str, Tensor]
    weights: dict[str, float]

    @property
    def loss(self) -> float:
        return sum(self.weights[name] * float(value) for name, value in self.values.items())

    def as_dict(self) -> dict[str, Any]:
        values = {name: float(v) for name, v in self.values.items()}
        norms = {name: float(v) for name, v in self.norms.items()}
        return {"step": self.step, "loss": self.loss, "values": values, "norms": norms, "weights": self.weights}


@dataclass
class Slope:
    """A term's value with its gradients: over the stored tensors, and over each of its critics."""

    value: Tensor
    grads: list[Tensor]
    critics: list[tuple[Source[Any], list[Tensor]]] = field(default_factory=list[tuple[Source[Any], list[Tensor]]])

    def __add__(self, other: Slope) -> Slope:
        critics = [
            (source, [a + b for a, b in zip(mine, theirs, strict=True)])
            for (source, mine), (_, theirs) in zip(self.critics, other.critics, strict=True)
        ]
        return Slope(self.value + other.value, _sum(self.grads, other.grads), critics)

    @property
    def norm(self) -> Tensor:
        """Euclidean norm of the gradient over what is stored; see `of_rows`."""
        return total_norm(of_rows(self.grads))


def of_rows(grads: Sequence[Tensor]) -> list[Tensor]:
    """The gradients of images, factors and labels; those of learning rates (of one dimension or none) are left out.

    A rate's derivative has another unit and can be larger by orders of magnitude (trajectory matching), so that a ratio
    of norms over all tensors would compare nothing. A set that learns rates alone keeps them.
    """
    return [grad for grad in grads if grad.dim() > 1] or list(grads)


def total_norm(grads: Sequence[Tensor]) -> Tensor:
    """Euclidean norm over a list of tensors, a scalar tensor."""
    return torch.stack([g.square().sum() for g in grads]).sum().sqrt()


def weighted_sum(slopes: Mapping[str, Slope], weights: Mapping[str, float]) -> list[Tensor]:
    """The gradient of the weighted objective over the stored tensors, summed in the order of the terms."""
    return reduce(_sum, ([weights[name] * g for g in slope.grads] for name, slope in slopes.items()))


def measure(
    terms: Mapping[str, Term], syn_set: SyntheticSet, real: Batch, classes: Classes, parts: int
) -> dict[str, Slope]:
    """The slope of every term on the images of some classes (all of them for None).

    Args:
        terms: by name; those that share a source that holds the step (`Looks`, `Students`) share its work in this call.
        syn_set: what is differentiated.
        real: the step's real batch of every class.
        classes: the classes being updated.
        parts: class groups that a term additive over classes is split into, to bound memory.

    Raises:
        ValueError: a term depends on nothing the set learns.
    """
    return measure_on(terms, syn_set, (syn_set.batch(classes), _seen(real, classes)), parts)


def measure_on(
    terms: Mapping[str, Term], syn_set: SyntheticSet, batches: tuple[Batch, Batch], parts: int
) -> dict[str, Slope]:
    """`measure` on a synthetic batch that was decoded already and the real batch that goes with it."""
    with ExitStack() as stack:
        for source in find_parts(terms).values():
            # Split into parts to save memory, no part's features may outlive it.
            if isinstance(source, Holds) and parts <= 1:
                stack.enter_context(source.holding())
        return {name: _slope(term, syn_set, batches, parts) for name, term in terms.items()}


def _seen(real: Batch, classes: Classes) -> Batch:
    return real if classes is None else of_classes(real, classes)


def of_classes(batch: Batch, classes: Sequence[int]) -> Batch:
    """The rows of some classes of a class-major batch that holds every class equally often."""
    per_class = len(batch) // batch.target.shape[1]
    start = torch.as_tensor(list(classes), device=batch.y.device)[:, None] * per_class
    return batch.rows((start + torch.arange(per_class, device=batch.y.device)).flatten())


def _slope(term: Term, syn_set: SyntheticSet, batches: tuple[Batch, Batch], parts: int) -> Slope:
    if parts <= 1 or not getattr(term, "additive", False):
        return _differentiate(term, syn_set, batches)
    present = batches[0].y.unique_consecutive().tolist()
    size = -(-len(present) // parts)
    groups = [present[i : i + size] for i in range(0, len(present), size)]
    split = ([_rows_of(batch, group) for batch in batches] for group in groups)
    return reduce(add, (_differentiate(term, syn_set, (syn, real)) for syn, real in split))


def _rows_of(batch: Batch, classes: Sequence[int]) -> Batch:
    return batch.rows(torch.isin(batch.y, batch.y.new_tensor(list(classes))).nonzero().flatten())


def _differentiate(term: Term, syn_set: SyntheticSet, batches: tuple[Batch, Batch]) -> Slope:
    stored, value = syn_set.trainable(), term(*batches)
    if not value.requires_grad:
        raise ValueError(f"{type(term).__name__} depends on nothing that this set learns: it could change nothing")
    critics = [part for part in find_parts(term).values() if isinstance(part, Source) and part.trainable()]
    inputs = [*stored, *(t for critic in critics for t in critic.trainable())]
    # Terms of one call may share a graph (the decoder, a look), so its buffers must outlive this backward pass.
    grads = torch.autograd.grad(value, inputs, retain_graph=True, allow_unused=True, materialize_grads=True)
    rest = iter(grads[len(stored) :])
    return Slope(
        value.detach(), list(grads[: len(stored)]), [(c, [next(rest) for _ in c.trainable()]) for c in critics]
    )


def _sum(left: Sequence[Tensor], right: Sequence[Tensor]) -> list[Tensor]:
    return [a + b for a, b in zip(left, right, strict=True)]


def require_finite(slopes: Mapping[str, Slope], step: int) -> None:
    """Stop at the first term that is no longer a number.

    Raises:
        FloatingPointError: naming the term, its value, its gradient norm and the step.
    """
    for name, slope in slopes.items():
        value, norm = float(slope.value), float(slope.norm)
        if not (abs(value) < float("inf") and norm < float("inf")):
            raise FloatingPointError(
                f"term '{name}' is not finite at step {step}: value {value:g}, gradient norm {norm:g}; "
                "the last checkpoint before this step is kept — a smaller learning rate or weight may help"
            )
