"""Every augmentation against float64 loops, image by image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from augmenting import generator, images
from infodistill import augment
from infodistill.augment import Siamese
from infodistill.augment.operations import rotate, scale
from infodistill.augment.siamese import OPERATIONS, Omega
from oracles import augment as oracle

SHAPES = [(3, 8, 8), (1, 9, 9), (3, 12, 7), (1, 5, 10)]


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
