"""The reverse sweep against the kept graph, in float64: images, labels, rates and the initial network."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from infodistill.augment import dsa_per_image, identity
from infodistill.compute import Policy
from infodistill.nets.convnet import batch_norm, convnet
from infodistill.nets.initialise import initialise
from infodistill.seeding import stream
from infodistill.types import Augment
from infodistill.unrolling.inner import Inner, Record
from infodistill.unrolling.unroll import Unroll, checkpointed, sweep, tesla, truncated, unrolled

N, K, CLASSES = 4, 6, 3


def problem(augment: Augment, momentum: float, dtype: torch.dtype = torch.float64):
    net = convnet(depth=2, width=5)((2, 8, 8), CLASSES).to(dtype).requires_grad_(False)
    initialise(net, stream(0, "net"))
    draw = stream(1, "unroll")
    images = torch.randn(K, 2, 8, 8, generator=draw, dtype=dtype).requires_grad_()
    labels = torch.randn(K, CLASSES, generator=draw, dtype=dtype).softmax(1).requires_grad_()
    rates = (0.2 + 0.5 * torch.rand(N, generator=draw, dtype=dtype)).requires_grad_()
    rows = tuple(torch.randperm(K, generator=draw)[: 4 - i % 2] for i in range(N))
    omegas = tuple(augment.draw(draw, len(row), (2, 8, 8)).to(dtype) for row in rows)
    theta = {name: value.detach().clone().requires_grad_() for name, value in net.named_parameters()}
    return Inner(net, augment, momentum), theta, images, labels, rates, Record(rows, omegas)


def two_losses(last: dict[str, Tensor], inner: Inner, images: Tensor) -> Tensor:
    """Distance to a target vector plus features of the images under theta_N: two readers of one student."""
    distance = torch.stack([(value - 0.3).square().sum() for value in last.values()]).sum()
    logits = functional_call(inner.module, last, (images.detach() + 0.1,))
    return distance + logits.logsumexp(1).sum()


def derivatives(how: Unroll, case) -> list[Tensor]:
    inner, theta, images, labels, rates, record = case
    loss = two_losses(how(inner, theta, images, labels, rates, record), inner, images)
    return [loss.detach(), *torch.autograd.grad(loss, [images, labels, rates, *theta.values()])]


def assert_close(found: list[Tensor], wanted: list[Tensor], tolerance: float) -> None:
    for a, b in zip(found, wanted, strict=True):
        assert float((a - b).norm()) <= tolerance * float(b.norm())


AUGMENT = {"plain": identity(), "dsa": dsa_per_image("color_crop_cutout_flip_scale_rotate")}


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("augment", AUGMENT)
@pytest.mark.parametrize("how", [sweep, checkpointed(1), checkpointed(3), truncated(N)])
def test_every_exact_backward_equals_full_unrolling(how: Unroll, augment: str, momentum: float) -> None:
    case = problem(AUGMENT[augment], momentum)
    assert_close(derivatives(how, case), derivatives(unrolled, case), 1e-10)


def test_chunks_change_nothing() -> None:
    inner, *rest = problem(AUGMENT["dsa"], 0.5)
    small = replace(inner, policy=Policy(chunk=1))
    assert_close(derivatives(sweep, (small, *rest)), derivatives(unrolled, (inner, *rest)), 1e-10)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_window_is_the_gradient_with_the_early_steps_held_constant(momentum: float) -> None:
    inner, theta, images, labels, rates, record = problem(AUGMENT["plain"], momentum)
    loss = two_losses(truncated(1)(inner, theta, images, labels, rates, record), inner, images)
    found = torch.autograd.grad(loss, [images, rates])
    before = images.detach().clone(), labels.detach(), rates.detach()
    short = Record(record.rows[:-1], record.omegas[:-1])
    velocity = {name: torch.zeros_like(value) for name, value in theta.items()}
    now = {name: value.detach() for name, value in theta.items()}
    for i in range(N - 1):
        g = inner.gradient(now, before[0][short.rows[i]], before[1][short.rows[i]])
        velocity = {name: momentum * velocity[name] + g[name] for name in g}
        now = {name: now[name] - before[2][i] * velocity[name] for name in now}
    leaves = {name: value.clone().requires_grad_() for name, value in now.items()}
    logits = functional_call(inner.module, leaves, (images[record.rows[-1]],))
    g = torch.autograd.grad(
        -(labels[record.rows[-1]] * logits.log_softmax(1)).sum(1).mean(), list(leaves.values()), create_graph=True
    )
    last = {
        name: now[name] - rates[-1] * (momentum * velocity[name] + part)
        for (name, _), part in zip(now.items(), g, strict=True)
    }
    wanted = torch.autograd.grad(two_losses(last, inner, images), [images, rates])
    assert_close(list(found), list(wanted), 1e-10)


def test_tesla_is_its_formula_and_not_the_gradient() -> None:
    """(2 / D) d/dX sum_i < beta (theta*_end - theta_0) + beta^2 G, g_i(X) > with every theta_i constant."""
    inner, theta, images, labels, rates, record = problem(AUGMENT["dsa"], 0.0)
    beta = torch.full_like(rates, 0.4).requires_grad_()
    end = {name: value.detach() + 0.1 for name, value in theta.items()}
    scale = sum((theta[name].detach() - end[name]).square().sum() for name in end)

    def loss(last: dict[str, Tensor]) -> Tensor:
        return torch.stack([(last[name] - end[name]).square().sum() for name in end]).sum() / scale

    def gradient(how: Unroll) -> Tensor:
        return torch.autograd.grad(loss(how(inner, theta, images, labels, beta, record)), images)[0]

    def g(now: dict[str, Tensor], i: int) -> dict[str, Tensor]:
        leaves = {name: value.detach().requires_grad_() for name, value in now.items()}
        logits = functional_call(inner.module, leaves, (inner.view(images[record.rows[i]], record.omegas[i]),))
        value = -(labels[record.rows[i]] * logits.log_softmax(1)).sum(1).mean()
        return dict(zip(leaves, torch.autograd.grad(value, list(leaves.values()), create_graph=True), strict=True))

    now, parts = dict(theta), []
    for i in range(N):
        parts.append(g(now, i))
        now = {name: now[name].detach() - 0.4 * parts[-1][name].detach() for name in now}
    total = {name: sum(part[name].detach() for part in parts) for name in theta}
    pull = {name: 0.4 * (end[name] - theta[name].detach()) + 0.16 * total[name] for name in theta}
    value = sum((pull[name] * part[name]).sum() for part in parts for name in theta)
    (wanted,) = torch.autograd.grad(2 / scale * value, images)
    found, exact = gradient(tesla), gradient(sweep)
    assert_close([found], [wanted], 1e-10)
    assert float((found - exact).norm()) > 1e-3 * float(exact.norm())


def test_the_value_is_the_same_whatever_the_backward() -> None:
    case = problem(AUGMENT["dsa"], 0.3)
    values = [derivatives(how, case)[0] for how in (sweep, tesla, truncated(2), checkpointed(2), unrolled)]
    for value in values[1:]:
        torch.testing.assert_close(value, values[0], rtol=1e-12, atol=0)


def test_the_backward_runs_again_with_the_same_bits() -> None:
    inner, theta, images, labels, rates, record = problem(AUGMENT["dsa"], 0.9)
    loss = two_losses(sweep(inner, theta, images, labels, rates, record), inner, images)
    first, second = (torch.autograd.grad(loss, images, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_what_does_not_fit_is_refused() -> None:
    inner, theta, images, labels, rates, record = problem(AUGMENT["plain"], 0.0)
    with pytest.raises(ValueError, match=r"4 steps need as many rates.*\(2,\)"):
        sweep(inner, theta, images, labels, rates[:2], record)
    with pytest.raises(ValueError, match="6 images need as many rows of labels, got 5"):
        sweep(inner, theta, images, labels[:5], rates, record)
    with pytest.raises(ValueError, match="batch norm"):
        Inner(convnet(depth=1, width=2, norm=batch_norm)((1, 4, 4), 2), identity())
    with pytest.raises(ValueError, match="at least 1 step, got 0"):
        truncated(0)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_compiled_steps_point_the_same_way(precision: str) -> None:
    inner, *rest = problem(AUGMENT["dsa"], 0.9, torch.float32)
    wanted = derivatives(unrolled, (inner, *rest))
    compiled = replace(inner, policy=Policy(compile=True, precision=precision, chunk=2))
    found = derivatives(sweep, (compiled, *rest))
    least = 0.99999 if precision == "float32" else 0.8  # of width 5, with rates and momentum far above usual ones
    for a, b in zip(found[1:], wanted[1:], strict=True):
        assert float(torch.cosine_similarity(a.flatten(), b.flatten(), 0)) > least
