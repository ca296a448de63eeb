"""Training steps on the synthetic set with their graph kept: unrolling as published, and its checkpointed form.

Eager, in the dtype of the inputs: the oracle of `unroll.sweep`, and what speed and memory are measured against.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from infodistill.gradients import cross_entropy
from infodistill.unrolling.inner import Inner, Params, Record, Unroll, check_steps


def unrolled(
    inner: Inner, theta0: Mapping[str, Tensor], images: Tensor, labels: Tensor, rates: Tensor, record: Record
) -> Params:
    """theta_N with the graph of all N steps kept, as published; eager and in the dtype of the inputs. The oracle."""
    check_steps(images, labels, rates, record)
    state = dict(theta0), {name: torch.zeros_like(value) for name, value in theta0.items()}
    for i in range(len(record)):
        state = _step(inner, *state, images, labels, rates[i], record, i)
    return state[0]


def checkpointed(every: int) -> Unroll:
    """theta_N with the graphs of `every` steps at a time (about sqrt(N) is best): exact, without second-order products.

    Raises:
        ValueError: every is below 1.
    """
    if every < 1:
        raise ValueError(f"a segment has at least 1 step, got {every}")
    return partial(_checkpointed, every=every)


def _checkpointed(
    inner: Inner,
    theta0: Mapping[str, Tensor],
    images: Tensor,
    labels: Tensor,
    rates: Tensor,
    record: Record,
    *,
    every: int,
) -> Params:
    check_steps(images, labels, rates, record)
    names, state = tuple(theta0), [*theta0.values(), *(torch.zeros_like(value) for value in theta0.values())]

    def segment(start: int, x: Tensor, y: Tensor, eta: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        half = len(names)
        now = dict(zip(names, values[:half], strict=True)), dict(zip(names, values[half:], strict=True))
        for i in range(start, min(start + every, len(record))):
            now = _step(inner, *now, x, y, eta[i], record, i)
        return *now[0].values(), *now[1].values()

    for start in range(0, len(record), every):
        run = partial(segment, start)
        state = checkpoint(run, images, labels, rates, *state, use_reentrant=False, preserve_rng_state=False)
    return dict(zip(names, state, strict=False))


def _step(
    inner: Inner, theta: Params, velocity: Params, images: Tensor, labels: Tensor, rate: Tensor, record: Record, i: int
) -> tuple[Params, Params]:
    rows = record.rows[i]
    with torch.enable_grad():
        leaves = {
            name: value if value.requires_grad else value.detach().requires_grad_() for name, value in theta.items()
        }
        logits = functional_call(inner.module, leaves, (inner.view(images[rows], record.omegas[i]),))
        g = torch.autograd.grad(cross_entropy(logits, labels[rows]), list(leaves.values()), create_graph=True)
        velocity = {name: inner.momentum * velocity[name] + part for name, part in zip(leaves, g, strict=True)}
        return {name: value - rate * velocity[name] for name, value in leaves.items()}, velocity
