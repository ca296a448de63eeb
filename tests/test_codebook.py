"""C7, the codebook: oracle in value and gradient, a discrete law, the chain rule, inert at one image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from igdssets import batch, clusters, flat, labels, normal
from infodistill.information import CodebookInformation, code_mixtures, codebook_information, codebook_profile
from oracles import igds as oracle

H = 2.5


@pytest.mark.parametrize("entries", [2**23, 5])
def test_value_and_gradient_are_the_class_loop(entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unequal real rows in no order, two of three classes in view; all at once and class by class."""
    monkeypatch.setattr(code_mixtures, "ENTRIES", entries)
    real_y = torch.tensor([2, 0, 1, 1, 0, 2, 2, 1, 1])
    real_f, codes = normal(9, 4), normal(2, 3, 4, key=1).requires_grad_()
    value = codebook_information(real_f, real_y, codes, torch.tensor([2, 1]), bandwidth=H)
    (grad,) = torch.autograd.grad(value.sum(), codes)
    for row, label in enumerate((2, 1)):
        rows = real_f[real_y == label].numpy()
        expected, by_codes = oracle.codebook(rows, codes[row].detach().numpy(), H)
        assert value[row].item() == pytest.approx(expected, abs=1e-12)
        np.testing.assert_allclose(grad[row].numpy(), by_codes, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("n", "points"), [(3, 5), (8, 5), (5, 5)])
def test_at_most_log_n_and_the_entropy_of_a_discrete_law(n: int, points: int) -> None:
    """X uniform on a few points: H(X|Y) = log(points), however many images there are and however sharp they are."""
    law = 3 * normal(points, 4)
    for key in range(4):
        for h in (0.01, 1.0, 100.0):
            codes = law[torch.arange(n) % points][None] + 0.1 * normal(1, n, 4, key=key)
            value = codebook_information(law, labels(1, points), codes, torch.tensor([0]), bandwidth=h)
            assert -1e-12 <= value.item() <= min(math.log(n), math.log(points)) + 1e-12
    exact = codebook_information(law, labels(1, points), law[None], torch.tensor([0]), bandwidth=1e-3)
    assert exact.item() == pytest.approx(math.log(points), abs=1e-9)


def test_one_image_is_exactly_inert_in_float32() -> None:
    real_f, real_y = (part for part in clusters(3, 7, 4, apart=2.0))
    x = normal(3, 4).float().requires_grad_()
    cost = CodebookInformation(flat, H)(batch(x, labels(3, 1)), batch(real_f.float(), real_y))
    assert cost.item() == 0
    assert torch.equal(torch.autograd.grad(cost, x)[0], torch.zeros_like(x))


def test_coincident_and_far_codes_stay_finite() -> None:
    real_f, real_y = clusters(2, 6, 4, apart=2.0)
    for f in (normal(1, 4).repeat(6, 1), normal(6, 4) + 1e4):
        x = f.float().requires_grad_()
        cost = CodebookInformation(flat, 0.01)(batch(x, labels(2, 3)), batch(real_f.float(), real_y))
        assert bool(cost.isfinite())
        assert bool(torch.autograd.grad(cost, x)[0].isfinite().all())


def test_term_is_the_sum_over_images_and_images_are_worth_what_they_tell() -> None:
    real_f, real_y = clusters(2, 9, 4, apart=2.0)
    x, y = normal(6, 4), labels(2, 3)
    term, real = CodebookInformation(flat, H), batch(real_f, real_y)
    value = codebook_information(real_f, real_y, x.unflatten(0, (2, 3)), torch.arange(2), bandwidth=H)
    torch.testing.assert_close(term(batch(x, y), real), -3 * value.sum())
    each = term.per_image(batch(x, y), real).unflatten(0, (2, 3))
    distance = (real_f.unflatten(0, (2, 9))[:, :, None] - x.unflatten(0, (2, 3))[:, None]).square().sum(3)
    use = (distance / -H).softmax(2).mean(1)
    torch.testing.assert_close((use * each).sum(1), value)


def test_chain_rule_of_a_code_over_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """I(X;J) = I(J;Y) + I(X;J|Y), each from its own table."""
    real_y = torch.tensor([2, 0, 1, 1, 0, 2, 2, 1, 1])
    real_f, codes = normal(9, 4), normal(6, 4, key=1)
    profile = codebook_profile(real_f, real_y, codes, bandwidth=H, classes=3)
    weight = np.array([1 / 3 / (real_y == y).sum().item() for y in real_y])
    table = weight[:, None] * (torch.cdist(real_f, codes).square() / -H).softmax(1).numpy()
    by_class = np.stack([table[real_y.numpy() == c].sum(0) for c in range(3)])
    within = sum(oracle.joint_information(3 * table[real_y.numpy() == c]) / 3 for c in range(3))
    expected = (oracle.joint_information(table), oracle.joint_information(by_class), within)
    assert tuple(profile) == pytest.approx(expected, abs=1e-10)
    assert profile.joint == pytest.approx(profile.prototype + profile.contextual, abs=1e-12)
    assert profile.joint <= math.log(6)
    assert profile.prototype <= math.log(3)
    monkeypatch.setattr(code_mixtures, "ENTRIES", 12)
    again = codebook_profile(real_f, real_y, codes, bandwidth=H, classes=3)
    assert tuple(again) == pytest.approx(tuple(profile), abs=1e-12)


def test_what_is_not_allowed_is_said() -> None:
    real_f, real_y = clusters(2, 4, 3, apart=1.0)
    codes = normal(2, 2, 3)
    with pytest.raises(ValueError, match=r"bandwidth h must be positive, got 0"):
        codebook_information(real_f, real_y, codes, torch.arange(2), bandwidth=0.0)
    with pytest.raises(ValueError, match=r"every class needs a row"):
        codebook_information(real_f, real_y, codes, torch.tensor([0, 5]), bandwidth=H)
    with pytest.raises(ValueError, match=r"every class needs a row, classes \[2\]"):
        codebook_profile(real_f, real_y, codes.flatten(0, 1), bandwidth=H, classes=3)
