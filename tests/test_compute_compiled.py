"""Bfloat16 and compiled code: close to plain float32, and the same bits whatever ran before."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from infodistill.compute import Policy, View, backward, capabilities, execution
from infodistill.gradients import class_gradients, squared_error
from infodistill.nets.convnet import convnet
from infodistill.types import Net
from smallnet import SHAPE, images, small_net

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs a C++ compiler")
needs_bf16 = pytest.mark.skipif(not capabilities()["bf16"], reason="this CPU has no bfloat16")


@pytest.fixture
def net() -> Net:
    return small_net()


@needs_bf16
def test_bf16_keeps_float32_outside_and_stays_close(net: Net) -> None:
    x, target = images(12), torch.eye(4).repeat(3, 1)
    view = View.own(net, policy=Policy(precision="bf16", chunk=5))
    for got, expected in zip(view.stages(x), net.stages(x), strict=True):
        assert got.dtype == torch.float32
        assert not torch.equal(got, expected)
        assert float(((got - expected).norm() / expected.norm()).detach()) < 0.02
    backward(net, x, target, Policy(precision="bf16"))
    half = [parameter.grad for parameter in net.parameters()]
    net.zero_grad()
    backward(net, x, target, Policy())
    for parameter, value in zip(net.parameters(), half, strict=True):
        assert parameter.grad is not None and value is not None and value.dtype == torch.float32
        if parameter.ndim > 1:
            assert float(torch.cosine_similarity(parameter.grad.flatten(), value.flatten(), dim=0)) > 0.98


def matching(net: Net, policy: Policy) -> tuple[Tensor, ...]:
    """Per-class gradients of images and soft labels, then the gradient of their distance to other images' gradients."""
    x, classes = images(12).requires_grad_(), torch.eye(4)[:3].repeat_interleave(4, 0)
    target = (0.9 * classes + 0.025).requires_grad_()
    view = View.own(net.requires_grad_(False), policy=policy)
    real = class_gradients(View.own(net), images(6), classes[::2], 3, create_graph=False)
    rows = class_gradients(view, x, target, 3, create_graph=True)
    slopes = torch.autograd.grad(squared_error(rows, real), (x, target))
    return *(value.detach() for value in rows.values()), *slopes


def flat(values: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([value.flatten() for value in values])


@needs_bf16
def test_gradient_matching_in_bf16_stays_float32_outside_and_close(net: Net) -> None:
    exact, fast = matching(net, Policy()), matching(net, Policy(precision="bf16"))
    assert all(value.dtype == torch.float32 for value in fast) and not torch.equal(exact[-2], fast[-2])
    for got, expected in ((fast[:-2], exact[:-2]), (fast[-2:-1], exact[-2:-1]), (fast[-1:], exact[-1:])):
        assert float(torch.cosine_similarity(flat(got), flat(expected), dim=0)) > 0.98


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("chunk", [None, 3])
def test_compiled_gradient_matching_equals_eager(net: Net, chunk: int | None, recompute: bool) -> None:
    quick = Policy(compile=True, chunk=chunk, recompute=recompute)
    for got, expected in zip(matching(net, quick), matching(net, Policy()), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@needs_compiler
@needs_bf16
@pytest.mark.slow
def test_compiled_gradient_matching_in_bf16_is_close(net: Net) -> None:
    fast, exact = matching(net, Policy(compile=True, precision="bf16")), matching(net, Policy())
    assert all(value.dtype == torch.float32 for value in fast)
    for got, expected in ((fast[:-2], exact[:-2]), (fast[-2:-1], exact[-2:-1]), (fast[-1:], exact[-1:])):
        assert float(torch.cosine_similarity(flat(got), flat(expected), dim=0)) > 0.98


@needs_compiler
@pytest.mark.slow
def test_compiled_equals_eager(net: Net) -> None:
    x, target = images(10), torch.eye(4).repeat(3, 1)[:10]
    quick = Policy(compile=True, chunk=4)

    def features(chosen: Policy) -> tuple[Tensor, ...]:
        with torch.no_grad():
            return View.own(net, policy=chosen).stages(x)

    def image_gradient(chosen: Policy) -> tuple[Tensor, ...]:
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(View.own(net, policy=chosen).logits(leaf).logsumexp(1).sum(), leaf)

    def training(chosen: Policy) -> tuple[Tensor, ...]:
        net.zero_grad()
        loss = backward(net, x, target, chosen)
        return (loss, *(parameter.grad for parameter in net.parameters() if parameter.grad is not None))

    def class_rows(chosen: Policy) -> tuple[Tensor, ...]:
        classes = torch.eye(4)[[0, 0, 0, 0, 0, 1, 1, 1, 1, 1]]
        return tuple(class_gradients(View.own(net, policy=chosen), x, classes, 2, create_graph=False).values())

    def given(chosen: Policy) -> tuple[Tensor, ...]:
        params = {name: value.detach().clone() for name, value in net.named_parameters()}
        return (View(convnet(depth=2, width=6)(SHAPE, 4), params, chosen).logits(x),)

    for compute in (features, image_gradient, training, class_rows, given):
        for got, expected in zip(compute(quick), compute(Policy()), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    recomputed = image_gradient(replace(quick, recompute=True))
    torch.testing.assert_close(recomputed[0], image_gradient(Policy())[0], rtol=1e-5, atol=1e-5)


@needs_compiler
@pytest.mark.slow
def test_terms_may_differentiate_one_compiled_graph_in_turn(net: Net) -> None:
    leaf = images(10).requires_grad_()
    feature = View.own(net.requires_grad_(False), policy=Policy(compile=True, chunk=4)).features(leaf)[0]
    first, second = (torch.autograd.grad(feature.square().sum(), leaf, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
    expected = torch.autograd.grad(net.stages(leaf)[-1].square().sum(), leaf)[0]
    torch.testing.assert_close(first, expected, rtol=1e-4, atol=1e-5)


PROBE = """
import hashlib, sys, torch
from infodistill.compute import Policy, View, backward
from infodistill.nets.convnet import convnet
from infodistill.seeding import build_seeded, stream
net = build_seeded(lambda: convnet(depth=2, width=6)((3, 8, 8), 4), stream(0, "net"))
x = torch.randn(10, 3, 8, 8, generator=stream(0, "x"))
quick = Policy(compile=True, chunk=4)
if sys.argv[1] == "busy":
    other = convnet(depth=1, width=4)((3, 8, 8), 4)
    for rows in (7, 3):
        View.own(other, policy=quick).features(x[:rows])
        View.own(net, policy=Policy(compile=True, chunk=3)).features(x[:rows])
backward(net, x, torch.eye(4).repeat(3, 1)[:10], quick)
with torch.no_grad():
    outputs = [*View.own(net, policy=quick).features(x), *(p.grad for p in net.parameters())]
print(hashlib.sha256(b"".join(t.numpy().tobytes() for t in outputs)).hexdigest())
"""


@needs_compiler
@pytest.mark.slow
def test_compiled_bits_do_not_depend_on_what_ran_before() -> None:
    def bits(history: str) -> str:
        run = subprocess.run([sys.executable, "-c", PROBE, history], capture_output=True, text=True, check=True)
        return run.stdout.strip()

    assert bits("fresh") == bits("busy")


@needs_compiler
@pytest.mark.slow
def test_too_many_shapes_raise_instead_of_running_eagerly(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "GRAPHS_PER_NETWORK", 2)
    execution.compiled.cache_clear()
    try:
        with torch.no_grad(), pytest.raises(Exception, match="Hard failure"):
            for rows in (2, 3, 4, 5):
                View.own(net, policy=Policy(compile=True)).features(images(rows))
    finally:
        execution.compiled.cache_clear()
