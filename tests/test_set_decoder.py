"""P3, the set decoder: oracle in value and gradient, its laws, decoupled against coupled, and the terms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from igdssets import batch, clusters, flat, labels, normal
from infodistill.data import load_data
from infodistill.diffusion.features import Pooled
from infodistill.information import (
    CoupledSetDecoder,
    SetDecoder,
    code_mixtures,
    decoupled_information,
    median_pair_distance,
    set_decoder_information,
    set_decoder_log_likelihood,
    tightest_bandwidth,
)
from infodistill.types import Batch, ValueSpace
from oracles import igds as oracle

H = 2.5


def uneven() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Real rows and codes of three classes, unequal numbers, no order."""
    real_y, code_y = torch.tensor([2, 0, 1, 1, 0, 2, 2, 1, 1]), torch.tensor([1, 0, 2, 0, 1, 1])
    return normal(9, 4), real_y, normal(6, 4, key=1), code_y


def information(real_f: Tensor, real_y: Tensor, code_f: Tensor, code_y: Tensor, h: float = H) -> Tensor:
    return set_decoder_information(real_f, real_y, code_f, code_y, bandwidth=h, classes=int(real_y.max()) + 1)


@pytest.mark.parametrize("h", [0.7, 2.5, 30.0])
def test_value_and_gradient_are_the_class_loop(h: float) -> None:
    real_f, real_y, code_f, code_y = uneven()
    value = information(real_f, real_y, code_f.requires_grad_(), code_y, h)
    (grad,) = torch.autograd.grad(value, code_f)
    arrays = (real_f.numpy(), real_y.numpy(), code_f.detach().numpy(), code_y.numpy())
    assert value.item() == pytest.approx(oracle.set_decoder(*arrays, h), abs=1e-12)
    np.testing.assert_allclose(grad.numpy(), oracle.set_decoder_gradient(*arrays, h), rtol=0, atol=1e-12)


def test_pieces_change_neither_value_nor_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    real_f, real_y, code_f, code_y = uneven()
    whole = information(real_f, real_y, code_f.requires_grad_(), code_y)
    (grad,) = torch.autograd.grad(whole, code_f)
    monkeypatch.setattr(code_mixtures, "ENTRIES", 12)
    value = information(real_f, real_y, code_f, code_y)
    torch.testing.assert_close(torch.autograd.grad(value, code_f)[0], grad, rtol=0, atol=1e-14)
    with torch.no_grad():
        torch.testing.assert_close(information(real_f, real_y, code_f, code_y), whole, rtol=0, atol=1e-14)
    codes, centres = normal(2, 2, 4, key=5), normal(3, 2, 4, key=6)
    parts = decoupled_information(real_f, real_y, codes, torch.tensor([2, 0]), centres=centres, bandwidth=H)
    monkeypatch.undo()
    alone = decoupled_information(real_f, real_y, codes, torch.tensor([2, 0]), centres=centres, bandwidth=H)
    torch.testing.assert_close(parts, alone, rtol=0, atol=1e-14)


def test_never_above_log_classes_and_reaches_it_where_classes_are_apart() -> None:
    for key in range(5):
        real_f, y = clusters(4, 6, 3, apart=2.0, key=key)
        assert information(real_f, y, normal(8, 3, key=key + 9), labels(4, 2)) <= math.log(4)
    real_f, y = clusters(4, 6, 3, apart=60.0)
    assert information(real_f, y, real_f, y).item() == pytest.approx(math.log(4), abs=1e-9)


def test_zero_where_all_classes_share_one_set_and_negative_where_it_misleads() -> None:
    real_f, y = clusters(3, 5, 4, apart=3.0)
    shared = normal(2, 4, key=5).repeat(3, 1)
    assert information(real_f, y, shared, labels(3, 2)).item() == pytest.approx(0.0, abs=1e-12)
    means = torch.stack([real_f[y == c].mean(0) for c in range(3)])
    assert information(real_f, y, means.roll(1, 0), torch.arange(3)) < 0


def test_at_most_the_true_information_of_a_known_law() -> None:
    """Two unit normals at +-1: I(X;Y) = .4860 nats, by quadrature; the set of their means with h = 2 attains it."""
    grid = torch.linspace(-9, 9, 4001, dtype=torch.float64)[:, None]
    density = torch.cat([torch.exp(-((grid - m) ** 2) / 2) / math.sqrt(2 * math.pi) for m in (-1.0, 1.0)], 1)
    posterior = density / density.sum(1, keepdim=True)
    truth = math.log(2) + 0.5 * (density * posterior.log()).sum().item() * 18 / 4000

    def bound(codes: list[float], h: float) -> float:
        told = [
            set_decoder_log_likelihood(
                grid, torch.full((4001,), c), torch.tensor(codes)[:, None].double(), labels(2, len(codes) // 2),
                bandwidth=h, classes=2,
            )
            for c in (0, 1)
        ]  # fmt: skip
        return math.log(2) + 0.5 * (density * torch.stack(told, 1)).sum().item() * 18 / 4000

    assert bound([-1.0, 1.0], 2.0) == pytest.approx(truth, abs=1e-9)
    for codes, h in (([-1.0, 1.0], 0.5), ([-0.5, 2.0], 2.0), ([-2.0, -0.3, 0.1, 1.0], 0.4)):
        assert bound(codes, h) < truth


def test_decoupled_is_coupled_where_the_other_codes_are_the_centres() -> None:
    real_f, y = clusters(4, 5, 3, apart=1.0)
    codes = normal(4, 2, 3, key=7).requires_grad_()
    value = decoupled_information(real_f, y, codes, torch.arange(4), centres=codes.detach(), bandwidth=H)
    coupled = information(real_f, y, codes.flatten(0, 1), labels(4, 2))
    torch.testing.assert_close(value, coupled.expand(4), rtol=0, atol=1e-13)
    (alone,), (together,) = torch.autograd.grad(value.sum(), codes), torch.autograd.grad(coupled, codes)
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-13)


def test_decoupled_classes_do_not_see_each_other_and_follow_the_class_loop() -> None:
    real_f, y = clusters(4, 5, 3, apart=1.0)
    centres, codes = normal(4, 3, 3, key=3), normal(2, 2, 3, key=7).requires_grad_()
    value = decoupled_information(real_f, y, codes, torch.tensor([3, 1]), centres=centres, bandwidth=H)
    (grad,) = torch.autograd.grad(value.sum(), codes)
    for row, label in enumerate((3, 1)):
        kept = torch.arange(4) != label
        everything = torch.cat([centres[kept].flatten(0, 1), codes[row].detach()])
        code_y = torch.cat([torch.arange(4)[kept].repeat_interleave(3), torch.tensor([label, label])])
        arrays = (real_f.numpy(), y.numpy(), everything.numpy(), code_y.numpy())
        assert value[row].item() == pytest.approx(oracle.set_decoder(*arrays, H), abs=1e-12)
        expected = oracle.set_decoder_gradient(*arrays, H)[code_y == label]
        np.testing.assert_allclose(grad[row].numpy(), expected, rtol=0, atol=1e-12)


def test_sum_of_the_others_is_exact_where_one_class_is_nearly_everything() -> None:
    scores = torch.tensor([[0.0, 3.0, -900.0], [-80.0, 3.0, 5.0], [-90.0, 1.0, -40.0]]).float()
    expected = torch.stack([scores.double()[torch.arange(3) != c].logsumexp(0) for c in range(3)])
    torch.testing.assert_close(code_mixtures.logsumexp_of_others(scores).double(), expected, rtol=1e-6, atol=1e-6)
    one = scores[:1]
    assert bool((code_mixtures.logsumexp_of_others(one) == -torch.inf).all())
    real_f, y = normal(4, 3), labels(1, 4)  # a single class tells nothing
    code = normal(1, 2, 3).requires_grad_()
    value = decoupled_information(real_f, y, code, labels(1, 1), centres=normal(1, 2, 3), bandwidth=H)
    assert value.tolist() == [0.0]
    assert torch.equal(torch.autograd.grad(value.sum(), code)[0], torch.zeros_like(code))


@pytest.mark.parametrize("n", [1, 3])
def test_terms_are_sums_over_images_of_minus_the_bound(n: int) -> None:
    real_f, real_y = clusters(3, 5, 4, apart=1.0)
    f, y = normal(3 * n, 4, key=2).requires_grad_(), labels(3, n)
    real = batch(real_f, real_y)
    coupled, alone = CoupledSetDecoder(flat, H, 3), SetDecoder(flat, H, f.detach().unflatten(0, (3, n)))
    cost = coupled(batch(f, y), real)
    assert cost.item() == pytest.approx(-n * information(real_f, real_y, f, y).item(), abs=1e-12)
    assert alone(batch(f, y), real).item() == pytest.approx(3 * cost.item(), abs=1e-12)
    forces = [torch.autograd.grad(term(batch(f, y), real), f)[0] for term in (coupled, alone)]
    torch.testing.assert_close(*forces, rtol=0, atol=1e-12)


def test_value_per_image_is_of_the_real_images_it_stands_for() -> None:
    real_f, real_y = clusters(2, 6, 3, apart=5.0)
    f = torch.cat([real_f[:6].mean(0, keepdim=True), real_f[6:].mean(0, keepdim=True), real_f[6:7], real_f[7:8]])
    f = torch.cat([f[:1], f[:1] + 100, f[1:2], f[2:3]])  # image 1 stands for nothing in particular, and is finite
    syn, real = batch(f, labels(2, 2)), batch(real_f, real_y)
    for term in (CoupledSetDecoder(flat, H, 2), SetDecoder(flat, H, f.unflatten(0, (2, 2)))):
        value = term.per_image(syn, real)
        assert value.shape == (4,)
        assert bool(value.isfinite().all())
        assert float(value.max()) <= math.log(2)
        told = set_decoder_log_likelihood(real_f, real_y, f, syn.y, bandwidth=H, classes=2)
        assert value[0].item() == pytest.approx(math.log(2) + told[:6].mean().item(), abs=1e-9)


def test_far_sets_and_float32_stay_finite() -> None:
    real_f, y = clusters(3, 4, 6, apart=1.0)
    code = (real_f[::4].float() + 1e4).requires_grad_()
    value = set_decoder_information(real_f.float(), y, code, torch.arange(3), bandwidth=0.01, classes=3)
    (grad,) = torch.autograd.grad(value, code)
    assert bool(value.isfinite())
    assert bool(grad.isfinite().all())
    near = [
        information(real_f.to(t) + 1e3, y, real_f[::4].to(t) + 1e3, torch.arange(3))
        for t in (torch.float32, torch.float64)
    ]
    assert near[0].item() == pytest.approx(near[1].item(), abs=2e-3)


def test_bandwidths_come_from_real_pairs() -> None:
    real_f, y = clusters(3, 9, 4, apart=4.0)
    pairs = [
        float(((a - b) ** 2).sum()) for c in range(3) for i, a in enumerate(real_f[y == c]) for b in real_f[y == c][:i]
    ]
    assert median_pair_distance(real_f, y) == pytest.approx(np.median(pairs), rel=0.03)
    assert median_pair_distance(real_f, y, most=4) == pytest.approx(np.median(pairs), rel=0.5)
    means = torch.stack([real_f[y == c].mean(0) for c in range(3)])
    h, value = tightest_bandwidth(real_f, y, means, torch.arange(3), classes=3)
    for fraction in (0.01, 0.1, 1.0):
        assert value >= information(real_f, y, means, torch.arange(3), fraction * median_pair_distance(real_f, y))
    assert value == pytest.approx(information(real_f, y, means, torch.arange(3), h).item(), abs=1e-12)


def test_gap_and_bandwidth_of_means_of_digits_are_those_of_the_study() -> None:
    """The study, on 1000 of these images: .318 nats at h = .1 d^2 with one centre a class, d = 4.5."""
    digits = load_data("digits")
    shown = digits.rows(torch.arange(len(digits)))
    f, y = digits.space.to_pixels(shown.x).flatten(1) * 2 - 1, shown.y
    assert median_pair_distance(f, y) == pytest.approx(4.5**2, rel=0.05)
    means = torch.stack([f[y == c].mean(0) for c in range(10)])
    h, value = tightest_bandwidth(f, y, means, torch.arange(10), classes=10)
    assert h / median_pair_distance(f, y) == pytest.approx(0.1)
    assert math.log(10) - value == pytest.approx(0.318, abs=0.03)


def test_latents_guide_through_pooled_features_in_any_precision() -> None:
    x = normal(6, 4 * 8 * 8).view(6, 4, 8, 8).float()
    y, space = labels(3, 2), ValueSpace((0.0,) * 4, (1.0,) * 4)
    target = torch.nn.functional.one_hot(y, 3).float()
    centres = Pooled(2)(x).unflatten(0, (3, 2))
    costs: list[Tensor] = []
    for dtype in (torch.float32, torch.bfloat16):
        leaf = x.to(dtype).requires_grad_()
        syn = Batch(leaf, y, target, space)
        cost = SetDecoder(Pooled(2), 3.0, centres)(syn, Batch(x.roll(1, 3), y, target, space))
        assert cost.dtype == torch.float32
        assert torch.autograd.grad(cost, leaf)[0].dtype == dtype
        costs.append(cost.detach())
    torch.testing.assert_close(costs[0], costs[1], rtol=0.02, atol=0.02)


def test_what_is_not_allowed_is_said() -> None:
    real_f, y, code_f, code_y = uneven()
    with pytest.raises(ValueError, match=r"bandwidth h must be positive, got 0"):
        information(real_f, y, code_f, code_y, 0.0)
    with pytest.raises(ValueError, match=r"every class needs a row, classes \[2\]"):
        information(real_f, y, code_f[code_y != 2], code_y[code_y != 2])
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.1, got 2"):
        set_decoder_information(real_f, y, code_f, code_y, bandwidth=H, classes=2)
    with pytest.raises(ValueError, match=r"class-major.*\[1, 0, 2"):
        CoupledSetDecoder(flat, H, 3)(batch(code_f, code_y), batch(real_f, y))
    with pytest.raises(ValueError, match=r"two real images of one class, got 2"):
        median_pair_distance(real_f[:2], y[:2])
