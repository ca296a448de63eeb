"""Policies, Views and chunked execution: every schedule computes the same numbers."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from infodistill.compute import Policy, View, backward, execution, is_out_of_memory, policy, resolve
from infodistill.gradients import cross_entropy
from infodistill.nets.convnet import batch_norm, convnet
from infodistill.seeding import stream
from infodistill.types import Net, ValueSpace, pixel_space
from smallnet import SHAPE, images, small_net


@pytest.fixture
def net() -> Net:
    return small_net()


# ---- policies


def test_a_policy_survives_json() -> None:
    chosen = Policy("cpu", "bf16", chunk=8, compile=True, threads=2, recompute=True, groups=4)
    assert Policy.from_dict(json.loads(json.dumps(chosen.as_dict()))) == chosen
    with pytest.raises(ValueError, match="unknown policy keys speed"):
        Policy.from_dict({"speed": 3})


@pytest.mark.parametrize("values", [{"precision": "fp8"}, {"chunk": 0}, {"groups": 0}, {"threads": 0}])
def test_impossible_policies_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="got"):
        Policy.from_dict(values)


def test_the_ladder_halves_then_recomputes_then_groups_and_ends() -> None:
    rungs = [Policy(chunk=4)]
    while (smaller := rungs[-1].smaller()) is not None:
        rungs.append(smaller)
    assert [(rung.chunk, rung.recompute, rung.groups) for rung in rungs[:5]] == [
        (4, False, 1),
        (2, False, 1),
        (1, False, 1),
        (1, True, 1),
        (1, True, 2),
    ]
    assert rungs[-1].groups == policy.MOST_GROUPS
    assert Policy().smaller() == Policy(chunk=16)


def test_resolve_answers_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"threads": 2, "bf16": False, "compiler": "g++", "cuda": False}
    monkeypatch.setattr(policy, "capabilities", lambda: here)
    assert resolve() == Policy(threads=2)
    assert not resolve(flops=1e9).compile and resolve(flops=1e15).compile
    with pytest.raises(ValueError, match="no bfloat16"):
        resolve(precision="bf16")
    with pytest.raises(ValueError, match="no CUDA device"):
        resolve("cuda")
    with pytest.raises(ValueError, match="auto, cpu or cuda"):
        resolve("tpu")
    here.update(cuda=True, compiler=None)
    assert resolve().device == "cuda" and resolve(precision="bf16").precision == "bf16"
    assert not resolve("cpu", flops=1e15).compile


def test_out_of_memory_is_told_from_other_errors() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError())
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


# ---- views


@pytest.mark.parametrize("chunk", [1, 3, 4, 10, 64])
def test_chunked_features_equal_the_whole(net: Net, chunk: int) -> None:
    x = images(10)
    whole = net.stages(x)
    first, last = View.own(net, policy=Policy(chunk=chunk)).features(x, keep=(0, -1))
    torch.testing.assert_close(first, whole[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(last, whole[-1], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(View.own(net, policy=Policy(chunk=chunk)).logits(x), net(x), rtol=1e-6, atol=1e-6)


def test_given_parameters_equal_own_parameters(net: Net) -> None:
    other = convnet(depth=2, width=6)(SHAPE, 4)
    view = View(other, {name: value.detach().clone() for name, value in net.named_parameters()})
    x = images(5).requires_grad_()
    assert torch.equal(view.logits(x), View.own(net).logits(x))
    assert torch.equal(view.stages(x)[0], net.stages(x)[0])
    view.logits(x).sum().backward()
    assert all(value.grad is None for value in (*other.parameters(), *view.params.values()))


def test_parameters_that_require_grad_get_one(net: Net) -> None:
    theta = {name: value.detach().clone().requires_grad_() for name, value in net.named_parameters()}
    x, target = images(4), torch.eye(4)
    grads = torch.autograd.grad(cross_entropy(View(net, theta).logits(x), target), list(theta.values()))
    expected = torch.autograd.grad(cross_entropy(net(x), target), list(net.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(grads, expected, strict=True))


def test_a_view_converts_value_spaces(net: Net) -> None:
    space = ValueSpace((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    pixels = torch.rand(3, *SHAPE, generator=stream(0, "pixels"))
    view = View.own(net, space=space)
    torch.testing.assert_close(view.logits(pixels, pixel_space(3)), net(space.from_pixels(pixels)))
    assert torch.equal(view.logits(pixels, space), net(pixels))


def test_chunks_follow_the_image_size_and_never_split_batch_norm() -> None:
    with torch.device("meta"):
        large = convnet()((3, 32, 32), 10)
        tiny = convnet(depth=2, width=32)((1, 8, 8), 10)
        coupled = convnet(norm=batch_norm)((3, 32, 32), 10)

    def rows(module: Net, *shape: int, chosen: Policy | None = None) -> int:
        return execution.chunk_rows(module, torch.zeros(1).expand(shape), chosen or Policy())

    assert rows(large, 2560, 3, 32, 32) == 32
    assert rows(large, 100, 3, 32, 32) == 25  # cut evenly, not 32 + 32 + 32 + 4
    assert rows(large, 100, 3, 32, 32, chosen=Policy(compile=True)) == 25
    assert rows(large, 250, 3, 32, 32, chosen=Policy(compile=True)) == 32  # padded by 6
    assert rows(tiny, 640, 1, 8, 8) == 640
    assert rows(coupled, 256, 3, 32, 32, chosen=Policy(chunk=4)) == 256
    assert rows(coupled.eval(), 256, 3, 32, 32, chosen=Policy(chunk=4)) == 4


@pytest.mark.parametrize("chunk", [1, 3, 16])
def test_recomputing_chunks_gives_the_same_image_gradient(net: Net, chunk: int) -> None:
    def gradient(chosen: Policy) -> Tensor:
        x = images(7).requires_grad_()
        first, last = View.own(net, policy=chosen).features(x, keep=(0, -1))
        return torch.autograd.grad(first.square().mean() + last.sin().sum(), x)[0]

    torch.testing.assert_close(gradient(Policy(chunk=chunk, recompute=True)), gradient(Policy()), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("chunk", [None, 1, 3])
def test_backward_accumulates_the_gradient_of_the_mean(net: Net, chunk: int | None) -> None:
    x, target = images(7), torch.rand(7, 4, generator=stream(0, "t")).softmax(1)
    loss = cross_entropy(net(x), target)
    expected = torch.autograd.grad(loss, list(net.parameters()))
    got = backward(net, x, target, Policy(chunk=chunk))
    torch.testing.assert_close(got, loss.detach())
    assert not got.requires_grad
    for parameter, value in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, value, rtol=1e-5, atol=1e-6)


# ---- out of memory


class Tight(Net):
    """Fails like CUDA when shown more images at once than there is room for, gradients taking `cost` times more."""

    def __init__(self, inner: Net, room: float) -> None:
        super().__init__()
        self.inner, self.room = inner, room

    def stages(self, x: Tensor) -> tuple[Tensor, ...]:
        if len(x) > self.room:
            raise torch.OutOfMemoryError(f"{len(x)} images do not fit")
        return self.inner.stages(x)

    def head(self, feature: Tensor) -> Tensor:
        return self.inner.head(feature)


@pytest.mark.parametrize("room", [8, 4, 2, 1])
def test_an_injected_failure_at_each_rung_ends_in_the_same_gradient(net: Net, room: int) -> None:
    def gradient(module: Net, chosen: Policy) -> Tensor:
        x = images(8).requires_grad_()
        return torch.autograd.grad(View.own(module, policy=chosen).features(x)[0].square().sum(), x)[0]

    chosen: Policy | None = Policy(chunk=8)
    failures = 0
    while True:
        assert chosen is not None
        try:
            got = gradient(Tight(net, room), chosen)
            break
        except torch.OutOfMemoryError as error:
            assert is_out_of_memory(error)
            failures, chosen = failures + 1, chosen.smaller()
    assert failures == {8: 0, 4: 1, 2: 2, 1: 3}[room]
    torch.testing.assert_close(got, gradient(net, Policy()), rtol=1e-6, atol=1e-6)
    recomputed = gradient(Tight(net, room), replace(chosen, recompute=True))
    torch.testing.assert_close(recomputed, got, rtol=1e-6, atol=1e-6)
