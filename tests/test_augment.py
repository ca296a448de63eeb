"""Siamese augmentation against float64 loops, and the properties training relies on."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import grad, vmap

from infodistill import augment
from infodistill.augment import Siamese
from infodistill.augment.classic import Shift
from infodistill.augment.operations import rotate, scale
from infodistill.augment.siamese import OPERATIONS, Omega
from infodistill.types import Augment
from oracles import augment as oracle

SHAPES = [(3, 8, 8), (1, 9, 9), (3, 12, 7), (1, 5, 10)]
BY_NAME = [
    "color_crop_cutout_flip_scale_rotate",
    "per-image:color_crop_cutout_flip_scale_rotate",
    "diffaug:color_crop_cutout",
    "diffaug:flip_color_crop_scale_rotate_cutout",
    "per-image:diffaug:color_crop_scale_rotate",
    "dc:crop_scale_rotate",
    "dc:crop_noise",
    "shift1",
    "none",
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int, shape: tuple[int, int, int], seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, *shape, generator=generator(seed), dtype=dtype)


def expected(name: str, x: np.ndarray, omega: Omega) -> np.ndarray:
    """One image by the oracle, with the parameters of one record row."""
    side = (int(x.shape[1] * 0.5 + 0.5), int(x.shape[2] * 0.5 + 0.5))
    o = Omega(*(float(value) for value in omega))  # pyright: ignore[reportArgumentType]
    return {
        "color": lambda: oracle.color(x, o.brightness, o.saturation, o.contrast),
        "crop": lambda: oracle.crop(x, int(o.crop_y), int(o.crop_x)),
        "cutout": lambda: oracle.cutout(x, int(o.cutout_y), int(o.cutout_x), side),
        "flip": lambda: oracle.flip(x, bool(o.flip)),
        "scale": lambda: oracle.scale(x, o.scale_x, o.scale_y),
        "rotate": lambda: oracle.rotate(x, o.theta),
    }[name]()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_the_published_one(name: str, shape: tuple[int, int, int]) -> None:
    x, aug = images(24, shape), augment.dsa(name)
    record = aug.draw(generator(1), 24, shape)
    out = aug.apply(x, record, torch.arange(24))
    for i in range(24):
        want = expected(name, x[i].numpy(), Omega(*record[i].double()))
        np.testing.assert_allclose(out[i].numpy(), want, atol=1e-12)


def test_idc_dialect_is_flip_color_one_cutout_in_this_order() -> None:
    shape = (3, 8, 8)
    aug = augment.diffaug("cutout_color_rotate_flip_crop_scale")
    assert aug == Siamese(("flip", "color"), ("rotate", "crop", "scale"), ("cutout",))
    x, record = images(24, shape), aug.draw(generator(2), 24, shape)
    out = aug.apply(x, record, torch.arange(24))
    seen: set[str] = set()
    for i in range(24):
        omega = Omega(*record[i].double())
        middle = OPERATIONS[int(omega.op)]
        seen.add(middle)
        want = x[i].numpy()
        for name in ("flip", "color", middle, "cutout"):
            want = expected(name, want, omega)
        np.testing.assert_allclose(out[i].numpy(), want, atol=1e-12)
    assert seen == {"rotate", "crop", "scale"}


@pytest.mark.parametrize("name", ["diffaug:color_crop_cutout", "per-image:diffaug:color_cutout"])
def test_idc_dialect_always_colours_and_always_cuts(name: str) -> None:
    aug, x = augment.by_name(name), images(64, (3, 8, 8), dtype=torch.float32) + 5
    out = aug.apply(x, aug.draw(generator(3), 64, (3, 8, 8)), torch.arange(64))
    assert ((out == 0).all(1).flatten(1).sum(1) >= 4).all()  # a hole of at least 2x2 at a corner
    kept = out != 0
    assert all((out[i][kept[i]] != x[i][kept[i]]).all() for i in range(64))


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 9, 9), (1, 12, 7)])
def test_both_corner_conventions_are_this_one_map(shape: tuple[int, int, int]) -> None:
    """VICO and IDC sample with align_corners False, MTT's utilities with True: about the centre it is the same."""
    x, theta = images(1, shape), torch.tensor([0.23], dtype=torch.float64)
    sx, sy = torch.tensor([1.17], dtype=torch.float64), torch.tensor([0.86], dtype=torch.float64)
    for corners in (False, True):
        want = oracle.rotate(x[0].numpy(), 0.23, corners=corners)
        np.testing.assert_allclose(rotate(x, theta)[0].numpy(), want, atol=1e-12)
        want = oracle.scale(x[0].numpy(), 1.17, 0.86, corners=corners)
        np.testing.assert_allclose(scale(x, sx, sy)[0].numpy(), want, atol=1e-12)


def test_agrees_with_torch_affine_grid_sampling() -> None:
    x, theta = images(3, (3, 32, 32), dtype=torch.float32), torch.tensor([-0.26, 0.0, 0.13])
    cos, sin, zero = theta.cos(), theta.sin(), torch.zeros(3)
    matrix = torch.stack((cos, -sin, zero, sin, cos, zero), 1).view(3, 2, 3)
    grid = torch.nn.functional.affine_grid(matrix, [3, 3, 32, 32], align_corners=False)
    want = torch.nn.functional.grid_sample(x, grid, align_corners=False)
    torch.testing.assert_close(rotate(x, theta), want, atol=2e-5, rtol=0)


def test_a_record_means_the_same_transform_for_every_batch() -> None:
    shape = (3, 16, 16)
    aug = augment.dsa()
    record = aug.draw(generator(4), 10, shape)
    same = images(1, shape, dtype=torch.float32)
    large, small = torch.arange(10).repeat_interleave(25), torch.arange(10).flip(0)
    out_large = aug.apply(same.expand(250, -1, -1, -1), record, large)
    out_small = aug.apply(same.expand(10, -1, -1, -1), record, small)
    for i, c in enumerate(small.tolist()):
        torch.testing.assert_close(out_large[large == c], out_small[i].expand(25, -1, -1, -1), atol=2e-6, rtol=0)
    assert len(out_small.flatten(1).unique(dim=0)) == 10  # ten classes, ten different images
    assert len(record[:, 0].unique()) > 2


@pytest.mark.parametrize("name", BY_NAME)
def test_records_are_fixed_repeatable_and_prefixes_of_longer_ones(name: str) -> None:
    aug = augment.by_name(name)
    record = aug.draw(generator(5), 7, (3, 8, 8))
    assert record.dtype == torch.float32 and record.device.type == "cpu" and record.ndim == 2
    assert torch.equal(record, aug.draw(generator(5), 7, (3, 8, 8)))
    if "noise" not in name:
        assert torch.equal(record, aug.draw(generator(5), 300, (3, 8, 8))[:7])
    x, row = images(14, (3, 8, 8), dtype=torch.float32), torch.arange(7).repeat(2)
    before = x.clone()
    out = aug.apply(x, record, row)
    assert torch.equal(x, before) and out.shape == x.shape and out.dtype == x.dtype
    assert torch.equal(out, aug.apply(x, record, row))


def test_leaving_an_operation_out_leaves_the_other_draws_alone() -> None:
    full, less = augment.dsa(), augment.dsa("color_crop_cutout_scale_rotate")
    a, b = (aug.draw(generator(6), 50, (3, 8, 8)) for aug in (full, less))
    assert torch.equal(a[:, 1:], b[:, 1:])
    assert not (b[:, 0] == OPERATIONS.index("flip")).any()


@pytest.mark.parametrize("strategy", ["color_crop_cutout_flip_scale_rotate", "color_crop_cutout_scale_rotate"])
def test_operations_are_uniform(strategy: str) -> None:
    words = strategy.split("_")
    record = augment.dsa(strategy).draw(generator(7), 6000, (3, 8, 8))
    count = torch.bincount(record[:, 0].long(), minlength=6)[[OPERATIONS.index(word) for word in words]]
    assert int(count.sum()) == 6000
    share = 6000 / len(words)
    assert float(((count - share) ** 2 / share).sum()) < 20.5  # chi-square, 5 degrees of freedom: p = 0.001


def test_parameter_laws() -> None:
    shape, n = (3, 32, 25), 20000
    omega = Omega(*augment.dsa().draw(generator(8), n, shape).unbind(1))
    for values, low, high in [
        (omega.brightness, -0.5, 0.5),
        (omega.saturation, 0.0, 2.0),
        (omega.contrast, 0.5, 1.5),
        (omega.scale_x, 1 / 1.2, 1.2),
        (omega.scale_y, 1 / 1.2, 1.2),
        (omega.theta, -math.radians(15), math.radians(15)),
    ]:
        assert low <= float(values.min()) and float(values.max()) <= high
        assert abs(float(values.mean()) - (low + high) / 2) < 0.01 * (high - low)
        assert abs(float(values.var()) - (high - low) ** 2 / 12) < 0.02 * (high - low) ** 2
    for values, support in [
        (omega.crop_y, range(-4, 5)),  # int(32 / 8 + 0.5)
        (omega.crop_x, range(-3, 4)),  # int(25 / 8 + 0.5)
        (omega.cutout_y, range(33)),  # side 16, even: 33 centres
        (omega.cutout_x, range(25)),  # side 13, odd: 25 centres
        (omega.flip, range(2)),
    ]:
        seen, count = values.long().unique(return_counts=True)
        assert seen.tolist() == list(support)
        share = n / len(support)
        excess = float(((count - share) ** 2 / share).sum())
        assert excess < len(support) - 1 + 5 * math.sqrt(2 * len(support))
    columns = torch.stack([omega.scale_x, omega.scale_y, omega.crop_y, omega.cutout_y, omega.theta, omega.op])
    assert float((columns.corrcoef() - torch.eye(6)).abs().max()) < 0.035  # sx != sy: separate draws


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


def test_missing_pixels_are_zero_whatever_lies_beyond() -> None:
    x = torch.full((5, 1, 6, 6), 7.0)
    x[0, 0, 0, 0] = torch.inf  # a gather must not multiply what it drops
    aug = augment.shift(2)
    out = aug.apply(x, torch.tensor([[1.0, 0.0], [0.0, -2.0], [2.0, 1.0], [0.0, 0.0], [-1.0, 0.0]]), torch.arange(5))
    assert (out[0, 0, :5] == 7).all() and (out[0, 0, 5] == 0).all()
    assert (out[1, 0, :, :2] == 0).all() and (out[1, 0, :, 2:] == 7).all()
    assert (out[2, 0, 4:] == 0).all() and (out[2, 0, :, 5] == 0).all() and (out[2, 0, :4, :5] == 7).all()
    assert torch.equal(out[3], x[3])
    assert (out[4, 0, 0] == 0).all() and (out[4, 0, 1:] == 7).all()


def test_shifts_are_uniform_and_identity_is_free() -> None:
    record = augment.shift(1).draw(generator(14), 9000, (1, 8, 8))
    cells = (record[:, 0] * 3 + record[:, 1] + 4).long()
    assert float(((torch.bincount(cells, minlength=9) - 1000.0) ** 2 / 1000).sum()) < 26.1  # 8 degrees, p = 0.001
    x = images(3, (1, 8, 8))
    assert augment.identity().apply(x, torch.zeros(3, 1), torch.arange(3)) is x
    assert torch.equal(augment.shift(0).apply(x, torch.zeros(3, 2), torch.arange(3)), x)


def test_per_image_form_has_one_operation_and_many_parameters() -> None:
    seen: set[float] = set()
    for seed in range(60):
        record = augment.dsa_per_image().draw(generator(seed), 20, (3, 8, 8))
        assert (record[:, 0] == record[0, 0]).all()
        assert len(record[:, 1].unique()) == 20
        seen.add(float(record[0, 0]))
    assert seen == set(range(6))
    assert augment.per_image(augment.shift(1)) == augment.shift(1)
    assert augment.per_image(augment.diffaug("color_crop")) == augment.diffaug_per_image("color_crop")


def test_saturation_leaves_one_channel_alone() -> None:
    aug = augment.dsa("color")
    record = aug.draw(generator(15), 1, (1, 8, 8))
    x = images(1, (1, 8, 8))
    other = record.clone()
    other[:, 2] += 0.7
    assert torch.equal(aug.apply(x, record, torch.zeros(1).long()), aug.apply(x, other, torch.zeros(1).long()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_images_use_whole_coordinates(dtype: torch.dtype) -> None:
    aug, shape = augment.dsa(), (1, 32, 32)
    record, row = aug.draw(generator(16), 30, shape), torch.arange(30)
    x = images(30, shape, dtype=torch.float32).to(dtype)
    out = aug.apply(x, record, row)
    assert out.dtype == dtype
    torch.testing.assert_close(out, aug.apply(x.float(), record, row).to(dtype))


def test_dc_evaluation_augmentation() -> None:
    shape, n = (3, 10, 10), 60
    aug = augment.dc_augment("crop_scale_rotate_noise")
    x, record = images(n, shape) + 0.3, aug.draw(generator(17), n, shape)
    out = aug.apply(x, record, torch.arange(n)).numpy()
    mean = x.mean((0, 2, 3)).numpy()[:, None, None]
    pixels, seen = x.numpy(), [0] * 4
    for i in range(n):
        op, dy, dx, height, width, theta = record[i, :6].double().tolist()
        noise = record[i, 6:].double().numpy().reshape(shape)
        average = mean.mean()
        want = [
            lambda: oracle.crop(pixels[i] - mean, int(dy), int(dx)) + mean,  # noqa: B023
            lambda: oracle.dc_scale(pixels[i], int(height), int(width)),  # noqa: B023
            lambda: oracle.rotate(pixels[i] - average, theta) + average,  # noqa: B023
            lambda: pixels[i] + noise,  # noqa: B023
        ][int(op)]()
        np.testing.assert_allclose(out[i], want, atol=1e-12)
        seen[int(op)] += 1
    assert min(seen) > 5
    degrees = record[:, 5].double() * 180 / math.pi
    torch.testing.assert_close(degrees, degrees.round(), atol=1e-4, rtol=0)


def test_dc_ranges() -> None:
    record = augment.dc_augment().draw(generator(18), 20000, (1, 28, 28))
    assert record.shape == (20000, 6)
    assert record[:, 0].unique().tolist() == [0, 1, 2]
    assert record[:, 1].unique().tolist() == record[:, 2].unique().tolist() == list(range(-4, 4))
    assert record[:, 3].unique().tolist() == record[:, 4].unique().tolist() == list(range(22, 34))
    assert (record[:, 5] * 180 / math.pi).round().unique().tolist() == list(range(-45, 45))


def test_names() -> None:
    assert augment.by_name("color_crop_cutout_flip_scale_rotate") == augment.dsa()
    assert augment.by_name("crop_cutout_scale_rotate") == augment.dsa("crop_cutout_scale_rotate")
    assert augment.by_name("shift3") == augment.shift(3)
    assert augment.by_name("none") == augment.identity()
    assert augment.by_name("diffaug:color_crop_cutout") == augment.diffaug()
    assert augment.by_name("dc:crop_scale_rotate") == augment.dc_augment()
    assert augment.by_name("per-image:color_crop") == augment.dsa_per_image("color_crop")
    assert "0x" not in repr([augment.by_name(name) for name in BY_NAME])  # keys of caches are made of these


@pytest.mark.parametrize(
    "name", ["", "blur", "color_blur", "color__crop", "color_color", "shift", "shift-1", "dc:flip", "dc:", "x:color"]
)
def test_unknown_names_are_one_sentence(name: str) -> None:
    with pytest.raises(ValueError) as caught:
        augment.by_name(name)
    assert "\n" not in str(caught.value)


def test_wrong_records_and_limits_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(rows, 12\)"):
        augment.dsa().apply(torch.zeros(1, 1, 4, 4), torch.zeros(1, 3), torch.zeros(1).long())
    with pytest.raises(ValueError, match="scale limit"):
        augment.Limits(scale=1.7)
    with pytest.raises(ValueError, match="pixels >= 0"):
        augment.shift(-1)


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
