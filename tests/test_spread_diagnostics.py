"""C4 and C6, which bound nothing: oracles, gradients, duplicates."""

from __future__ import annotations

import math

import pytest
import torch

from igdssets import batch, flat, labels, normal
from infodistill.information import CodingRate, NeighbourEntropy, coding_rate, kozachenko_leonenko
from oracles import igds as oracle


@pytest.mark.parametrize(("n", "d"), [(7, 3), (3, 7)])
def test_coding_rate_is_the_determinant_on_either_side(n: int, d: int) -> None:
    f = normal(2, n, d)
    for c, rows in enumerate(f.numpy()):
        assert coding_rate(f, 0.3)[c].item() == pytest.approx(oracle.coding_rate(rows, 0.3), abs=1e-12)
    assert torch.autograd.gradcheck(lambda rows: coding_rate(rows, 0.3), (f.requires_grad_(),))


@pytest.mark.parametrize("k", [1, 3])
def test_neighbour_entropy_is_brute_force(k: int) -> None:
    f = normal(2, 9, 3)
    for c, rows in enumerate(f.numpy()):
        assert kozachenko_leonenko(f, k)[c].item() == pytest.approx(oracle.nearest_entropy(rows, k), abs=1e-12)
    assert torch.autograd.gradcheck(lambda rows: kozachenko_leonenko(rows, k), (f.requires_grad_(),))


def test_neighbour_entropy_finds_that_of_a_gaussian_and_follows_its_unit() -> None:
    f = normal(3000, 2)
    truth = math.log(2 * math.pi * math.e)
    assert float(kozachenko_leonenko(f)) == pytest.approx(truth, abs=0.06)
    assert float(kozachenko_leonenko(3 * f)) == pytest.approx(float(kozachenko_leonenko(f)) + 2 * math.log(3), abs=1e-9)


def test_duplicates_read_minus_infinity_without_a_nan() -> None:
    f = torch.cat([normal(3, 4), normal(1, 4, key=1).repeat(2, 1)]).requires_grad_()
    value = kozachenko_leonenko(f)
    assert value.item() == -math.inf
    assert bool(torch.autograd.grad(value, f)[0].isfinite().all())


def test_terms_sum_over_images() -> None:
    x, y = normal(8, 5).requires_grad_(), labels(2, 4)
    shown, sets = batch(x, y), x.unflatten(0, (2, 4))
    torch.testing.assert_close(CodingRate(flat, 0.5)(shown, shown), -4 * coding_rate(sets, 0.5).sum())
    torch.testing.assert_close(NeighbourEntropy(flat, 2)(shown, shown), -4 * kozachenko_leonenko(sets, 2).sum())
    one = batch(x[:2], labels(2, 1))
    (still,) = torch.autograd.grad(CodingRate(flat, 0.5)(one, one), x)
    assert torch.equal(still, torch.zeros_like(x))


def test_what_is_not_allowed_is_said() -> None:
    with pytest.raises(ValueError, match=r"variance must be positive, got 0"):
        coding_rate(normal(3, 2), 0.0)
    with pytest.raises(ValueError, match=r"k must lie in 1\.\.2 for 3 images, got 3"):
        kozachenko_leonenko(normal(3, 2), 3)
