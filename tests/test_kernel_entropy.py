"""C5: Renyi-2 and Vendi against oracles, their laws, gradients at coincident images, and the terms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from igdssets import batch, flat, labels, normal
from infodistill.information import RenyiEntropy, VendiEntropy, kolchinsky_tracey, renyi2_entropy, vendi_entropy
from infodistill.types import Batch, Term
from oracles import igds as oracle

TERMS = (RenyiEntropy(flat, 0.4), VendiEntropy(flat, 0.4))
VALUES = (renyi2_entropy, vendi_entropy)


def gradient(term: Term, x: Tensor, y: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(term(batch(x, y), batch(x, y)), x)[0]


def test_values_are_the_loop_over_classes() -> None:
    f = normal(3, 5, 4)
    for c, rows in enumerate(f.numpy()):
        overlap = np.mean([math.exp(-2 * ((a - b) ** 2).sum() / 3.2) for a in rows for b in rows])
        assert renyi2_entropy(f, 0.4)[c].item() == pytest.approx(-math.log(overlap), abs=1e-12)
        assert vendi_entropy(f, 0.4)[c].item() == pytest.approx(oracle.matrix_entropy(rows, 3.2), abs=1e-12)


def test_gradients_are_the_formula_and_the_finite_difference() -> None:
    f = normal(5, 4).requires_grad_()
    (grad,) = torch.autograd.grad(vendi_entropy(f, 0.4), f)
    expected = oracle.matrix_entropy_gradient(f.detach().numpy(), 3.2)
    np.testing.assert_allclose(grad.numpy(), expected, rtol=0, atol=1e-12)
    for value in VALUES:
        assert torch.autograd.gradcheck(lambda rows, value=value: value(rows, 0.4), (f,))


def test_between_zero_and_log_n_in_the_order_of_renyi() -> None:
    for scale in (0.01, 0.5, 1.0, 3.0, 100.0):
        f = scale * normal(6, 3)
        low, high = (float(value(f, 1.0)) for value in VALUES)
        assert -1e-12 <= low <= high + 1e-12 <= math.log(6) + 2e-12
    assert [float(value(1e3 * normal(6, 3), 1.0)) for value in VALUES] == pytest.approx([math.log(6)] * 2, abs=1e-9)


def test_order_two_of_two_points_and_the_eigenvalues_of_two() -> None:
    f = torch.tensor([[0.0], [2.0]], dtype=torch.float64)
    k = math.exp(-4 / 8)
    assert float(renyi2_entropy(f, 1.0)) == pytest.approx(-math.log((1 + k * k) / 2), abs=1e-14)
    parts = [(1 + k) / 2, (1 - k) / 2]
    assert float(vendi_entropy(f, 1.0)) == pytest.approx(-sum(p * math.log(p) for p in parts), abs=1e-14)
    assert float(kolchinsky_tracey(f, 1.0)) < float(vendi_entropy(f, 1.0))


@pytest.mark.parametrize("term", TERMS, ids=["renyi", "vendi"])
def test_terms_are_inert_at_one_repel_at_two_and_finite_when_images_coincide(term: Term) -> None:
    x = normal(2, 5).float()
    one = term(batch(x, labels(2, 1)), batch(x, labels(2, 1)))
    assert one.item() == pytest.approx(0.0, abs=1e-6)
    assert torch.equal(gradient(term, x, labels(2, 1)), torch.zeros_like(x))
    assert float(-gradient(term, x, labels(1, 2))[0] @ (x[0] - x[1])) > 0
    together = torch.cat([x[:1], x[:1], x[1:], x[1:]])
    force = gradient(term, together, labels(1, 4))
    assert bool(force.isfinite().all())
    torch.testing.assert_close(force[0], force[1], rtol=1e-3, atol=1e-6)
    assert torch.equal(gradient(term, x[:1].repeat(3, 1), labels(1, 3)), torch.zeros(3, 5))


def test_terms_sum_over_images_and_say_what_each_is_worth() -> None:
    x, y = normal(6, 5), labels(2, 3)
    shown: Batch = batch(x, y)
    sets = x.unflatten(0, (2, 3))
    for term, value in zip(TERMS, VALUES, strict=True):
        torch.testing.assert_close(term(shown, shown), -3 * value(sets, 0.4).sum())
    each = TERMS[1].per_image(shown, shown).unflatten(0, (2, 3))
    torch.testing.assert_close(each.mean(1), vendi_entropy(sets, 0.4))
    soft = TERMS[0].per_image(shown, shown).unflatten(0, (2, 3))
    torch.testing.assert_close(-(-soft).exp().mean(1).log(), renyi2_entropy(sets, 0.4))


def test_a_variance_must_be_positive() -> None:
    for make in (RenyiEntropy, VendiEntropy):
        with pytest.raises(ValueError, match=r"variance must be positive, got 0"):
            make(flat, 0.0)
    for value in VALUES:
        with pytest.raises(ValueError, match=r"variance must be positive, got -2"):
            value(normal(3, 2), -2.0)
