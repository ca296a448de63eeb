"""Log-det entropies and informations: unbiased, invariant, and what becomes of them with few rows."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from infodistill.information import gaussian_class_information, gaussian_entropy, gaussian_mutual_information
from infodoubles import gaussian

normal = partial(gaussian, owner="gaussian")
UNIT = 0.5 * math.log(2 * math.pi * math.e)


def mean_and_error(values: list[float]) -> tuple[float, float]:
    return float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(len(values)))


@pytest.mark.parametrize(("n", "d"), [(5, 1), (12, 4), (12, 11)])
def test_the_entropy_of_gaussian_samples_is_unbiased_down_to_one_row_more_than_columns(n: int, d: int) -> None:
    mix = torch.tril(torch.ones(d, d, dtype=torch.float64))  # determinant 1
    mean, error = mean_and_error([gaussian_entropy(normal(n, d, key=key) @ mix) for key in range(400)])
    assert abs(mean - d * UNIT) < 3.5 * error
    plain = 0.5 * np.linalg.slogdet(2 * math.pi * math.e * np.cov(normal(n, d).numpy().T).reshape(d, d))[1]
    assert gaussian_entropy(normal(n, d)) > plain  # the correction only ever adds


@pytest.mark.parametrize(("n", "p", "q", "rho"), [(8, 1, 1, 0.8), (12, 3, 2, 0.5), (9, 4, 3, 0.0)])
def test_the_information_of_gaussian_samples_is_unbiased(n: int, p: int, q: int, rho: float) -> None:
    def one(key: int) -> float:
        x, e = normal(n, p, key=key), normal(n, q, key=10_000 + key)
        y = e.clone()
        y[:, 0] = rho * x[:, 0] + math.sqrt(1 - rho**2) * e[:, 0]
        return gaussian_mutual_information(x, y)

    mean, error = mean_and_error([one(key) for key in range(400)])
    assert abs(mean + 0.5 * math.log(1 - rho**2)) < 3.5 * error


def test_the_class_information_is_unbiased_at_independence_and_that_of_one_hot_labels() -> None:
    labels = torch.arange(20) % 4
    mean, error = mean_and_error([gaussian_class_information(normal(20, 3, key=key), labels) for key in range(400)])
    assert abs(mean) < 3.5 * error
    x = normal(20, 3) + labels[:, None] / 4
    one_hot = torch.nn.functional.one_hot(labels, 4).double()
    expected = gaussian_mutual_information(x, one_hot)
    assert gaussian_class_information(x, labels) == pytest.approx(expected, abs=1e-9)


def test_invertible_linear_maps_and_empty_columns_change_nothing() -> None:
    x, e = normal(200, 3), normal(200, 2, key=1)
    y = x[:, :2] + e
    value = gaussian_mutual_information(x, y)
    mapped = x @ normal(3, 3, key=2) + 5
    assert gaussian_mutual_information(mapped, y) == pytest.approx(value, abs=1e-9)
    padded = torch.cat([x, torch.full((200, 1), 3.0, dtype=torch.float64), x[:, :1] - x[:, 1:2]], 1)
    assert gaussian_mutual_information(padded, y) == pytest.approx(value, abs=1e-9)
    labels = torch.arange(200) % 4
    by_class = gaussian_class_information(x + labels[:, None], labels)
    turned = (x + labels[:, None]) @ normal(3, 3, key=2) + 5
    assert gaussian_class_information(turned, labels) == pytest.approx(by_class, abs=1e-9)
    assert gaussian_class_information(torch.cat([x + labels[:, None], padded[:, 3:4]], 1), labels) == pytest.approx(
        by_class, abs=1e-9
    )


def test_what_follows_from_something_else_is_certain() -> None:
    x = normal(50, 2)
    assert gaussian_entropy(torch.cat([x, torch.zeros(50, 1).double()], 1)) == -math.inf
    labels = torch.arange(50) % 5
    assert gaussian_class_information(x + 1000 * labels[:, None], labels) == pytest.approx(math.log(5), abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [12, 500])
def test_a_copy_or_a_linear_map_is_infinite_information(n: int, dtype: torch.dtype) -> None:
    x = normal(n, 3).to(dtype)
    mapped = x @ normal(3, 2, key=1).to(dtype)
    noisy = normal(n, 1, key=2).to(dtype)
    for y in (x, x[:, :1], mapped, torch.cat([x[:, 1:2], noisy], 1), torch.cat([x, x], 1)):
        assert gaussian_mutual_information(x, y) == math.inf
    assert 0 < gaussian_mutual_information(x, x, 0.1) < math.inf
    assert 3 < gaussian_mutual_information(x, x[:, :1] + 1e-3 * noisy) < 9  # about log 1000


def test_constants_tell_nothing_and_without_a_sign() -> None:
    flat = torch.full((20, 2), 3.0)
    for value in (gaussian_mutual_information(flat, flat), gaussian_class_information(flat, torch.arange(20) % 2)):
        assert value == 0
        assert math.copysign(1, value) == 1


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_values_that_are_not_finite_are_refused_with_the_argument(value: float) -> None:
    x, labels = normal(30, 2), torch.arange(30) % 3
    bad = x.clone()
    bad[4, 0] = bad[4, 1] = value
    told = "must be finite, got NaN or infinite values in 1 of 30 rows"
    with pytest.raises(ValueError, match=f"^y {told}$"):
        gaussian_mutual_information(x, bad)
    for call in (gaussian_entropy, lambda f: gaussian_class_information(f, labels)):
        with pytest.raises(ValueError, match=f"^x {told}$"):
            call(bad)


def test_no_shrinkage_is_refused_where_the_covariance_is_singular() -> None:
    x, y = normal(12, 6), normal(12, 6, key=1)
    with pytest.raises(ValueError, match=r"12 columns need at least 13 rows, got 12.*shrinkage above 0"):
        gaussian_mutual_information(x, y, 0.0)
    assert math.isfinite(gaussian_mutual_information(x, y[:, :5], 0.0))
    assert math.isfinite(gaussian_mutual_information(x, torch.cat([y[:, :5], y[:, :1]], 1), 0.0))  # 5 independent ones
    with pytest.raises(ValueError, match="6 columns need at least 7 rows, got 6"):
        gaussian_entropy(x[:6], 0.0)
    assert math.isfinite(gaussian_entropy(x[:7], 0.0))
    with pytest.raises(ValueError, match="6 columns need at least 8 rows, got 7"):
        gaussian_class_information(x[:7], torch.arange(7) % 2, 0.0)
    assert math.isfinite(gaussian_class_information(x[:8], torch.arange(8) % 2, 0.0))


def test_fewer_rows_than_columns_are_shrunk_towards_no_information() -> None:
    x = normal(30, 60)
    y = x[:, :40] + 0.1 * normal(30, 40, key=1)
    values = [gaussian_mutual_information(x, y, weight) for weight in (0.05, 0.3, 0.7, 1.0)]
    assert all(a > b for a, b in pairwise(values))
    assert values[-1] == pytest.approx(0, abs=1e-9)
    assert 0 <= gaussian_mutual_information(x, y) < math.inf
    assert math.isfinite(gaussian_entropy(x))
    assert gaussian_entropy(x, 1.0) == pytest.approx(60 * UNIT + 30 * math.log(float(x.var(0).mean())), abs=1e-9)
    labels = torch.arange(30) % 3
    assert 0 <= gaussian_class_information(x, labels) <= math.log(3)


def test_ledoit_and_wolfs_weight_is_scikit_learns() -> None:
    from sklearn.covariance import ledoit_wolf_shrinkage

    x = normal(20, 30)
    weight = float(ledoit_wolf_shrinkage(x.numpy()))
    assert gaussian_entropy(x) == pytest.approx(gaussian_entropy(x, weight), abs=1e-12)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    import infodistill.information.gaussian as module

    x, y = normal(101, 3), normal(101, 2, key=1)
    whole = gaussian_mutual_information(x, y)
    monkeypatch.setattr(module, "BLOCK", 7)
    assert gaussian_mutual_information(x, y) == pytest.approx(whole, abs=1e-12)


def test_mistakes_say_what_was_wanted() -> None:
    x = normal(6, 2)
    with pytest.raises(ValueError, match=r"shrinkage must lie in \[0, 1\], got 2"):
        gaussian_entropy(x, 2.0)
    with pytest.raises(ValueError, match="at least 2 rows, got 1"):
        gaussian_entropy(x[:1])
    with pytest.raises(ValueError, match="at least 7 rows, got 6"):
        gaussian_class_information(x, torch.arange(6))
    with pytest.raises((ValueError, TypeError), match=r"as many rows|Type-check"):
        gaussian_mutual_information(x, x[1:])
