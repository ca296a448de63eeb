"""The numbered checks of the specification for CMI (§2.10). All values in nats."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from infodistill.compute import View
from infodistill.information import CMI, conditional_mutual_information
from infodistill.information.cmi import penultimate, penultimate_of_pixels
from infodistill.nets.convnet import convnet
from infodistill.nets.initialise import initialise
from infodistill.seeding import stream
from infodistill.types import ValueSpace
from infodoubles import PixelTeacher, batch, gaussian
from oracles import information as oracle

normal = partial(gaussian, owner="test")


def test_2_10_1_zero_for_identical_images_and_for_one_per_class() -> None:
    p = normal(3, 7).softmax(1)
    repeated = conditional_mutual_information(p.repeat_interleave(5, 0), torch.arange(3).repeat_interleave(5))
    assert float(repeated) == pytest.approx(0, abs=1e-15)
    for dtype in (torch.float32, torch.float64):
        z = normal(6, 512).to(dtype).requires_grad_()
        single = conditional_mutual_information(z.softmax(1), torch.arange(6))
        (grad,) = torch.autograd.grad(single, z)
        assert single.item() == 0
        assert float(grad.abs().max()) < 1e-9


def test_2_10_2_hand_value() -> None:
    p = torch.tensor([[0.0, math.log(3)], [math.log(3), 0.0]], dtype=torch.float64).softmax(1)
    assert float(conditional_mutual_information(p, torch.zeros(2, dtype=torch.long))) == pytest.approx(
        0.130812, abs=1e-6
    )


def test_2_10_3_range() -> None:
    one_hot = (40 * torch.eye(8, dtype=torch.float64)[:6]).softmax(1)
    assert float(conditional_mutual_information(one_hot, torch.zeros(6, dtype=torch.long))) == pytest.approx(
        1.791759, abs=1e-6
    )
    for rows, width in ((4, 9), (9, 4)):
        p = (30 * normal(2 * rows, width)).softmax(1)
        value = float(conditional_mutual_information(p, torch.arange(2).repeat(rows)))
        assert 0 <= value <= math.log(min(rows, width)) + 1e-12


def test_2_10_4_shift_invariance_of_the_term() -> None:
    syn = batch(normal(6, 1, 2, 3), torch.arange(2).repeat(3))
    term = CMI(PixelTeacher())
    moved = batch(syn.x + normal(6, key=2)[:, None, None, None], syn.y)
    torch.testing.assert_close(term(moved, syn), term(syn, syn))


def test_2_10_5_jensen_shannon_identity() -> None:
    p, y = normal(9, 5).softmax(1).numpy(), np.arange(9) % 3
    entropies = [oracle.entropy(p[y == c].mean(0)) - np.mean([oracle.entropy(r) for r in p[y == c]]) for c in range(3)]
    value = conditional_mutual_information(torch.from_numpy(p), torch.from_numpy(y))
    assert float(value) == pytest.approx(np.mean(entropies), abs=1e-12)


def test_2_10_6_gradient_is_the_closed_form_with_and_without_a_fixed_centroid() -> None:
    z, y = normal(8, 6).requires_grad_(), torch.tensor([0, 1, 1, 0, 2, 2, 2, 0])
    (grad,) = torch.autograd.grad(conditional_mutual_information(z.softmax(1), y), z)
    np.testing.assert_allclose(grad.numpy(), oracle.cmi_gradient(z.detach().numpy(), y.numpy()), atol=1e-12)
    p = z.softmax(1)
    fixed = torch.stack([p.detach()[y == c].mean(0) for c in range(3)])[y]
    (held,) = torch.autograd.grad((p * (p.log() - fixed.log())).sum() / 8, z)
    torch.testing.assert_close(held, grad, rtol=0, atol=1e-12)


def test_2_10_7_small_features_give_half_the_within_class_variance() -> None:
    z, y = normal(40, 64), torch.arange(4).repeat(10)
    epsilon = 0.01
    centred = z - z.mean(1, keepdim=True)
    variance = torch.stack([centred[y == c].var(0, unbiased=False).mean() for c in range(4)]).mean()
    value = conditional_mutual_information((epsilon * z).softmax(1), y) / epsilon**2
    assert float(value) == pytest.approx(float(variance) / 2, rel=0.01)


def test_2_10_8_the_direction_of_the_divergence() -> None:
    p, y = normal(6, 5).softmax(1), torch.zeros(6, dtype=torch.long)
    q = p.mean(0, keepdim=True).expand_as(p)
    value = conditional_mutual_information(p, y)
    torch.testing.assert_close(value, F.kl_div(q.log(), p.log(), log_target=True, reduction="batchmean"))
    reverse = F.kl_div(p.log(), q.log(), log_target=True, reduction="batchmean")
    assert abs(float(reverse) - float(value)) > 0.01


def test_2_10_9_labels_matter_only_through_class_membership() -> None:
    p, y = normal(9, 5).softmax(1), torch.arange(3).repeat(3)
    value = conditional_mutual_information(p, y)
    within = torch.tensor([3, 1, 5, 6, 4, 8, 0, 7, 2])
    assert torch.equal(y[within], y)
    torch.testing.assert_close(conditional_mutual_information(p[within], y), value)
    swapped = y.clone()
    swapped[[0, 1]] = swapped[[1, 0]]
    assert not torch.isclose(conditional_mutual_information(p, swapped), value)


def test_2_10_10_minimising_it_alone_gathers_the_classes_and_leaves_the_teacher() -> None:
    net = convnet(depth=2, width=8)((1, 8, 8), 3)
    initialise(net, stream(1, "net"))
    teacher = PixelTeacher(View.own(net.requires_grad_(False)))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    y = torch.arange(3).repeat_interleave(4)
    x = normal(12, 1, 8, 8).float().requires_grad_()
    term, values, spread = CMI(teacher), [], []
    for _ in range(60):
        value = term(batch(x, y), batch(x, y))
        (grad,) = torch.autograd.grad(value, x)
        with torch.no_grad():
            features = net.stages(x)[-1]
            spread.append(float(torch.stack([features[y == c].var(0).mean() for c in range(3)]).mean()))
            x -= 100 * grad
        values.append(value.item())
    assert all(b < a for a, b in pairwise(values))
    assert values[-1] < 0.7 * values[0]
    assert spread[-1] < 0.8 * spread[0]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_teachers_can_be_shown_pixels_as_the_idc_branch_does() -> None:
    """`penultimate_of_pixels` is the feature of [0, 1] pixels taken for values of the teacher's own space."""
    space = ValueSpace((0.4,), (0.25,))
    x, net = torch.randn(4, 1, 8, 8), convnet(depth=2, width=8)((1, 8, 8), 3)
    view = View.own(net, space=space)
    shown = penultimate_of_pixels(view, x, space)
    torch.testing.assert_close(shown, net.stages(x * 0.25 + 0.4)[-1])
    assert not torch.allclose(shown, penultimate(view, x, space))
