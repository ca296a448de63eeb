"""Augmentation records and names: repeatable, drawn from the published laws, wrong ones refused."""

from __future__ import annotations

import math

import pytest
import torch

from augmenting import BY_NAME, generator, images
from infodistill import augment
from infodistill.augment.siamese import OPERATIONS, Omega


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
