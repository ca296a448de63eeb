"""Resized crops, colour jitter and PCA lighting: closed forms, the pixel-by-pixel oracle, the laws of the draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from augmenting import generator, images
from infodistill import augment
from infodistill.augment.crops import DRAWS, crop_box, enlarge
from infodistill.augment.lighting import EIGENVALUES, EIGENVECTORS, KINDS, ORDERS, colour_shift, normal
from infodistill.types import ValueSpace
from oracles import crops as oracle

SHAPES = [(3, 8, 8), (1, 9, 9), (3, 12, 7)]
NAME = "imagenet:crop_flip_jitter_lighting"


def boxes(n: int, size: tuple[int, int], seed: int = 0) -> torch.Tensor:
    return crop_box(torch.rand(n, DRAWS, generator=generator(seed)), size)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_resized_crop_is_the_pixel_by_pixel_one(shape: tuple[int, int, int]) -> None:
    x, box = images(12, shape), boxes(12, shape[1:])
    out = enlarge(x, box)
    for i in range(12):
        want = oracle.enlarge(x[i].numpy(), *(int(v) for v in box[i]))
        np.testing.assert_allclose(out[i].numpy(), want, atol=1e-12)


def test_it_is_what_torch_interpolates() -> None:
    x, box = images(6, (3, 16, 16)), boxes(6, (16, 16), seed=3)
    out = enlarge(x, box)
    for i, (top, left, height, width) in enumerate(box.long().tolist()):
        part = x[i : i + 1, :, top : top + height, left : left + width]
        want = F.interpolate(part, (16, 16), mode="bilinear", align_corners=False)
        torch.testing.assert_close(out[i : i + 1], want, atol=1e-12, rtol=0)


def test_closed_forms_of_a_crop() -> None:
    x = images(1, (2, 6, 6))
    whole = torch.tensor([[0.0, 0.0, 6.0, 6.0]])
    torch.testing.assert_close(enlarge(x, whole), x, atol=1e-14, rtol=0)
    dot = torch.tensor([[2.0, 3.0, 1.0, 1.0]])  # one pixel becomes the image
    torch.testing.assert_close(enlarge(x, dot), x[:, :, 2:3, 3:4].expand_as(x), atol=1e-14, rtol=0)
    ramp = torch.arange(8, dtype=torch.float64).expand(1, 1, 8, 8)
    half = torch.tensor([[0.0, 2.0, 8.0, 4.0]])  # columns 2..5 over 8 pixels: 2, 2.25, 2.75, ..., 4.75, 5
    want = torch.tensor([2, 2.25, 2.75, 3.25, 3.75, 4.25, 4.75, 5], dtype=torch.float64)
    torch.testing.assert_close(enlarge(ramp, half)[0, 0, 0], want, atol=1e-14, rtol=0)


@pytest.mark.parametrize("size", [(224, 224), (8, 8), (9, 30)])
def test_crops_lie_inside_and_keep_what_they_should(size: tuple[int, int]) -> None:
    top, left, h, w = boxes(4000, size).double().unbind(1)
    assert (top >= 0).all() and (left >= 0).all() and (top + h <= size[0]).all() and (left + w <= size[1]).all()
    assert torch.equal(h, h.round()) and torch.equal(top, top.round())
    if size == (224, 224):
        area, shape = h * w / 224**2, w / h
        assert float(area.min()) > 0.49 and float(area.max()) <= 1
        assert float(shape.min()) > 0.74 and float(shape.max()) < 1.345
        assert abs(float(shape.log().mean())) < 0.01
        inner = (h < 200) & (top > 0)
        assert abs(float((top / (224 - h))[h < 224].mean()) - 0.5) < 0.02 and inner.any()


def test_a_shape_that_never_fits_is_the_middle() -> None:
    """On a strip 4 x 100 no try fits half of the area within 3/4 .. 4/3: the whole height, 4/3 as wide."""
    assert boxes(50, (4, 100)).unique(dim=0).tolist() == [[0, 47, 4, 5]]
    assert boxes(50, (100, 4)).unique(dim=0).tolist() == [[47, 0, 5, 4]]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_whole_record_by_hand(shape: tuple[int, int, int]) -> None:
    aug, x = augment.by_name(NAME), images(20, shape)
    record = aug.draw(generator(1), 20, shape)
    out, seen = aug.apply(x, record, torch.arange(20)), set()
    for i in range(20):
        top, left, h, w, flip, order, b, c, s, *shift = record[i].double().tolist()
        seen.add((flip, order))
        want = oracle.enlarge(x[i].numpy(), int(top), int(left), int(h), int(w))
        want = want[:, :, ::-1] if flip else want
        names = [KINDS[k] for k in ORDERS[int(order)]]
        want = oracle.jitter(want, names, {"brightness": b, "contrast": c, "saturation": s})
        if shape[0] == 3:
            want = want + np.array(shift)[:, None, None]
        np.testing.assert_allclose(out[i].numpy(), want, atol=1e-6)
    assert len(seen) > 4


def test_laws_of_the_draws() -> None:
    n = 20000
    record = augment.by_name(NAME).draw(generator(2), n, (3, 32, 32)).double()
    assert record.shape == (n, 12)
    assert abs(float(record[:, 4].mean()) - 0.5) < 0.02
    assert (torch.bincount(record[:, 5].long(), minlength=6) - n / 6).abs().max() < 6 * math.sqrt(n / 6)
    for factor in record[:, 6:9].unbind(1):
        assert float(factor.min()) >= 0.6 and float(factor.max()) <= 1.4
        assert abs(float(factor.mean()) - 1) < 0.01 and abs(float(factor.std()) - 0.8 / math.sqrt(12)) < 0.01
    # The covariance of a shift is 0.1^2 V diag(lambda^2) V'.
    vectors = torch.tensor(EIGENVECTORS, dtype=torch.float64)
    want = 0.01 * vectors @ torch.diag(torch.tensor(EIGENVALUES, dtype=torch.float64) ** 2) @ vectors.T
    torch.testing.assert_close(record[:, 9:].T.cov(), want, atol=3e-5, rtol=0)


def test_uniform_numbers_become_normal_ones() -> None:
    torch.testing.assert_close(normal(torch.tensor([0.5, 0.8413447460685429])), torch.tensor([0.0, 1.0]))
    assert normal(torch.tensor([0.0, 1 - 2**-24])).isfinite().all()
    assert torch.equal(colour_shift(torch.full((1, 3), 0.5), 0.1), torch.zeros(1, 3))


def test_first_and_second_derivatives_and_names() -> None:
    aug, x = augment.by_name(NAME), images(2, (3, 4, 5)).requires_grad_()
    record, row = aug.draw(generator(11), 2, (3, 4, 5)), torch.tensor([1, 0])
    assert torch.autograd.gradcheck(lambda x: aug.apply(x, record, row), x)
    assert torch.autograd.gradgradcheck(lambda x: aug.apply(x, record, row).pow(3), x)
    assert augment.by_name("imagenet:flip_crop") == augment.photographs("crop_flip")
    with pytest.raises(ValueError, match="unknown operation 'blur'"):
        augment.by_name("imagenet:blur")
    with pytest.raises(ValueError, match=r"\(rows, 12\)"):
        aug.apply(x, record[:, :5], row)


def test_leaving_the_flip_out_leaves_the_other_draws_alone() -> None:
    full, less = augment.by_name(NAME), augment.by_name("imagenet:crop_jitter_lighting")
    record = full.draw(generator(4), 9, (3, 8, 8))
    assert torch.equal(record, less.draw(generator(4), 9, (3, 8, 8)))
    assert torch.equal(record, full.draw(generator(4), 40, (3, 8, 8))[:9])


def test_pixels_are_what_a_training_changes() -> None:
    space = ValueSpace((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    aug, pixels = augment.by_name(NAME), images(5, (3, 8, 8)).sigmoid()
    record, row = aug.draw(generator(5), 5, (3, 8, 8)), torch.arange(5)
    bound = augment.in_pixels(aug, space)
    torch.testing.assert_close(bound.draw(generator(5), 5, (3, 8, 8)), record)
    want = space.from_pixels(aug.apply(pixels, record, row))
    torch.testing.assert_close(bound.apply(space.from_pixels(pixels), record, row), want, atol=1e-10, rtol=0)
    assert augment.in_pixels(augment.dsa(), space) == augment.dsa()  # values as they are, as published
