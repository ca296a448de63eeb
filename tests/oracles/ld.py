"""Label distillation by its equations, in float64 numpy, for softmax regression and for ridge regression."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def cross_entropy(z: Array, y: Array) -> float:
    return float(-(y * np.log(softmax(z))).sum(1).mean())


def lookahead(w: Array, s: tuple[Array, Array], t: tuple[Array, Array], rate: float) -> tuple[float, Array]:
    """The outer loss after one step of softmax regression z = x w, and its gradient to the labels, in closed form.

    With G = d outer / d w' and A = x_s G: d outer / d Y_ij = -(rate / n) (A_i . P_i - A_ij).
    """
    (x, y), (xt, yt) = s, t
    p = softmax(x @ w)
    step = x.T @ (p * y.sum(1, keepdims=True) - y) / len(x)
    after = w - rate * step
    outer = xt.T @ (softmax(xt @ after) - yt) / len(xt)
    a = x @ outer
    return cross_entropy(xt @ after, yt), -(rate / len(x)) * ((a * p).sum(1, keepdims=True) - a)


def ridge(phi: Array, y: Array, strength: float) -> Array:
    """The primal solution, (phi^T phi + strength I)^-1 phi^T y: another system than the one that ships."""
    return np.linalg.inv(phi.T @ phi + strength * np.eye(phi.shape[1])) @ phi.T @ y


def running_loss(
    weight: Array, adjust: float, s: tuple[Array, Array], t: tuple[Array, Array], how: tuple[float, float]
) -> float:
    """The outer loss of the ridge form: keep * weight + (1 - keep) * solution, times adjust."""
    strength, keep = how
    head = keep * weight + (1 - keep) * ridge(*s, strength)
    return cross_entropy(t[0] @ (adjust * head), t[1])
