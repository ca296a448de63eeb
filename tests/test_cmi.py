"""CMI: values and gradients against the float64 oracle, soft membership, numerics, and the term on real views."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from infodistill.compute import Policy, View
from infodistill.information import (
    CMI,
    CentroidCMI,
    conditional_mutual_information,
    logits,
    soft_conditional_mutual_information,
)
from infodistill.nets.convnet import convnet
from infodistill.nets.initialise import initialise
from infodistill.seeding import stream
from infodistill.types import ValueSpace
from infodoubles import PixelTeacher, batch
from oracles import information as oracle

Y = torch.tensor([0, 2, 1, 1, 0, 2, 2, 0])


def normal(*shape: int, key: int = 0) -> Tensor:
    return torch.randn(*shape, generator=stream(key, "cmi"), dtype=torch.float64)


def seeded_view(policy: Policy | None = None, space: ValueSpace | None = None) -> View:
    net = convnet(depth=2, width=8)((1, 8, 8), 3)
    initialise(net, stream(3, "teacher"))
    return View.own(net.requires_grad_(False), policy=policy or Policy(), space=space)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
def test_term_value_and_gradient_are_the_oracle(temperature: float) -> None:
    x = normal(8, 1, 2, 3).requires_grad_()
    value = CMI(PixelTeacher(), temperature)(batch(x, Y), batch(x, Y))
    (grad,) = torch.autograd.grad(value, x)
    z = x.detach().flatten(1).numpy()
    assert value.item() == pytest.approx(oracle.cmi(oracle.softmax(z / temperature), Y.numpy()), abs=1e-13)
    expected = oracle.cmi_gradient(z, Y.numpy(), temperature)
    np.testing.assert_allclose(grad.flatten(1).numpy(), expected, rtol=0, atol=1e-13)


def test_gradcheck_first_and_second_order() -> None:
    def value(z: Tensor, member: Tensor) -> Tensor:
        return soft_conditional_mutual_information(z.softmax(1), member.softmax(1))

    inputs = (normal(6, 4).requires_grad_(), normal(6, 3, key=1).requires_grad_())
    assert torch.autograd.gradcheck(value, inputs)
    assert torch.autograd.gradgradcheck(value, inputs)
    p = normal(8, 5).softmax(1).requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: conditional_mutual_information(rows, Y), (p,))


def test_soft_membership_value_and_both_gradients() -> None:
    z, member = normal(8, 5).requires_grad_(), normal(8, 3, key=1).softmax(1).requires_grad_()
    value = soft_conditional_mutual_information(z.softmax(1), member)
    by_z, by_member = torch.autograd.grad(value, (z, member))
    p, m = z.softmax(1).detach().numpy(), member.detach().numpy()
    assert value.item() == pytest.approx(oracle.soft_cmi(p, m), abs=1e-13)
    expected_z, expected_member = oracle.soft_cmi_gradients(z.detach().numpy(), m)
    np.testing.assert_allclose(by_z.numpy(), expected_z, rtol=0, atol=1e-13)
    # Along the simplex: membership that moves between classes of one image.
    tangent = by_member.numpy() - by_member.numpy().mean(1, keepdims=True)
    np.testing.assert_allclose(tangent, expected_member - expected_member.mean(1, keepdims=True), rtol=0, atol=1e-13)


def test_soft_membership_equals_hard_for_one_hot_rows_and_tolerates_absent_classes() -> None:
    p = normal(8, 5).softmax(1)
    one_hot = torch.nn.functional.one_hot(Y, 7).double()  # columns 3..6 are empty
    hard = conditional_mutual_information(p, Y)
    torch.testing.assert_close(soft_conditional_mutual_information(p, one_hot), hard, rtol=0, atol=1e-15)
    torch.testing.assert_close(conditional_mutual_information(p, 10 * Y + 5), hard, rtol=0, atol=1e-15)


def test_learned_labels_are_active_at_one_image_per_class() -> None:
    learned = normal(3, 3, key=2).requires_grad_()
    x = normal(3, 1, 2, 3).requires_grad_()
    syn = batch(x, torch.arange(3), target=learned.softmax(1))
    value = CMI(PixelTeacher())(syn, syn)
    by_x, by_label = torch.autograd.grad(value, (x, learned))
    assert value.item() > 0
    assert by_x.abs().max() > 0
    assert by_label.abs().max() > 0


def test_extreme_logits_stay_finite_and_right() -> None:
    z = 1e4 * normal(8, 6)
    for dtype in (torch.float32, torch.float64):
        rows = z.clone().to(dtype).requires_grad_()
        value = conditional_mutual_information(rows.softmax(1), Y)
        (grad,) = torch.autograd.grad(value, rows)
        assert value.item() == pytest.approx(oracle.cmi(oracle.softmax(z.numpy()), Y.numpy()), rel=1e-5)
        assert bool(grad.isfinite().all())


def test_float32_is_accurate_where_cmi_is_tiny() -> None:
    z = 0.02 * normal(80, 512)  # pooled features of a plain ConvNet: CMI about 2e-4
    y = torch.arange(8).repeat(10)
    value = conditional_mutual_information(z.float().softmax(1), y).item()
    assert value == pytest.approx(oracle.cmi(oracle.softmax(z.numpy()), y.numpy()), rel=5e-3)
    rows = z.float().requires_grad_()
    (grad,) = torch.autograd.grad(conditional_mutual_information(rows.softmax(1), y), rows)
    expected = oracle.cmi_gradient(z.numpy(), y.numpy())
    assert np.linalg.norm(grad.numpy() - expected) < 1e-3 * np.linalg.norm(expected)


@pytest.mark.parametrize("policy", [Policy(), Policy(chunk=3), Policy(chunk=2, recompute=True)])
def test_the_term_through_a_network_is_the_oracle_however_it_is_chunked(policy: Policy) -> None:
    view, y = seeded_view(policy), torch.arange(3).repeat_interleave(3)
    x = normal(9, 1, 8, 8).float().requires_grad_()
    value = CMI(PixelTeacher(view))(batch(x, y), batch(x, y))
    (grad,) = torch.autograd.grad(value, x)
    z = view.stages(x)[-1]
    features = z.detach().double().numpy()
    by_feature = torch.from_numpy(oracle.cmi_gradient(features, y.numpy())).float()
    (expected,) = torch.autograd.grad(z, x, by_feature)
    assert value.item() == pytest.approx(oracle.cmi(oracle.softmax(features), y.numpy()), rel=1e-4)
    torch.testing.assert_close(grad, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_value_spaces_are_converted_for_the_teacher() -> None:
    y, own, other = torch.arange(3).repeat_interleave(2), ValueSpace((0.3,), (0.2,)), ValueSpace((0.5,), (0.9,))
    pixels = torch.rand(6, 1, 8, 8, generator=stream(0, "pixels"))
    term = CMI(PixelTeacher(seeded_view(space=own)))
    here, there = (batch(space.from_pixels(pixels), y, space=space) for space in (own, other))
    torch.testing.assert_close(term(here, here), term(there, there), rtol=1e-4, atol=1e-7)


def test_logits_are_a_passed_function() -> None:
    view, y = seeded_view(), torch.arange(3).repeat_interleave(2)
    x = normal(6, 1, 8, 8).float()
    with torch.no_grad():
        value = CMI(PixelTeacher(view), feature=logits)(batch(x, y), batch(x, y))
        expected = conditional_mutual_information(view.module(x).softmax(1), y)
    torch.testing.assert_close(value, expected)


def test_real_centroids_value_and_gradient() -> None:
    real_y = torch.arange(3).repeat(4)
    x, real_x = normal(8, 1, 2, 3).requires_grad_(), normal(12, 1, 2, 3, key=5).requires_grad_()
    value = CentroidCMI(PixelTeacher())(batch(x, Y), batch(real_x, real_y))
    p, q = (oracle.softmax(side.detach().flatten(1).numpy()) for side in (x, real_x))
    assert value.item() == pytest.approx(oracle.centroid_divergence(p, Y.numpy(), q, real_y.numpy()), abs=1e-13)
    grad, nothing = torch.autograd.grad(value, (x, real_x), allow_unused=True)
    assert nothing is None
    centroids = np.stack([q[real_y.numpy() == c].mean(0) for c in Y])
    expected = [row * (np.log(row / c) - oracle.kl(row, c)) / 8 for row, c in zip(p, centroids, strict=True)]
    np.testing.assert_allclose(grad.flatten(1).numpy(), np.stack(expected), rtol=0, atol=1e-13)


def test_real_centroids_are_active_at_one_image_per_class_and_beyond_its_bound() -> None:
    x, real_x = 5 * normal(3, 1, 2, 3), normal(12, 1, 2, 3, key=5)
    y, real = torch.arange(3), batch(real_x, torch.arange(3).repeat(4))
    assert CentroidCMI(PixelTeacher())(batch(x, y), real).item() > 0.1
    assert CMI(PixelTeacher())(batch(x, y), real).item() == 0
    with pytest.raises(ValueError, match="needs real images of every class"):
        CentroidCMI(PixelTeacher())(batch(x, y), real.rows(torch.tensor([0, 1, 3, 4])))


def test_one_image_per_class_is_refused_at_construction() -> None:
    def made(decoded: int, target: Tensor) -> SimpleNamespace:
        syn = batch(torch.zeros(len(target), 1, 2, 3), target.argmax(1), target=target)
        return SimpleNamespace(decoded_per_class=decoded, batch=lambda: syn)

    term, hard = CMI(PixelTeacher()), torch.eye(3)
    with pytest.raises(ValueError, match="CMI is identically zero at one image per class"):
        term.check(made(1, hard))
    term.check(made(4, hard.repeat_interleave(4, 0)))
    term.check(made(1, 0.9 * hard + 0.1 / 3))
    term.check(made(1, hard.clone().requires_grad_()))


def test_garbage_is_refused() -> None:
    p = normal(4, 3).softmax(1)
    with pytest.raises(ValueError, match="sum to 1"):
        conditional_mutual_information(2 * p, torch.zeros(4, dtype=torch.long))
    with pytest.raises(ValueError, match="sum to 1"):
        conditional_mutual_information(p.log(), torch.zeros(4, dtype=torch.long))
    with pytest.raises(ValueError, match="sum to 1"):
        conditional_mutual_information(torch.full_like(p, torch.nan), torch.zeros(4, dtype=torch.long))
    with pytest.raises((ValueError, TypeError), match=r"one row per label|Type-check"):
        conditional_mutual_information(p, torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match="membership"):
        soft_conditional_mutual_information(p, 3 * p)
    with pytest.raises(ValueError, match="temperature must be positive"):
        CMI(PixelTeacher(), temperature=0)


def test_a_class_without_members_has_no_derivative_either() -> None:
    """One-sided: as membership of an empty class grows from 0 its centroid is the image itself."""
    p = torch.randn(4, 5, generator=stream(0, "p"), dtype=torch.float64).softmax(1)
    base = torch.eye(4, dtype=torch.float64)[torch.tensor([0, 0, 1, 1])]

    def value(share: torch.Tensor) -> torch.Tensor:
        moved = torch.stack([1 - share, 0 * share, 0 * share, share])
        return soft_conditional_mutual_information(p, torch.cat([moved[None], base[1:]]))

    share = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(value(share), share)
    wanted = (value(torch.tensor(1e-6, dtype=torch.float64)) - value(torch.tensor(0.0, dtype=torch.float64))) / 1e-6
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-7)
