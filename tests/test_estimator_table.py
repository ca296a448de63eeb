"""Every estimator against closed forms: its error, on the side its direction allows. The rows: `estimator_rows`."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from estimator_rows import ROWS
from estimator_table import Row, gaussian, gaussian_truth
from infodistill.information import ksg_mutual_information, ksg_mutual_information_2, normal_scores

ESTIMATES = (ksg_mutual_information, ksg_mutual_information_2)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_error_is_on_the_allowed_side(row: Row) -> None:
    low, high = row.allowed()
    assert low <= row.estimate() - row.truth <= high


def test_the_table_has_every_direction_and_no_row_twice() -> None:
    assert len({(row.name, row.direction) for row in ROWS}) == len(ROWS)
    assert {row.direction for row in ROWS} == {"lower", "upper", "consistent"}


@pytest.mark.parametrize("estimate", ESTIMATES)
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6, 0.9])
def test_ksg_is_within_002_nats_of_a_bivariate_gaussian_at_5000(estimate: Callable[..., float], rho: float) -> None:
    """The acceptance, as bias over 5 samples: one sample's own log ratios scatter by rho / sqrt(5000), 0.013 at 0.9."""
    errors = [estimate(*gaussian(rho, seed=seed)) - gaussian_truth(rho) for seed in range(5)]
    assert abs(sum(errors) / len(errors)) < 0.02
    assert max(map(abs, errors)) < 0.06


HOMEOMORPHISMS: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": lambda x: x.exp(),
    "cubic": lambda x: x + x**3,
    "squash": lambda x: torch.atan(x),
    "affine": lambda x: 2 * x - 3,
}


def shift(estimate: Callable[..., float], left: str, right: str, rho: float, *, n: int = 5000, draws: int = 4) -> float:
    """By how much the estimate moves, over some samples: E3 says not at all, I(F(X); G(Y)) = I(X; Y)."""
    pairs = [gaussian(rho, seed=seed, n=n) for seed in range(draws)]
    moved = [estimate(HOMEOMORPHISMS[left](x), HOMEOMORPHISMS[right](y)) - estimate(x, y) for x, y in pairs]
    return sum(moved) / len(moved)


@pytest.mark.parametrize("rho", [0.6, 0.9])
@pytest.mark.parametrize(("left", "right"), [("exp", "cubic"), ("cubic", "squash"), ("affine", "exp")])
def test_ksg_2_is_invariant_under_homeomorphisms_of_the_marginals(left: str, right: str, rho: float) -> None:
    """Seed 000's theorem, at the n and within the 0.02 nats of the acceptance; one estimate scatters by 0.01."""
    assert abs(shift(ksg_mutual_information_2, left, right, rho)) < 0.015


def test_ksg_1_is_invariant_in_the_limit_and_its_cubes_cost_up_to_four_hundredths_of_a_nat_at_5000() -> None:
    assert abs(shift(ksg_mutual_information, "cubic", "squash", 0.6)) < 0.02
    few, more, many = (
        shift(ksg_mutual_information, "cubic", "squash", 0.9, n=n, draws=2) for n in (1000, 5000, 20_000)
    )
    assert few < more < many < 0
    assert more > -0.045
    assert many > -0.02


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_after_normal_scores_increasing_maps_change_no_bit(estimate: Callable[..., float]) -> None:
    x, y = gaussian(0.9)
    plain = estimate(normal_scores(x), normal_scores(y))
    assert plain == pytest.approx(gaussian_truth(0.9), abs=0.04)
    for name in HOMEOMORPHISMS:
        assert estimate(normal_scores(HOMEOMORPHISMS[name](x)), normal_scores(y)) == plain


def bend(x: Tensor) -> Tensor:
    """A homeomorphism of the plane: turned, then sheared along a parabola."""
    turn = torch.tensor([[math.cos(1), -math.sin(1)], [math.sin(1), math.cos(1)]], dtype=x.dtype)
    u, v = (x @ turn).T
    return torch.stack([u, v + 0.5 * u**2], 1)


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_ksg_is_invariant_under_homeomorphisms_of_the_plane(estimate: Callable[..., float]) -> None:
    x, y = gaussian(0.6, 2)
    assert estimate(bend(x), bend(y)) == pytest.approx(gaussian_truth(0.6, 2), abs=0.05)


def test_a_map_that_is_not_invertible_loses_information() -> None:
    """ReLU, pooling and stride are none of the theorem's maps: only data processing holds (E3, caveat)."""
    x, y = gaussian(0.9)
    assert ksg_mutual_information(x.abs(), y) < ksg_mutual_information(x, y) - 0.1
