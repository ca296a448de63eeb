"""float64 numpy versions of the IGDS estimators, one class and one image at a time, and their gradients by formula."""

from __future__ import annotations

import math

import numpy as np

Array = np.ndarray


def mixture(x: Array, codes: Array, h: float) -> float:
    return float(np.mean([math.exp(-((x - s) ** 2).sum() / h) for s in codes]))


def set_decoder(real: Array, real_y: Array, codes: Array, code_y: Array, h: float) -> float:
    """log C + mean over classes of the mean over their rows of log q(y|x)."""
    labels = sorted(set(real_y.tolist()))
    total = 0.0
    for c in labels:
        rows = real[real_y == c]
        for x in rows:
            by_class = [mixture(x, codes[code_y == k], h) for k in labels]
            total += math.log(by_class[labels.index(c)] / sum(by_class)) / len(rows) / len(labels)
    return math.log(len(labels)) + total


def set_decoder_gradient(real: Array, real_y: Array, codes: Array, code_y: Array, h: float) -> Array:
    """(2/h) E_x[(1{y_x = y_j} rho_{j|y} - rho_j)(x - s_j)], with weights 1 / n_y inside the mixtures."""
    labels = sorted(set(real_y.tolist()))
    grad = np.zeros_like(codes)
    for x, y in zip(real, real_y, strict=True):
        bump = np.array(
            [math.exp(-((x - s) ** 2).sum() / h) / (code_y == c).sum() for s, c in zip(codes, code_y, strict=True)]
        )
        weight = 1 / len(labels) / (real_y == y).sum()
        for j, s in enumerate(codes):
            within = bump[j] / bump[code_y == y].sum() if code_y[j] == y else 0.0
            grad[j] += 2 / h * weight * (within - bump[j] / bump.sum()) * (x - s)
    return grad


def told_apart(f: Array, scale: float) -> float:
    """-(1/n) sum_i log (1/n) sum_j exp(-||f_i - f_j||^2 / scale): KT at 8 s^2, pairwise KL at 2 s^2."""
    return -float(np.mean([math.log(mixture(a, f, scale)) for a in f]))


def told_apart_gradient(f: Array, scale: float) -> Array:
    """Every pair pushes both its members apart by its share in either's sum."""
    n, grad = len(f), np.zeros_like(f)
    for i, a in enumerate(f):
        bump = np.array([math.exp(-((a - b) ** 2).sum() / scale) for b in f])
        for j, b in enumerate(f):
            force = 2 / scale * bump[j] / bump.sum() / n * (a - b)
            grad[i] += force
            grad[j] -= force
    return grad


def code_values(z: Array, mean: Array, variance: Array, *, own: bool) -> float:
    """Mean log ratio of q(z|x_i) to the mixture of all codes, or of the others; z (s, n, d)."""
    n, values = len(mean), []
    for draw in z:
        for i in range(n):
            density = [
                math.exp(-0.5 * (((draw[i] - m) ** 2) / v).sum() - 0.5 * np.log(v).sum())
                for m, v in zip(mean, variance, strict=True)
            ]
            others = density if own else density[:i] + density[i + 1 :]
            values.append(math.log(density[i] / np.mean(others)))
    return float(np.mean(values))


def codebook(real: Array, codes: Array, h: float) -> tuple[float, Array]:
    """I(X;J) of one class with uniform rows, and its gradient in the codes by formula."""
    p = np.array([[math.exp(-((x - s) ** 2).sum() / h) for s in codes] for x in real])
    p /= p.sum(1, keepdims=True)
    use, value, grad = p.mean(0), 0.0, np.zeros_like(codes)
    for x, row in zip(real, p, strict=True):
        divergence = float((row * np.log(row / use)).sum())
        value += divergence / len(real)
        for j, s in enumerate(codes):
            grad[j] += 2 / h / len(real) * row[j] * (math.log(row[j] / use[j]) - divergence) * (x - s)
    return value, grad


def joint_information(table: Array) -> float:
    """I(A;B) of a joint probability table."""
    outer = table.sum(1, keepdims=True) * table.sum(0, keepdims=True)
    return float(sum(p * math.log(p / q) for p, q in zip(table.ravel(), outer.ravel(), strict=True) if p > 0))


def matrix_entropy(f: Array, scale: float) -> float:
    """-tr rho log rho, rho = K/n, K = exp(-d^2 / scale)."""
    kernel = np.array([[math.exp(-((a - b) ** 2).sum() / scale) for b in f] for a in f]) / len(f)
    return -sum(v * math.log(v) for v in np.linalg.eigvalsh(kernel) if v > 1e-15)


def matrix_entropy_gradient(f: Array, scale: float) -> Array:
    """dS/drho = -(log rho + 1), chained to every entry of the kernel."""
    n, grad = len(f), np.zeros_like(f)
    kernel = np.array([[math.exp(-((a - b) ** 2).sum() / scale) for b in f] for a in f])
    values, vectors = np.linalg.eigh(kernel / n)
    by_rho = -(vectors * (np.log(values) + 1)) @ vectors.T
    for i in range(n):
        for j in range(n):
            grad[i] += 2 * by_rho[i, j] / n * kernel[i, j] * (-2 / scale) * (f[i] - f[j])
    return grad


def coding_rate(f: Array, variance: float) -> float:
    centred = f - f.mean(0)
    covariance = sum(np.outer(row, row) for row in centred) / len(f)
    return 0.5 * float(np.linalg.slogdet(np.eye(f.shape[1]) + covariance / variance)[1])


def nearest_entropy(f: Array, k: int) -> float:
    """Kozachenko and Leonenko by brute force; digamma differences as harmonic sums."""
    n, d = f.shape
    radii = [sorted(math.dist(a, b) for j, b in enumerate(f) if j != i)[k - 1] for i, a in enumerate(f)]
    ball = math.pi ** (d / 2) / math.gamma(d / 2 + 1)
    return sum(1 / i for i in range(k, n)) + math.log(ball) + d * float(np.mean(np.log(radii)))
