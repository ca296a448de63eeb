"""C2 and C3: oracles in value and gradient, the two-point table, exactness at one image, repulsion, the sum form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from igdssets import batch, flat, labels, normal
from infodistill.information import (
    CodeEntropy,
    MixtureEntropy,
    bandwidth_from_pairs,
    channel_entropy,
    code_bound,
    kolchinsky_tracey,
    leave_one_out_upper_bound,
    pairwise_kl_upper_bound,
)
from infodistill.seeding import stream
from oracles import igds as oracle


def test_values_and_gradients_are_the_loop_over_classes_and_pairs() -> None:
    f = normal(3, 5, 4).requires_grad_()
    for bound, scale in ((kolchinsky_tracey, 8.0), (pairwise_kl_upper_bound, 2.0)):
        value = bound(f, 0.3)
        (grad,) = torch.autograd.grad(value.sum(), f)
        for c, rows in enumerate(f.detach().numpy()):
            assert value[c].item() == pytest.approx(oracle.told_apart(rows, 0.3 * scale), abs=1e-12)
            expected = oracle.told_apart_gradient(rows, 0.3 * scale)
            np.testing.assert_allclose(grad[c].numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("apart", "lower", "truth", "upper"),
    [(0, 2.838, 2.838, 2.838), (1, 2.898, 2.948, 3.057), (4, 3.404, 3.470, 3.531), (20, 3.531, 3.531, 3.531)],
)
def test_two_points_in_the_plane(apart: float, lower: float, truth: float, upper: float) -> None:
    """h(Z) of two unit Gaussians: (d/2) log(2 pi e) plus each bound; the truth by sampling."""
    f = torch.tensor([[0.0, 0.0], [apart, 0.0]], dtype=torch.float64)
    constant = channel_entropy(2, 1.0)
    assert constant == pytest.approx(2.838, abs=5e-4)
    assert constant + kolchinsky_tracey(f, 1.0).item() == pytest.approx(lower, abs=6e-4)
    assert constant + pairwise_kl_upper_bound(f, 1.0).item() == pytest.approx(upper, abs=6e-4)
    z = f + torch.randn(60_000, 2, 2, generator=stream(0, "plane"), dtype=torch.float64)
    assert constant + code_bound(z, f, 1.0).item() == pytest.approx(truth, abs=4e-3)


def test_constant_of_the_channel_counts_its_width_and_dimension() -> None:
    assert channel_entropy(3, 0.25) == pytest.approx(1.5 * math.log(2 * math.pi * math.e * 0.25), abs=1e-14)


def test_one_image_is_exactly_inert() -> None:
    x = normal(3, 6).float().requires_grad_()
    value = MixtureEntropy(flat, 0.1)(batch(x, labels(3, 1)), batch(x, labels(3, 1)))
    (grad,) = torch.autograd.grad(value, x)
    assert value.item() == 0
    assert torch.equal(grad, torch.zeros_like(grad))


def test_two_images_repel_and_classes_ignore_each_other() -> None:
    x = normal(4, 6).requires_grad_()
    term, y = MixtureEntropy(flat, 1.0), labels(2, 2)
    (grad,) = torch.autograd.grad(term(batch(x, y), batch(x, y)), x)
    for first in (0, 2):
        away = (x[first] - x[first + 1]).detach()
        assert float(-grad[first] @ away) > 0
        torch.testing.assert_close(grad[first], -grad[first + 1], rtol=0, atol=1e-14)
    alone = torch.autograd.grad(term(batch(x[:2], y[:2]), batch(x, y)), x)[0]
    torch.testing.assert_close(alone[:2], grad[:2], rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_coincident_images_have_no_force_and_no_nan(dtype: torch.dtype) -> None:
    x = (normal(1, 6).to(dtype).repeat(4, 1) + 3).requires_grad_()
    value = MixtureEntropy(flat, 0.1)(batch(x, labels(1, 4)), batch(x, labels(1, 4)))
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert torch.equal(torch.autograd.grad(value, x)[0], torch.zeros_like(x))


def test_at_most_log_n_and_reaches_it() -> None:
    for scale in (0.1, 1.0, 100.0):
        assert float(kolchinsky_tracey(scale * normal(7, 3), 1.0)) <= math.log(7) + 1e-12
    assert float(kolchinsky_tracey(1e3 * normal(7, 3), 1.0)) == pytest.approx(math.log(7), abs=1e-9)


def test_force_on_an_image_does_not_depend_on_how_many_there_are() -> None:
    """Two far pairs feel what one pair feels: the cost is a sum over images, not a mean."""
    pair = normal(2, 6)
    both = torch.cat([pair, pair + 1e3])
    term = MixtureEntropy(flat, 1.0)
    forces: list[Tensor] = []
    for rows in (pair, both):
        x = rows.clone().requires_grad_()
        y = labels(1, len(x))
        forces.append(torch.autograd.grad(term(batch(x, y), batch(x, y)), x)[0])
    torch.testing.assert_close(forces[1][:2], forces[0], rtol=1e-9, atol=0)


def test_term_is_the_sum_over_images_and_says_what_each_is_worth() -> None:
    x, y = normal(6, 5), labels(2, 3)
    term = MixtureEntropy(flat, 0.7)
    each = term.per_image(batch(x, y), batch(x, y))
    torch.testing.assert_close(each.unflatten(0, (2, 3)).mean(1), kolchinsky_tracey(x.unflatten(0, (2, 3)), 0.7))
    torch.testing.assert_close(term(batch(x, y), batch(x, y)), -each.sum())


def test_code_bounds_are_the_loop_and_stand_on_either_side() -> None:
    mean, variance = normal(5, 3), normal(5, 3, key=1).exp()
    z = mean + variance.sqrt() * normal(4, 5, 3, key=2)
    arrays = (z.numpy(), mean.numpy(), variance.numpy())
    assert code_bound(z, mean, variance).item() == pytest.approx(oracle.code_values(*arrays, own=True), abs=1e-12)
    left_out = leave_one_out_upper_bound(z, mean, variance).item()
    assert left_out == pytest.approx(oracle.code_values(*arrays, own=False), abs=1e-12)
    assert float(code_bound(z[:, :1], mean[:1], variance[:1])) == 0
    many = mean + variance.sqrt() * torch.randn(4000, 5, 3, generator=stream(1, "z"), dtype=torch.float64)
    assert float(code_bound(many, mean, variance)) <= math.log(5) < float(code_bound(many, mean, variance)) + 1
    batched = code_bound(torch.stack([z, z + 1]), torch.stack([mean, mean + 1]), torch.stack([variance, variance]))
    torch.testing.assert_close(batched, code_bound(z, mean, variance).expand(2), rtol=0, atol=1e-12)


def test_code_term_is_keyed_inert_at_one_image_and_above_the_closed_form() -> None:
    def encoder(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x.flatten(1), torch.full_like(x.flatten(1), math.log(0.5))

    x = normal(8, 6).requires_grad_()
    shown = batch(x, labels(2, 4))
    value = CodeEntropy(encoder, samples=500)(shown, shown)
    assert torch.equal(value, CodeEntropy(encoder, samples=500)(shown, shown))
    assert not torch.equal(value, CodeEntropy(encoder, samples=500, seed=1)(shown, shown))
    kt = MixtureEntropy(flat, 0.5)(shown, shown)
    assert -8 * math.log(4) <= value.item() < kt.item() < 0  # KT is looser by its Chernoff step
    force = torch.autograd.grad(value, x)[0]
    apart = torch.autograd.grad(kt, x)[0]
    assert torch.cosine_similarity(force.flatten(), apart.flatten(), 0) > 0.7
    one = batch(x[:2], labels(2, 1))
    assert CodeEntropy(encoder)(one, one).item() == 0
    (still,) = torch.autograd.grad(CodeEntropy(encoder)(one, one), x)
    torch.testing.assert_close(still, torch.zeros_like(still), rtol=0, atol=1e-12)


def test_bandwidth_makes_a_typical_pair_overlap_by_one_in_n_plus_one() -> None:
    for n in (1, 5, 50):
        assert math.exp(-3.0 / (8 * bandwidth_from_pairs(3.0, n))) == pytest.approx(1 / (n + 1), rel=1e-12)


def test_what_is_not_allowed_is_said() -> None:
    with pytest.raises(ValueError, match=r"variance must be positive, got -1"):
        MixtureEntropy(flat, -1.0)
    with pytest.raises(ValueError, match=r"variances must be positive, got 0"):
        code_bound(normal(2, 3, 4), normal(3, 4), 0.0)
    with pytest.raises(ValueError, match=r"at least 2 images, got 1"):
        leave_one_out_upper_bound(normal(2, 1, 4), normal(1, 4), 1.0)
    with pytest.raises(ValueError, match=r"positive distance and n >= 1 images, got d2 = 1.0 and n = 0"):
        bandwidth_from_pairs(1.0, 0)
    with pytest.raises(ValueError, match=r"class-major, equally many of every class, got classes \[0, 0, 1\]"):
        MixtureEntropy(flat, 1.0)(batch(normal(3, 2), torch.tensor([0, 0, 1])), batch(normal(3, 2), labels(3, 1)))
