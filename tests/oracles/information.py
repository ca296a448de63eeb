"""float64 numpy versions of the information terms, written as loops from the equations: values and gradients."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import digamma, expit, log_expit
from scipy.stats import norm, rankdata

Array = np.ndarray


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def kl(p: Array, q: Array) -> float:
    return float(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0))


def entropy(p: Array) -> float:
    return float(-sum(a * math.log(a) for a in p if a > 0))


def cmi(p: Array, y: Array) -> float:
    return sum(kl(row, p[y == c].mean(0)) for row, c in zip(p, y, strict=True)) / len(p)


def cmi_gradient(z: Array, y: Array, temperature: float = 1.0) -> Array:
    """d CMI / d z: (1/n) P [log(P/Q) - KL(P || Q)] / T."""
    p, grad = softmax(z / temperature), np.zeros_like(z)
    for i, c in enumerate(y):
        q = p[y == c].mean(0)
        grad[i] = p[i] * (np.log(p[i] / q) - kl(p[i], q)) / len(p) / temperature
    return grad


def soft_cmi(p: Array, member: Array) -> float:
    total = 0.0
    for c in range(member.shape[1]):
        if member[:, c].sum() > 0:
            q = (member[:, c : c + 1] * p).sum(0) / member[:, c].sum()
            total += sum(w * kl(row, q) for row, w in zip(p, member[:, c], strict=True) if w > 0)
    return total / len(p)


def soft_cmi_gradients(z: Array, member: Array) -> tuple[Array, Array]:
    """(d CMI / d z, d CMI / d Y): the centroids are minimisers, so they contribute nothing."""
    p = softmax(z)
    by_z, by_member = np.zeros_like(z), np.zeros_like(member)
    for c in range(member.shape[1]):
        q = (member[:, c : c + 1] * p).sum(0) / member[:, c].sum()
        for i in range(len(p)):
            divergence = kl(p[i], q)
            by_member[i, c] = divergence / len(p)
            by_z[i] += member[i, c] * p[i] * (np.log(p[i] / q) - divergence) / len(p)
    return by_z, by_member


def centroid_divergence(p: Array, y: Array, real_p: Array, real_y: Array) -> float:
    return sum(kl(row, real_p[real_y == c].mean(0)) for row, c in zip(p, y, strict=True)) / len(p)


def scores(a: Array, b: Array, temperature: float, negative: Array) -> tuple[Array, float]:
    """Critic logits cos / tau - log Z - log n, and n."""
    similarity = np.array([[u @ v / np.linalg.norm(u) / np.linalg.norm(v) for v in b] for u in a]) / temperature
    n = negative.sum() / len(negative)
    return similarity - math.log(np.exp(similarity)[negative].mean()) - math.log(n), float(n)


def nce(a: Array, b: Array, positive: Array, negative: Array, temperature: float) -> float:
    s, n = scores(a, b, temperature, negative)
    return float(-log_expit(s[positive]).mean() - n * log_expit(-s[negative]).mean())


def nce_gradient(a: Array, b: Array, positive: Array, negative: Array, temperature: float) -> Array:
    """d L / d a with Z held fixed, pair by pair."""
    (s, n), grad = scores(a, b, temperature, negative), np.zeros_like(a)
    for i, u in enumerate(a):
        for j, v in enumerate(b):
            by_score = 0.0
            if positive[i, j]:
                by_score -= expit(-s[i, j]) / positive.sum()
            if negative[i, j]:
                by_score += n * expit(s[i, j]) / negative.sum()
            unit_u, unit_v = u / np.linalg.norm(u), v / np.linalg.norm(v)
            grad[i] += by_score / temperature * (unit_v - unit_u @ unit_v * unit_u) / np.linalg.norm(u)
    return grad


def posterior_bound(log_ratio: Array, n: float, weight: Array | None = None) -> float:
    """E6, log n + E_1[log q(B=1)], exact density ratio: a bound only for the exact posterior."""
    return math.log(n) + float(np.average(log_expit(log_ratio - math.log(n)), weights=weight))


def gaussian_pairs(rho: float, rows: Array) -> tuple[Array, Array]:
    """Uniforms (m, 2) to draws of a bivariate normal of correlation rho."""
    x, e = norm.ppf(rows).T
    return x, rho * x + math.sqrt(1 - rho**2) * e


def gaussian_log_ratio(x: Array, y: Array, rho: float) -> Array:
    """log p(x, y) / p(x) p(y)."""
    quadratic = (rho**2 * (x**2 + y**2) - 2 * rho * x * y) / (2 * (1 - rho**2))
    return -0.5 * math.log(1 - rho**2) - quadratic


def gaussian_information(covariance: Array, split: int) -> float:
    """(1/2) log(|S_x| |S_y| / |S|), x the first `split` coordinates."""
    det = np.linalg.slogdet
    return 0.5 * float(det(covariance[:split, :split])[1] + det(covariance[split:, split:])[1] - det(covariance)[1])


def copula_information(x: Array, y: Array) -> float:
    """Gaussian information of the normal scores of the ranks of two scalars."""
    a, b = (norm.ppf(rankdata(side) / (len(side) + 1)) for side in (x, y))
    return gaussian_information(np.cov(a, b), 1)


def ksg(x: Array, y: Array, k: int) -> float:
    """KSG estimator 1 by brute force."""
    total = 0.0
    for i in range(len(x)):
        dx, dy = np.abs(x - x[i]).max(1), np.abs(y - y[i]).max(1)
        radius = np.sort(np.maximum(dx, dy))[k]
        total += digamma((dx < radius).sum()) + digamma((dy < radius).sum())
    return float(digamma(k) + digamma(len(x)) - total / len(x))
