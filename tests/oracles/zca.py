"""ZCA whitening written out with numpy in float64, by the singular values of the centred pixels."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def fit(pixels: Array, eps: float) -> tuple[Array, Array, Array, Array]:
    """`pixels` (n, ...) in 0..255 -> mean (d,), W (d, d), its inverse (d, d), eigenvalues of the covariance, falling.

    With centred Xc = P diag(sigma) V^T (all of V): S = sigma^2 / (n - 1), zero beyond the rank,
    W = V (S + eps)^-1/2 V^T.
    """
    x = pixels.reshape(len(pixels), -1).astype(np.float64) / 255
    mean = x.mean(0)
    _, sigma, vt = np.linalg.svd(x - mean, full_matrices=True)
    s = np.zeros(x.shape[1])
    s[: len(sigma)] = sigma**2 / (len(x) - 1)
    return mean, (vt.T / np.sqrt(s + eps)) @ vt, (vt.T * np.sqrt(s + eps)) @ vt, s
