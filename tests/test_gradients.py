"""Per-class gradients and their distances, against plain autograd in float64."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from infodistill.class_products import class_products, serves
from infodistill.compute import Policy, View
from infodistill.gradients import (
    batched_gradients,
    class_gradients,
    cross_entropy,
    looped_gradients,
    row_cosine,
    squared_error,
)
from infodistill.nets.convnet import ConvNet, batch_norm, convnet
from infodistill.seeding import stream
from oracles import gradients as oracle

CLASSES = 3


@pytest.fixture
def net() -> ConvNet:
    module = convnet(depth=2, width=4)((2, 8, 8), CLASSES).double()
    generator = stream(0, "weights")
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.5)
    assert isinstance(module, ConvNet)
    return module


def images(per_class: int, owner: str) -> tuple[Tensor, Tensor]:
    x = torch.randn(CLASSES * per_class, 2, 8, 8, generator=stream(1, owner), dtype=torch.float64)
    soft = torch.rand(CLASSES * per_class, CLASSES, generator=stream(2, owner), dtype=torch.float64)
    hard = F.one_hot(torch.arange(CLASSES).repeat_interleave(per_class), CLASSES)
    target = 0.8 * hard + 0.2 * soft / soft.sum(1, keepdim=True)
    return x, target


def stacked(rows: list[list[Tensor]]) -> list[Tensor]:
    return [torch.stack(values) for values in zip(*rows, strict=True)]


@pytest.mark.parametrize("chunk", [None, 2, 3])
def test_real_side_equals_looped_autograd_in_any_chunks(net: ConvNet, chunk: int | None) -> None:
    x, target = images(5, "real")
    ours = class_gradients(View.own(net, policy=Policy(chunk=chunk)), x, target, CLASSES, create_graph=False)
    theirs = stacked(oracle.class_gradients(net, x, target, CLASSES, create_graph=False))
    assert list(ours) == [name for name, _ in net.named_parameters()]
    for value, expected in zip(ours.values(), theirs, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
        assert not value.requires_grad


@pytest.mark.parametrize("form", ["public", "batched", "looped", "recomputed", "products", "chunked products"])
def test_second_order_gradient_to_images_and_targets(net: ConvNet, form: str) -> None:
    x, target = images(3, "syn")
    real = class_gradients(View.own(net), *images(4, "real"), CLASSES, create_graph=False)
    x, target = x.requires_grad_(), target.requires_grad_()
    view = View.own(net)
    pieces = x.unflatten(0, (CLASSES, -1)), target.unflatten(0, (CLASSES, -1))
    ours = {
        "public": lambda: class_gradients(view, x, target, CLASSES, create_graph=True),
        "batched": lambda: batched_gradients(view, *pieces),
        "looped": lambda: looped_gradients(view, *pieces),
        "recomputed": lambda: looped_gradients(view, *pieces, recompute=True),
        "products": lambda: class_products(view, *pieces),
        "chunked products": lambda: class_products(View.own(net, policy=Policy(chunk=2)), *pieces),
    }[form]()
    got = torch.autograd.grad(row_cosine(ours, real), (x, target))

    rows = oracle.class_gradients(net, x, target, CLASSES, create_graph=True)
    loss = sum(
        (oracle.row_cosine(row, [value[c] for value in real.values()]) for c, row in enumerate(rows)),
        torch.zeros((), dtype=torch.float64),
    )
    expected = torch.autograd.grad(loss, (x, target))
    assert expected[0].abs().max() > 1e-3
    for value, wanted in zip(got, expected, strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-12, atol=1e-12)


def test_a_frozen_view_and_explicit_parameters_give_the_same(net: ConvNet) -> None:
    x, target = images(2, "syn")
    params = {name: value.detach().clone() for name, value in net.named_parameters()}
    a = class_gradients(View.own(net.requires_grad_(False)), x, target, CLASSES, create_graph=False)
    b = class_gradients(View(convnet(depth=2, width=4)((2, 8, 8), 3), params), x, target, CLASSES, create_graph=False)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert all(parameter.grad is None for parameter in net.parameters())


def test_row_cosine_of_identical_gradients_keeps_the_published_epsilon() -> None:
    large = {"w": torch.randn(2, 5, 3, 2, 2, generator=stream(0, "g"), dtype=torch.float64) * 10}
    assert float(row_cosine(large, large)) == pytest.approx(0, abs=1e-6)
    small = {"w": large["w"] * 1e-4}
    squares = small["w"].flatten(2).square().sum(2)
    assert float(row_cosine(small, small)) == pytest.approx(float((1e-6 / (squares + 1e-6)).sum()), rel=1e-9)


def test_zero_gradients_count_one_per_row_and_one_dimensional_tensors_nothing() -> None:
    module = convnet()((3, 32, 32), 10)
    zero = {name: torch.zeros(1, *value.shape) for name, value in module.named_parameters()}
    assert float(row_cosine(zero, zero)) == 394
    biased = {name: value + (1 if value.ndim == 2 else 0) for name, value in zero.items()}
    assert float(row_cosine(zero, biased)) == 394


def test_row_cosine_is_scale_free_and_bounded() -> None:
    a = {"w": torch.randn(1, 7, 9, generator=stream(0, "a"), dtype=torch.float64)}
    b = {"w": torch.randn(1, 7, 9, generator=stream(0, "b"), dtype=torch.float64)}
    assert float(row_cosine(a, {"w": 5 * b["w"]})) == pytest.approx(float(row_cosine(a, b)), rel=1e-5)
    assert float(row_cosine(a, {"w": -a["w"]})) == pytest.approx(14, rel=1e-5)


def test_row_cosine_gradient_is_finite_at_zero_rows() -> None:
    a = torch.zeros(1, 2, 3, requires_grad=True)
    row_cosine({"w": a}, {"w": torch.ones(1, 2, 3)}).backward()
    assert a.grad is not None and bool(a.grad.isfinite().all())


def test_squared_error_counts_every_parameter() -> None:
    a = {"w": torch.zeros(2, 3, 4), "b": torch.zeros(2, 3)}
    assert float(squared_error(a, {"w": torch.ones(2, 3, 4), "b": 2 * torch.ones(2, 3)})) == 24 + 24


def test_unequal_classes_and_nothing_to_compare_are_refused(net: ConvNet) -> None:
    x, target = images(2, "syn")
    with pytest.raises(ValueError, match="5 images do not divide into 3 classes"):
        class_gradients(View.own(net), x[:5], target[:5], CLASSES, create_graph=False)
    with pytest.raises(ValueError, match="compares nothing"):
        row_cosine({"b": torch.zeros(1, 3)}, {"b": torch.zeros(1, 3)})


def test_cross_entropy_equals_the_library_on_hard_labels() -> None:
    logits, y = torch.randn(6, 4, generator=stream(0, "l")), torch.tensor([0, 1, 2, 3, 0, 1])
    torch.testing.assert_close(cross_entropy(logits, F.one_hot(y, 4).float()), F.cross_entropy(logits, y))


def test_every_rung_of_the_memory_ladder_gives_the_same_gradient(net: ConvNet) -> None:
    real_x, real_target = images(4, "real")
    syn_x, target = images(2, "syn")

    def image_gradient(policy: Policy) -> Tensor:
        view, x = View.own(net, policy=policy), syn_x.clone().requires_grad_()
        real = class_gradients(view, real_x, real_target, CLASSES, create_graph=False)
        syn = class_gradients(view, x, target, CLASSES, create_graph=True)
        return torch.autograd.grad(row_cosine(syn, real), x)[0]

    policy = Policy(chunk=4)
    expected, rungs = image_gradient(policy), 0
    while (smaller := policy.smaller()) is not None and smaller.groups == 1:
        policy, rungs = smaller, rungs + 1
        torch.testing.assert_close(image_gradient(policy), expected, rtol=1e-10, atol=1e-12)
    assert policy == replace(Policy(), chunk=1, recompute=True) and rungs == 3


def test_products_refuse_a_second_derivative(net: ConvNet) -> None:
    x, target = images(2, "syn")
    x = x.requires_grad_()
    rows = class_products(View.own(net), x.unflatten(0, (CLASSES, -1)), target.unflatten(0, (CLASSES, -1)))
    loss = torch.stack([value.square().sum() for value in rows.values()]).sum()
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.grad(loss, x, create_graph=True)


def test_products_serve_several_terms_of_one_graph(net: ConvNet) -> None:
    x, target = images(2, "syn")
    x = x.requires_grad_()
    rows = class_products(View.own(net), x.unflatten(0, (CLASSES, -1)), target.unflatten(0, (CLASSES, -1)))
    first, second = (torch.autograd.grad(rows["classifier.weight"].sum(), x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second) and bool(first.abs().max() > 0)


def test_products_stand_aside_for_batch_norm_and_learned_parameters(net: ConvNet) -> None:
    assert not serves(View.own(net)) and serves(View.own(net.requires_grad_(False)))
    coupled = convnet(depth=1, width=4, norm=batch_norm)((2, 8, 8), CLASSES).requires_grad_(False)
    assert not serves(View.own(coupled))
    quick, (x, target) = Policy(compile=True), images(2, "syn")
    net.requires_grad_(True)
    rows = class_gradients(View.own(net, policy=quick), x, target, CLASSES, create_graph=True)
    expected = class_gradients(View.own(net), x, target, CLASSES, create_graph=True)
    assert all(torch.equal(rows[name], expected[name]) for name in rows)


def test_values_may_be_more_precise_than_their_derivatives(net: ConvNet) -> None:
    x, target = (part.float().unflatten(0, (CLASSES, -1)) for part in images(2, "syn"))
    net = net.float().requires_grad_(False)
    half = View.own(net, policy=Policy(precision="bf16"))
    exact, rough = class_products(View.own(net), x, target), class_products(half, x, target)
    mixed = class_products(half, x, target, "float32")
    assert all(torch.equal(mixed[name], exact[name]) for name in mixed)
    assert not torch.equal(rough["classifier.weight"], exact["classifier.weight"])
