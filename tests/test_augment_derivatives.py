"""Augmentations inside training: exact first and second derivatives, and no value read on the way."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import grad, vmap

from augmenting import BY_NAME, generator, images
from infodistill import augment
from infodistill.augment.classic import Shift
from infodistill.augment.operations import rotate, scale
from infodistill.types import Augment


@pytest.mark.parametrize("name", [name for name in BY_NAME if "dc" not in name and name not in ("none", "shift1")])
@pytest.mark.parametrize("order", ["class-major", "shuffled"])
def test_branch_free_form_is_equal(name: str, order: str) -> None:
    shape = (3, 11, 8)
    aug = augment.by_name(name)
    record = aug.draw(generator(9), 12, shape)
    row = torch.arange(12).repeat_interleave(5)
    row = row if order == "class-major" else row[torch.randperm(60, generator=generator(10))]
    x = images(60, shape).requires_grad_()
    grouped, fixed = aug.apply(x, record, row), aug.apply_branch_free(x, record, row)  # pyright: ignore
    torch.testing.assert_close(grouped, fixed, atol=1e-13, rtol=0)
    weight = images(60, shape, seed=1)
    for a, b in zip(*(torch.autograd.grad((weight * y).sum(), x) for y in (grouped, fixed)), strict=True):
        torch.testing.assert_close(a, b, atol=1e-13, rtol=0)


@pytest.mark.parametrize("name", ["color", "crop", "cutout", "flip", "scale", "rotate"])
@pytest.mark.parametrize("shape", [(2, 4, 4), (1, 3, 5)])
def test_first_and_second_derivatives(name: str, shape: tuple[int, int, int]) -> None:
    aug = augment.dsa(name)
    record, row = aug.draw(generator(11), 2, shape), torch.tensor([1, 0])
    x = images(2, shape).requires_grad_()

    def apply(x: Tensor) -> Tensor:
        return aug.apply(x, record, row)

    assert torch.autograd.gradcheck(apply, x)
    assert torch.autograd.gradgradcheck(lambda x: apply(x).pow(3), x)


@pytest.mark.parametrize("name", ["diffaug:flip_color_scale_rotate_cutout", "shift2", "none"])
def test_whole_pipelines_twice_differentiable(name: str) -> None:
    aug = augment.by_name(name)
    record = aug.draw(generator(12), 2, (2, 4, 5))
    x = images(2, (2, 4, 5)).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: aug.apply(x, record, torch.arange(2)).pow(3), x)


@pytest.mark.parametrize("degrees", [-45.0, -15.0, 0.0, 3.0, 15.0, 44.0, 90.0])
def test_resampling_has_its_exact_adjoint(degrees: float) -> None:
    """<A x, y> = <x, A* y> for turns and for the extreme scale factors, on odd, even and oblong images."""
    for shape in [(1, 8, 8), (1, 9, 13)]:
        x, y = images(1, shape).requires_grad_(), images(1, shape, seed=1)
        theta = torch.tensor([math.radians(degrees)], dtype=torch.float64)
        factors = torch.tensor([1 / 1.2], dtype=torch.float64), torch.tensor([1.2], dtype=torch.float64)
        for out in (rotate(x, theta), scale(x, *factors)):
            (back,) = torch.autograd.grad(out, x, y)
            torch.testing.assert_close((out * y).sum(), (x * back).sum(), atol=1e-12, rtol=1e-12)


def test_gradients_are_those_of_grid_sample() -> None:
    x = images(2, (3, 16, 16)).requires_grad_()
    theta = torch.tensor([0.2, -0.1], dtype=torch.float64)
    cos, sin, zero = theta.cos(), theta.sin(), torch.zeros(2, dtype=torch.float64)
    matrix = torch.stack((cos, -sin, zero, sin, cos, zero), 1).view(2, 2, 3)
    grid = torch.nn.functional.affine_grid(matrix, [2, 3, 16, 16], align_corners=False)
    weight = images(2, (3, 16, 16), seed=1)
    (want,) = torch.autograd.grad((torch.nn.functional.grid_sample(x, grid, align_corners=False) * weight).sum(), x)
    (got,) = torch.autograd.grad((rotate(x, theta) * weight).sum(), x)
    torch.testing.assert_close(got, want, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", ["color_crop_cutout_flip_scale_rotate", "diffaug:color_rotate_cutout", "shift1"])
def test_works_inside_functional_transforms(name: str) -> None:
    aug = augment.by_name(name)
    record, row = aug.draw(generator(13), 6, (1, 6, 6)), torch.arange(6)
    x, weight = images(12, (1, 6, 6)).view(2, 6, 1, 6, 6), images(6, (1, 6, 6), seed=1)

    def cost(x: Tensor) -> Tensor:
        return (aug.apply(x, record, row).square() * weight).sum()

    mapped = vmap(grad(cost))(x)
    for i in range(2):
        torch.testing.assert_close(mapped[i], grad(cost)(x[i]))
        y = x[i].clone().requires_grad_()
        torch.testing.assert_close(mapped[i], torch.autograd.grad(cost(y), y)[0])
    double = grad(lambda x: grad(cost)(x).pow(2).sum())(x[0])
    assert double.isfinite().all() and double.abs().sum() > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["color_crop_cutout_flip_scale_rotate", "diffaug:flip_color_rotate_cutout", "shift1"])
def test_cuda_is_deterministic_and_agrees_with_the_cpu(name: str) -> None:
    aug, shape = augment.by_name(name), (3, 32, 32)
    record, row = aug.draw(generator(19), 10, shape), torch.arange(10).repeat_interleave(20)
    x, weight = images(200, shape, dtype=torch.float32), images(200, shape, seed=1, dtype=torch.float32)

    def run(device: str) -> tuple[Tensor, Tensor]:
        leaf = x.to(device).requires_grad_()
        out = aug.apply(leaf, record, row)
        return out.detach(), torch.autograd.grad(out, leaf, weight.to(device))[0]

    torch.use_deterministic_algorithms(True)
    try:
        first, again = run("cuda"), run("cuda")
    finally:
        torch.use_deterministic_algorithms(False)
    for a, b, cpu in zip(first, again, run("cpu"), strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a.cpu(), cpu, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", [name for name in BY_NAME if not name.startswith("dc") and name != "none"])
def test_no_value_is_read_on_the_way(name: str) -> None:
    """On the meta device a value cannot be read, so this passing means fixed control flow: fit for graph capture."""
    aug = augment.by_name(name)
    record, row = aug.draw(generator(20), 4, (3, 8, 8)), torch.arange(4).repeat(2)
    x = torch.zeros(8, 3, 8, 8, device="meta", requires_grad=True)
    for y in (aug.apply(x, record, row), _fixed(aug)(x, record.to("meta"), row.to("meta"))):
        (back,) = torch.autograd.grad(y.sum(), x)
        assert y.device.type == back.device.type == "meta" and y.shape == back.shape == x.shape


def _fixed(aug: Augment) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """A shift has one form only."""
    return aug.apply if isinstance(aug, Shift) else aug.apply_branch_free  # pyright: ignore
