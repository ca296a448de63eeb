"""RealData: keyed balanced draws, splits, samples, fingerprint, storage."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from infodistill import real as module
from infodistill.real import RealData
from infodistill.types import ValueSpace
from tiny_data import tiny_real


def test_rows_are_normalised_pixels_with_one_hot_targets() -> None:
    real = tiny_real()
    index = torch.tensor([3, 0, 3])
    batch = real.rows(index)
    pixels = real.images[index].double() / 255
    mean, std = (torch.tensor(v).double().view(-1, 1, 1) for v in (real.space.mean, real.space.std))
    assert batch.x.dtype == torch.float32 and batch.space == real.space
    torch.testing.assert_close(batch.x.double(), (pixels - mean) / std, atol=1e-6, rtol=0)
    assert torch.equal(batch.y, real.labels[index])
    assert torch.equal(batch.target.argmax(1), batch.y) and torch.equal(batch.target.sum(1), torch.ones(3))


def test_rows_do_not_depend_on_how_a_gather_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    real = tiny_real()
    index = torch.arange(len(real)).flip(0)
    whole, fingerprint = real.rows(index).x, real.fingerprint
    monkeypatch.setattr(module, "CHUNK_BYTES", 4 * 3 * 64 * 2)
    assert torch.equal(real.rows(index).x, whole)
    assert tiny_real().fingerprint == fingerprint
    assert real.rows(index[:0]).x.shape == (0, 3, 8, 8)


def test_a_batch_is_balanced_class_major_and_repeatable() -> None:
    real = tiny_real()
    batch = real.batch(5, 11, 4)
    assert batch.y.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert torch.equal(batch.x, real.batch(5, 11, 4).x)
    for other in (real.batch(6, 11, 4), real.batch(5, 12, 4), real.batch(5, 11, 4, owner="term")):
        assert not torch.equal(batch.x, other.x)


def test_the_rows_of_a_class_do_not_depend_on_the_other_classes() -> None:
    real = tiny_real()
    forward, backward = real.draw(1, 2, 4), real.draw(1, 2, 4, classes=[2, 1, 0])
    assert torch.equal(forward.view(3, 4), backward.view(3, 4).flip(0))
    assert torch.equal(real.draw(1, 2, 4, classes=torch.tensor([1])), forward[4:8])


def test_draws_are_without_replacement_and_small_classes_are_cycled() -> None:
    real = tiny_real((3, 8))
    for step in range(20):
        small, large = real.draw(0, step, 8).view(2, 8)
        assert len(large.unique()) == 8
        assert sorted(Counter(small.tolist()).values()) == [2, 3, 3]
        assert len(small[:3].unique()) == len(small[3:6].unique()) == 3


def test_every_image_is_drawn_equally_often() -> None:
    real = tiny_real((6, 5))
    seen = torch.zeros(len(real))
    for step in range(600):
        seen[real.draw(0, step, 2)] += 1
    assert (seen[real.labels == 0] - 200).abs().max() < 60  # sd 11.5
    assert (seen[real.labels == 1] - 240).abs().max() < 60


def test_a_missing_class_and_a_bad_batch_size_are_one_sentence() -> None:
    real = tiny_real((3, 4)).subset(torch.arange(7)[tiny_real((3, 4)).labels == 1])
    with pytest.raises(ValueError, match="no images of class 0"):
        real.batch(0, 0, 1)
    with pytest.raises(ValueError, match="no images of class 9"):
        real.batch(0, 0, 1, classes=[9])
    with pytest.raises(ValueError, match="at least 1 image per class, got 0"):
        real.batch(0, 0, 0)
    assert real.batch(0, 0, 2, classes=[1]).y.tolist() == [1, 1]


def test_a_sample_is_distinct_class_major_and_bounded_by_the_smallest_class() -> None:
    real = tiny_real()
    rows = real.sample(3, 5)
    assert len(rows.unique()) == 15 and real.labels[rows].tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert torch.equal(rows, real.sample(3, 5)) and not torch.equal(rows, real.sample(4, 5))
    with pytest.raises(ValueError, match=r"ipc is 6, but class 'class 1' of tiny has only 5 images"):
        real.sample(3, 6)
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        real.sample(3, 0)


def test_a_split_is_stratified_keyed_and_a_partition() -> None:
    real = tiny_real((10, 5, 1))
    rest, held = real.split(0.2, 7)
    assert held.counts.tolist() == [2, 1, 0] and rest.counts.tolist() == [8, 4, 1]
    both = torch.cat([rest.images, held.images]).flatten(1).unique(dim=0)
    assert len(both) == len(real)
    assert torch.equal(held.images, real.split(0.2, 7)[1].images)
    assert not torch.equal(held.images, real.split(0.2, 8)[1].images)
    assert held.test is None and "seed 7" in held.notes["split"] and held.space == real.space
    for fraction in (0.0, 1.0, -1.0):
        with pytest.raises(ValueError, match="strictly between 0 and 1"):
            real.split(fraction, 0)


def test_a_large_fraction_leaves_at_least_one_image_of_a_class() -> None:
    rest, held = tiny_real((4, 2)).split(0.99, 0)
    assert rest.counts.tolist() == [1, 1] and held.counts.tolist() == [3, 1]


def test_a_subset_is_a_view_with_the_same_numbers_as_a_copy() -> None:
    real = tiny_real()
    index = torch.tensor([9, 2, 4, 11, 0])
    view = real.subset(index)
    copy = RealData(real.images[index], real.labels[index], real.class_names, real.space)
    assert view.fingerprint == copy.fingerprint != real.fingerprint
    assert torch.equal(view.images, copy.images) and len(view) == 5
    nested, every = view.subset(torch.tensor([4, 1])), torch.arange(2)
    assert torch.equal(nested.rows(every).x, real.rows(index[[4, 1]]).x)
    assert view._stored is real._stored


def test_the_fingerprint_sees_images_labels_and_names() -> None:
    real = tiny_real()
    images, labels = real.images.clone(), real.labels.clone()
    images[3, 1, 2, 2] ^= 1
    labels[0] = (labels[0] + 1) % 3
    prints = {
        real.fingerprint,
        real.replace(images=images).fingerprint,
        real.replace(labels=labels).fingerprint,
        real.replace(class_names=("a", "b", "c")).fingerprint,
    }
    assert len(prints) == 4
    assert real.replace(name="other").fingerprint == tiny_real().fingerprint


def test_the_fingerprint_never_changes_because_artefacts_record_it() -> None:
    images = torch.arange(2 * 3 * 4, dtype=torch.uint8).view(2, 3, 2, 2)
    real = RealData(images, torch.tensor([1, 0]), ("a", "b"), ValueSpace((0.5,) * 3, (0.5,) * 3))
    header = repr((2, (3, 2, 2), ("a", "b"))).encode()
    content = bytes([1, *[0] * 7]) + bytes(8) + bytes(range(24))
    assert real.fingerprint == hashlib.sha256(header + content).hexdigest()
    assert real.fingerprint.startswith("6a160ce73a45b834")


def test_a_memory_mapped_set_gives_the_same_bits(tmp_path: Path) -> None:
    real = tiny_real()
    np.save(tmp_path / "images.npy", real.images.numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "images.npy", mmap_mode="c"))
    other = RealData(mapped, real.labels, real.class_names, real.space)
    assert other.fingerprint == real.fingerprint
    assert torch.equal(other.batch(0, 0, 6).x, real.batch(0, 0, 6).x)
    assert torch.equal(other.split(0.5, 0)[1].batch(0, 0, 2).x, real.split(0.5, 0)[1].batch(0, 0, 2).x)


def test_moving_to_the_same_device_changes_nothing() -> None:
    real = tiny_real()
    assert real.to("cpu") is real


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_device_gives_the_same_values_whether_the_images_move_or_not() -> None:
    real = tiny_real()
    real = real.replace(test=real.split(0.5, 0)[1])
    for budget in (0, None):
        moved = real.to("cuda", budget=budget)
        assert moved.test is not None and moved.test.device.type == moved.batch(0, 0, 4).x.device.type == "cuda"
        torch.testing.assert_close(moved.batch(0, 0, 4).x.cpu(), real.batch(0, 0, 4).x, atol=1e-6, rtol=0)
        assert moved.replace().fingerprint == real.fingerprint
        assert torch.equal(moved.to("cpu").images, real.images)


def test_what_does_not_fit_together_is_refused() -> None:
    images, labels = torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 0, 1])
    space = ValueSpace((0.5,), (0.5,))
    for bad, why in [
        ((images.float(), labels, "ab", space), "must be uint8"),
        ((images[:, 0], labels, "ab", space), "must be uint8"),
        ((images[:0], labels[:0], "ab", space), "n > 0"),
        ((images, labels[:3], "ab", space), "4 images need as many labels"),
        ((images, labels - 1, "ab", space), r"labels must lie in 0..1, found -1..0"),
        ((images, labels + 1, "ab", space), r"labels must lie in 0..1, found 1..2"),
        ((images, labels, "aa", space), "distinct"),
        ((images, labels, "ab", ValueSpace((0.5,) * 3, (0.5,) * 3)), "3 channels, the images have 1"),
    ]:
        with pytest.raises(ValueError, match=why):
            RealData(*bad)
