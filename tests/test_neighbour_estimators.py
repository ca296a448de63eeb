"""Estimates by nearest neighbours: two ways to search, brute force, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from scipy.special import digamma
from torch import Tensor

from infodistill.information import (
    class_mutual_information,
    jittered,
    kozachenko_leonenko,
    ksg_conditional_mutual_information,
    ksg_mutual_information,
    ksg_mutual_information_2,
    neighbour_entropy,
    neighbours,
    normal_scores,
)
from infodoubles import gaussian

normal = partial(gaussian, owner="neighbours")
N = 120


def distances(side: Tensor, norm: float) -> np.ndarray:
    near = torch.cdist(side, side, p=norm, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    np.fill_diagonal(near, np.inf)
    return near


def brute_1(x: Tensor, y: Tensor, k: int, norm: float) -> float:
    a, b = distances(x, norm), distances(y, norm)
    total = 0.0
    for i in range(N):
        radius = np.sort(np.maximum(a[i], b[i]))[k - 1]
        total += digamma((a[i] < radius).sum() + 1) + digamma((b[i] < radius).sum() + 1)
    return float(digamma(k) + digamma(N) - total / N)


def brute_2(x: Tensor, y: Tensor, k: int, norm: float) -> float:
    a, b = distances(x, norm), distances(y, norm)
    total = 0.0
    for i in range(N):
        near = np.argsort(np.maximum(a[i], b[i]))[:k]
        total += digamma((a[i] <= a[i][near].max()).sum()) + digamma((b[i] <= b[i][near].max()).sum())
    return float(digamma(k) - 1 / k + digamma(N) - total / N)


def brute_conditional(x: Tensor, y: Tensor, z: Tensor, k: int, norm: float) -> float:
    a, b, c = (distances(side, norm) for side in (x, y, z))
    total = 0.0
    for i in range(N):
        radius = np.sort(np.maximum(np.maximum(a[i], b[i]), c[i]))[k - 1]
        n_xz, n_yz = ((np.maximum(side[i], c[i]) < radius).sum() for side in (a, b))
        total += digamma(n_xz + 1) + digamma(n_yz + 1) - digamma((c[i] < radius).sum() + 1)
    return float(digamma(k) - total / N)


def brute_class(x: Tensor, labels: Tensor, k: int, norm: float) -> float:
    a, total = distances(x, norm), 0.0
    for i in range(N):
        own = (labels == labels[i]).numpy()
        radius = np.sort(a[i][own])[k - 1]
        total += digamma(own.sum()) + digamma((a[i] < radius).sum() + 1)
    return float(digamma(k) + digamma(N) - total / N)


def sides(columns: int) -> tuple[Tensor, Tensor, Tensor]:
    x, z = normal(N, columns), normal(N, columns, key=1)
    return x, 0.6 * x + 0.8 * normal(N, columns, key=2) + z, z


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("columns", [1, 3, 9])
@pytest.mark.parametrize("pairs", [neighbours.PAIRS, 1000])
def test_every_estimate_is_the_loop_over_the_samples(
    columns: int, k: int, pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to 12 columns in all: maximum norms, trees. Beyond: Euclidean within a side, blocks (here also of 8 rows)."""
    monkeypatch.setattr(neighbours, "PAIRS", pairs)
    x, y, z = sides(columns)
    norm, conditional = (2.0 if columns * count > 12 else math.inf for count in (2, 3))
    assert ksg_mutual_information(x, y, k) == pytest.approx(brute_1(x, y, k, norm), abs=1e-10)
    assert ksg_mutual_information_2(x, y, k) == pytest.approx(brute_2(x, y, k, norm), abs=1e-10)
    given = ksg_conditional_mutual_information(x, y, z, k)
    assert given == pytest.approx(brute_conditional(x, y, z, k, conditional), abs=1e-10)
    labels = torch.arange(N) % 3
    wide = torch.cat([x + labels[:, None], z], 1)
    found = class_mutual_information(wide, labels, k)
    assert found == pytest.approx(brute_class(wide, labels, k, norm), abs=1e-10)


@pytest.mark.parametrize("columns", [1, 2, 20])
@pytest.mark.parametrize("k", [1, 3])
def test_the_entropy_of_one_sample_is_that_of_the_differentiable_form(columns: int, k: int) -> None:
    x = normal(N, columns)
    assert neighbour_entropy(x, k) == pytest.approx(float(kozachenko_leonenko(x, k)), abs=1e-9)
    assert neighbour_entropy(2 * x, k) == pytest.approx(neighbour_entropy(x, k) + columns * math.log(2), abs=1e-9)


def test_float32_and_images_are_taken_as_they_come() -> None:
    x, y, _ = sides(8)
    image = x.float().view(N, 2, 2, 2)
    assert ksg_mutual_information(image, y.float()) == pytest.approx(ksg_mutual_information(x, y), abs=0.02)
    assert ksg_mutual_information(x[:, 0], y[:, 0]) == ksg_mutual_information(x[:, :1], y[:, :1])


def test_separated_classes_read_the_entropy_of_the_labels() -> None:
    labels = torch.tensor([0] * 60 + [1] * 40 + [2] * 20)
    value = class_mutual_information(normal(N, 2) + 100 * labels[:, None], labels)
    share = np.array([60, 40, 20])
    assert value == pytest.approx(float(digamma(N) - (share / N * digamma(share)).sum()), abs=1e-12)
    assert value == pytest.approx(float(-(share / N * np.log(share / N)).sum()), abs=0.02)


@pytest.mark.parametrize("columns", [2, 30])
@pytest.mark.parametrize("estimate", [ksg_mutual_information, ksg_mutual_information_2])
def test_copies_are_refused_until_they_are_told_apart(estimate: Callable[..., float], columns: int) -> None:
    x, y, _ = sides(columns)
    x[:4], y[:4] = x[0].clone(), y[0].clone()
    with pytest.raises(ValueError, match=r"occurs 4 times.*class_mutual_information.*jittered"):
        estimate(x, y)
    assert math.isfinite(estimate(x, y, 4))
    assert math.isfinite(estimate(jittered(x), jittered(y, seed=1)))
    labels = torch.arange(N) % 3
    x[:12] = x[0].clone()
    with pytest.raises(ValueError, match="occurs 4 times"):
        class_mutual_information(x, labels)
    with pytest.raises(ValueError, match="occurs 12 times"):
        neighbour_entropy(x)


def test_noise_is_keyed_and_small_and_leaves_constants() -> None:
    x = torch.stack([normal(50), torch.full((50,), 7.0, dtype=torch.float64)], 1)
    noisy = jittered(x, 1e-3, seed=4)
    assert torch.equal(noisy, jittered(x, 1e-3, seed=4))
    assert not torch.equal(noisy, jittered(x, 1e-3, seed=5))
    assert 0 < float((noisy - x)[:, 0].abs().max()) < 5e-3
    assert torch.equal(noisy[:, 1], x[:, 1])


def test_normal_scores_are_the_quantiles_of_the_ranks() -> None:
    x = torch.tensor([3.0, -1.0, 3.0, 100.0])
    expected = torch.special.ndtri(torch.tensor([(2.5 - 0.5) / 4, 0.5 / 4, (2.5 - 0.5) / 4, 3.5 / 4]))
    torch.testing.assert_close(normal_scores(x), expected)
    assert normal_scores(normal(5, 2, 3)).shape == (5, 2, 3)


ESTIMATES: dict[str, Callable[[Tensor, Tensor, Tensor], object]] = {
    "one": lambda x, y, c: ksg_mutual_information(y, x),
    "two": lambda x, y, c: ksg_mutual_information_2(y, x),
    "given": lambda x, y, c: ksg_conditional_mutual_information(y, x, y),
    "class": lambda x, y, c: class_mutual_information(x, c),
    "entropy": lambda x, y, c: neighbour_entropy(x),
    "scores": lambda x, y, c: normal_scores(x),
    "jitter": lambda x, y, c: jittered(x),
}


@pytest.mark.parametrize("columns", [2, 20])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ESTIMATES)
def test_values_that_are_not_finite_are_refused_with_the_argument(name: str, value: float, columns: int) -> None:
    x, y, _ = sides(columns)
    x[3, 1] = x[40, 0] = x[40, 1] = value
    side = "y" if name in ("one", "two", "given") else "x"
    with pytest.raises(ValueError, match=f"^{side} must be finite, got NaN or infinite values in 2 of {N} rows$"):
        ESTIMATES[name](x, y, torch.arange(N) % 3)


def test_one_column_that_spreads_far_does_not_drown_the_others_in_many_columns() -> None:
    """A bimodal column at +-10,000 squares to 1e8: float32 resolves 8 there, and the others are 5 apart."""
    labels = torch.arange(N) % 2
    x = normal(N, 14).float()
    x[:, 0] += 2.5 * labels
    x[:, 13] = 10_000 * (2 * (torch.arange(N) // 2 % 2) - 1)
    found = class_mutual_information(x, labels)
    assert found == pytest.approx(brute_class(x.double(), labels, 3, 2.0), abs=1e-10)
    assert ksg_mutual_information(x[:, :7], x[:, 7:]) == pytest.approx(
        brute_1(x[:, :7].double(), x[:, 7:].double(), 3, 2.0), abs=1e-10
    )
    exact = neighbour_entropy(x.double())
    assert neighbour_entropy(x) == pytest.approx(exact, abs=1e-9)
    near = np.sort(distances(x.double(), 2.0))[:, 2]
    ball = 7 * math.log(math.pi) - math.lgamma(8)
    assert exact == pytest.approx(float(digamma(N) - digamma(3) + ball + 14 * np.log(near).mean()), abs=1e-6)


def test_mistakes_say_what_was_wanted() -> None:
    x, labels = normal(30, 2), torch.tensor([0] * 27 + [1] * 3)
    with pytest.raises(ValueError, match=r"smallest class - 1 = 2, got 3"):
        class_mutual_information(x, labels)
    with pytest.raises(ValueError, match="number of samples - 1 = 29, got 30"):
        neighbour_entropy(x, 30)
    with pytest.raises((ValueError, TypeError), match=r"as many rows|Type-check"):
        ksg_conditional_mutual_information(x, x, x[1:])
    with pytest.raises((ValueError, TypeError), match=r"as many rows|Type-check"):
        class_mutual_information(x, labels[1:])
