"""k-means centres of every class: the start of prototypes, of the centre pull, and of real images nearest to them."""

from __future__ import annotations

import warnings
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits
from torch import Tensor

from infodistill.seeding import key

MANY = 20_000
"""Rows of a class above which mini-batches are clustered: whole passes would take minutes."""


def class_centres(
    features: Float[Tensor, "n d"], y: Int[Tensor, " n"], k: int, seed: int = 0, *, classes: int | None = None,
    n_init: int = 4,
) -> Float[Tensor, "c k d"]:  # fmt: skip
    """`k` k-means centres of the rows of every class, (classes, k, d), in the dtype and on the device of `features`.

    Clustered class by class in float64 on one thread, keyed by (seed, class): the same on every run, and independent
    of the other classes. One centre is the class mean. A class with fewer distinct rows than k repeats centres.

    Args:
        features: (n, d).
        y: (n,) classes, in 0..classes-1, in any order.
        k: centres of every class.
        seed: of the starts (k-means++).
        classes: how many there are; the largest label and one more when None.
        n_init: starts, of which the tightest clustering is kept; mini-batches (above `MANY` rows) have one.

    Raises:
        ValueError: k below 1, or a class of fewer than k rows.
    """
    count = int(y.max()) + 1 if classes is None else classes
    rows, labels = features.detach().double().cpu(), y.cpu()
    sizes = torch.bincount(labels, minlength=count)
    if k < 1 or int(sizes.min()) < k:
        label = int(sizes.argmin())
        raise ValueError(f"centres of a class must lie in 1..{int(sizes[label])} (rows of class {label}), got {k}")
    centres = [
        _centres(rows[labels == label], k, key(seed, "centres", label) % 2**31, n_init) for label in range(count)
    ]
    return torch.stack(centres).to(features)


def _centres(rows: Tensor, k: int, state: int, n_init: int) -> Tensor:
    if k == 1:
        return rows.mean(0, keepdim=True)
    if len(rows) > MANY:
        means = MiniBatchKMeans(k, n_init=cast(Any, 1), batch_size=4096, random_state=state, compute_labels=False)
    else:
        means = KMeans(k, n_init=cast(Any, n_init), random_state=state)
    with warnings.catch_warnings(), threadpool_limits(1):  # the sums of several threads differ in the last digits
        warnings.simplefilter("ignore", ConvergenceWarning)  # equal rows: some centres coincide
        return torch.as_tensor(means.fit(rows.contiguous().numpy()).cluster_centers_)
