"""Kernel ridge regression by the definition, in float64 numpy: one linear system per class, solved by elimination."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def predict(phi_t: Array, phi_s: Array, y: Array, jitter: float) -> Array:
    """Prediction (m, k) at phi_t from n fitted rows, entry by entry."""
    n = len(phi_s)
    kernel = np.array([[float(np.dot(phi_s[i], phi_s[j])) for j in range(n)] for i in range(n)])
    kernel += jitter * np.trace(kernel) / n * np.eye(n)
    inverse = np.linalg.inv(kernel)
    cross = np.array([[float(np.dot(t, s)) for s in phi_s] for t in phi_t])
    return cross @ inverse @ y


def loss(phi_t: Array, phi_s: Array, y: Array, wanted: Array, jitter: float) -> float:
    """Mean squared error over rows and classes."""
    error = predict(phi_t, phi_s, y, jitter) - wanted
    return float(sum(value * value for value in error.ravel()) / error.size)


def margin(y: Array) -> float:
    """Minus the mean of each row's gap between its two largest entries, each at most one over the classes."""
    gaps = []
    for row in y:
        largest = sorted(row.tolist(), reverse=True)
        gaps.append(min(largest[0] - largest[1], 1 / len(row)))
    return -sum(gaps) / len(gaps)


def slope(function, x: Array, step: float = 1e-6) -> Array:  # type: ignore[no-untyped-def]
    """Central differences of a scalar function at x."""
    result = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        result[index] = (function(up) - function(down)) / (2 * step)
    return result


def lamb(w: Array, grads: list[Array], lr: float, decay: float = 0.0) -> Array:
    """The published update, tensor by tensor, betas .9 and .999, eps 1e-6."""
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(grads, start=1):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        r = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-6) + decay * w
        a, b = np.sqrt((w * w).sum()), np.sqrt((r * r).sum())
        w = w - lr * (a / b if a > 0 and b > 0 else 1.0) * r
    return w
