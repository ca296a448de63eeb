"""Images of several classes as sets, batched: grouping by class, balanced weights, squared distances.

The bounds of IGDS are sums over classes of what one class's set says. They are computed for all classes at once; the
loop over classes is the oracle of the tests.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def class_major(y: Int[Tensor, " n"]) -> Int[Tensor, " k"]:
    """The classes (k,) of labels that are class-major with equally many of every class, in the order they come.

    Raises:
        ValueError: they are not, or there are none.
    """
    labels, counts = y.unique_consecutive(return_counts=True)
    if not len(y) or len(labels.unique()) < len(labels) or len(counts.unique()) > 1:
        raise ValueError(f"the images must be class-major, equally many of every class, got classes {y.tolist()}")
    return labels


def by_class(f: Float[Tensor, "n d"], y: Int[Tensor, " n"]) -> Float[Tensor, "k m d"]:
    """Class-major rows as sets, (classes, rows of each, d).

    Raises:
        ValueError: the labels are not class-major with equally many of every class.
    """
    return f.unflatten(0, (len(class_major(y)), -1))


def require_positive(name: str, value: float) -> None:
    """Refuse bandwidths and variances that are not positive.

    Raises:
        ValueError: with the value seen.
    """
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")


def require_finite(name: str, samples: Float[Tensor, "n ..."]) -> None:
    """Refuse samples with NaN or infinite values: an estimate would be a number that means nothing.

    Raises:
        ValueError: with the argument and how many rows.
    """
    # In parts: `isfinite` makes a copy of what it reads.
    bad = sum(int((~part.isfinite().reshape(len(part), -1).all(1)).sum()) for part in samples.detach().split(4096))
    if bad:
        raise ValueError(f"{name} must be finite, got NaN or infinite values in {bad} of {len(samples)} rows")


def in_floats(f: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    """The same numbers in float32 or better: distances and logarithms are not taken in half precision."""
    return f.to(torch.promote_types(f.dtype, torch.float32))


def padded(
    f: Float[Tensor, "m d"], y: Int[Tensor, " m"], classes: int
) -> tuple[Float[Tensor, "c w d"], Float[Tensor, "c w"]]:
    """Rows by class, (classes, largest class, d), and the log weight of every place: -log(rows of its class).

    Places beyond the end of a class repeat row 0 and have log weight -inf.

    Raises:
        ValueError: a class has no rows, or a label is not in 0..classes-1.
    """
    counts = class_counts(y, classes)
    place = torch.arange(int(counts.max()), device=y.device)
    start = counts.cumsum(0) - counts
    filled = place < counts[:, None]
    index = torch.where(filled, start[:, None] + place, 0)
    log_weight = torch.where(filled, -counts.to(f.dtype).log()[:, None], -torch.inf)
    return f[y.argsort(stable=True)][index], log_weight


def balanced_weights(y: Int[Tensor, " n"], classes: int) -> Float[Tensor, " n"]:
    """1 / (classes * rows of the row's class), float64: the mean over classes of the mean over their rows.

    Raises:
        ValueError: a class has no rows, or a label is not in 0..classes-1.
    """
    return 1 / (classes * class_counts(y, classes).double()[y])


def class_counts(y: Int[Tensor, " n"], classes: int) -> Int[Tensor, " c"]:
    """Rows of every class, (classes,).

    Raises:
        ValueError: a class has no rows, or a label is not in 0..classes-1.
    """
    counts = torch.bincount(y, minlength=classes)
    if len(counts) > classes:
        raise ValueError(f"labels must lie in 0..{classes - 1}, got {int(y.max())}")
    if bool((counts == 0).any()):
        raise ValueError(f"every class needs a row, classes {(counts == 0).nonzero().flatten().tolist()} have none")
    return counts


def squared_distances(a: Float[Tensor, "*k n d"], b: Float[Tensor, "*k m d"]) -> Float[Tensor, "*k n m"]:
    """||a_i - b_j||^2 by a matrix product, at least 0; error about 1e-6 of the squared spread of both in float32."""
    # About a common origin near both, the three terms of the binomial do not cancel from large numbers.
    origin = b.detach().mean(-2, keepdim=True)
    a, b = a - origin, b - origin
    squares = a.square().sum(-1)[..., None] + b.square().sum(-1)[..., None, :]
    return (squares - 2 * (a @ b.mT)).clamp_min(0)


def pair_distances(f: Float[Tensor, "*k n d"]) -> Float[Tensor, "*k n n"]:
    """||f_i - f_j||^2 within every set, from differences: coincident rows are at exactly 0, with derivative 0."""
    return torch.cdist(f, f, compute_mode="donot_use_mm_for_euclid_dist").square()
