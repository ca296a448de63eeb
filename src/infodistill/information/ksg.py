"""Mutual information of continuous samples by nearest neighbours (Kraskov, Stogbauer & Grassberger 2004, estimator 1).

    I(X; Y) = psi(k) + psi(N) - < psi(n_x + 1) + psi(n_y + 1) >

n_x, n_y: how many points lie strictly closer in x (in y) alone than the k-th neighbour does in the joint maximum norm.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def ksg_mutual_information(x: Float[Tensor, "n ..."], y: Float[Tensor, "n ..."], k: int = 3) -> float:
    """KSG estimate of I(X; Y) in nats from n joint samples.

    Sign: larger means more information; slightly negative values occur at independence and are not clipped. Bias:
    small in few dimensions, downwards as the dimension or the information grows (it cannot resolve much more than
    log n); invalid for discrete or tied samples. Variance falls with k, bias rises.

    Args:
        x: (n, p) samples, or (n,) for one dimension; scale each column sensibly, distances are maximum norms.
        y: (n, q) or (n,) samples of the same draws.
        k: neighbours, 1 <= k < n.

    Raises:
        ValueError: the lengths differ, or k is out of range.
    """
    a, b = _columns(x), _columns(y)
    if len(a) != len(b):
        raise ValueError(f"x and y need as many rows as each other, got {len(a)} and {len(b)}")
    if not 1 <= k < len(a):
        raise ValueError(f"k must lie between 1 and the number of samples - 1 = {len(a) - 1}, got {k}")
    radius = np.nextafter(_tree(np.hstack([a, b])).query(np.hstack([a, b]), k=k + 1)[0][:, -1], 0)
    # A point counts itself, so the counts below are already n_x + 1 and n_y + 1.
    counts = [_tree(side).query_radius(side, radius, count_only=True) for side in (a, b)]
    psi = [float(torch.digamma(torch.as_tensor(count, dtype=torch.float64)).mean()) for count in counts]
    ends = torch.digamma(torch.tensor([k, len(a)], dtype=torch.float64))
    return float(ends.sum()) - sum(psi)


def _columns(samples: Tensor) -> Any:
    rows = samples.detach().to("cpu", torch.float64).numpy()
    return rows.reshape(len(rows), -1)


def _tree(points: Any) -> Any:
    from sklearn.neighbors import KDTree  # takes a second to import

    return KDTree(points, metric="chebyshev")
