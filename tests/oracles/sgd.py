"""Softmax regression trained by SGD with momentum and weight decay, written out in float64 without autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Array = np.ndarray


def softmax(logits: Array) -> Array:
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def train(
    weight: Array,
    bias: Array,
    batches: Sequence[Sequence[tuple[Array, Array]]],
    *,
    rate: Callable[[int], float],
    momentum: float,
    decay: float,
    restarts: Sequence[int] = (),
) -> tuple[Array, Array, list[float]]:
    """`batches[e]` are the (x, target) of epoch e. v <- mu v + (g + decay w), w <- w - rate(e) v; restarts: v <- 0.

    Returns weight (k, d), bias (k,) and the mean loss of every epoch, counted per image before each step.
    """
    parameters = [weight.astype(np.float64), bias.astype(np.float64)]
    velocity = [np.zeros_like(p) for p in parameters]
    losses: list[float] = []
    for epoch, pieces in enumerate(batches):
        if epoch in restarts:
            velocity = [np.zeros_like(p) for p in parameters]
        total, count = 0.0, 0
        for x, target in pieces:
            p = softmax(x @ parameters[0].T + parameters[1])
            total -= float((target * np.log(p)).sum())
            count += len(x)
            # d/dz of -sum_k t_k log p_k is p * sum(t) - t
            delta = (p * target.sum(1, keepdims=True) - target) / len(x)
            for i, gradient in enumerate((delta.T @ x, delta.sum(0))):
                velocity[i] = momentum * velocity[i] + gradient + decay * parameters[i]
                parameters[i] = parameters[i] - rate(epoch) * velocity[i]
        losses.append(total / count)
    return parameters[0], parameters[1], losses
