"""The bundled digits and `.npz` files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from infodistill.data import load_data
from infodistill.data.arrays import digits_test_rows
from tiny_data import noise


def test_the_digits_split_is_fixed_for_ever() -> None:
    rows = digits_test_rows(load_digits().target.astype(np.int64))
    assert len(np.unique(rows)) == 500
    digest = hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()
    assert digest == "ef18602b80bf07f470a6ed5a9540f7982f1c864bca9997545e3ad5ffddef59bf"


def test_digits_are_complete_balanced_and_scaled() -> None:
    real = load_data("digits")
    assert real.test is not None
    assert (len(real), len(real.test), real.shape, real.num_classes) == (1297, 500, (1, 8, 8), 10)
    assert real.test.counts.tolist() == [50] * 10
    assert real.images.min() == 0 and real.images.max() == 255 and 128 in real.images.unique()  # 8/16 -> 127.5 -> 128
    both = torch.cat([real.images, real.test.images]).flatten(1)
    source = torch.from_numpy(load_digits().data)
    assert torch.equal((both.double() * 16 / 255).round().sum(0), source.sum(0))
    assert real.fingerprint == load_data("digits", seed=5).fingerprint
    assert load_data("digits", size=16).shape == (1, 16, 16)


def _save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def _pictures(count: int, channels: int = 3) -> np.ndarray:
    return np.stack([noise(row, 6, 7, channels) for row in range(count)])


LABELS = np.array([0, 1, 2, 0, 1, 2])


def test_every_layout_and_type_gives_the_same_images(tmp_path: Path) -> None:
    last, grey = _pictures(6), _pictures(6, 1)
    test = {"x_test": last[:3], "y_test": LABELS[:3]}
    a = load_data(_save(tmp_path / "a.npz", x_train=last, y_train=LABELS, **test))
    b = load_data(_save(tmp_path / "b.npz", x_train=last.transpose(0, 3, 1, 2), y_train=LABELS[:, None], **test))
    c = load_data(_save(tmp_path / "c.npz", x_train=(last / 255).astype(np.float32), y_train=LABELS * 1.0, **test))
    d = load_data(_save(tmp_path / "d.npz", x_train=last.astype(np.int64), y_train=LABELS.astype(np.uint8), **test))
    assert a.shape == (3, 6, 7) and np.array_equal(a.images.numpy(), last.transpose(0, 3, 1, 2))
    assert a.fingerprint == b.fingerprint == c.fingerprint == d.fingerprint
    assert a.class_names == ("0", "1", "2") and a.name == "a" and a.test is not None and len(a.test) == 3
    for keys in (("x", "y"), ("images", "labels")):
        real = load_data(
            _save(tmp_path / "e.npz", **dict(zip(keys, (grey, LABELS), strict=True)), class_names=["u", "v", "w"])
        )
        assert real.shape == (1, 6, 7) and real.class_names == ("u", "v", "w")
        assert real.test is not None and real.test.counts.tolist() == [1, 1, 1]
    assert load_data(tmp_path / "e.npz", size=5).shape == (1, 5, 5)


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"x": _pictures(6)}, r"has the arrays x; wanted x_train"),
        ({"x": _pictures(6), "y": LABELS - 1}, r"y of bad.npz must be class numbers from 0, found -1..1"),
        ({"x": _pictures(6), "y": LABELS * 100}, r"must be class numbers from 0, found 0..200"),
        ({"x": _pictures(6), "y": LABELS + 0.5}, r"must be whole numbers"),
        ({"x": _pictures(6), "y": np.array(list("abcabc"))}, r"must be whole numbers of shape \(n,\), got <U1"),
        ({"x": _pictures(6), "y": np.eye(6)}, r"must be whole numbers of shape \(n,\), got float64 \(6, 6\)"),
        ({"x": _pictures(6), "y": np.full(6, np.nan)}, "must be whole numbers"),
        ({"x": _pictures(6), "y": LABELS[:5]}, "6 images in x and 5 labels in y"),
        ({"x": _pictures(6), "y": LABELS * 0}, r"has 1 class \(0\), at least two"),
        ({"x": _pictures(6), "y": LABELS * 2}, "class '1' of bad has no training images"),
        ({"x": _pictures(6) * 2.0, "y": LABELS}, r"must lie in 0..1, found 0..510"),
        ({"x": _pictures(6) * np.nan, "y": LABELS}, r"must lie in 0..1, found nan"),
        ({"x": _pictures(6).astype(int) - 1000, "y": LABELS}, r"holds int64 and must lie in 0..255, found -1000"),
        ({"x": np.zeros((6, 5)), "y": LABELS}, r"must be \(n, h, w\)"),
        ({"x": np.zeros((6, 5, 5, 4)), "y": LABELS}, r"with 1 or 3 channels, got \(6, 5, 5, 4\)"),
        ({"x": np.zeros((0, 5, 5)), "y": LABELS[:0]}, r"must be \(n, h, w\)"),
        ({"x": np.zeros((6, 5, 5), bool), "y": LABELS}, "must hold integers or floats, got bool"),
        (
            {"x": _pictures(6), "y": np.full(6, 2**64 - 1, np.uint64)},
            r"found 18446744073709551615..18446744073709551615",
        ),
        ({"x": _pictures(6), "y": LABELS, "class_names": "abc"}, r"class_names of bad.npz must be of shape \(k,\)"),
        ({"x": np.array([{}] * 6), "y": LABELS}, "cannot read bad.npz as a .npz of plain arrays"),
        (
            {"x_train": _pictures(6), "y_train": LABELS, "x_test": _pictures(1), "y_test": [0]}
            | {"class_names": ["a", "b"]},
            r"labels of bad must lie in 0..1, found 0..2",
        ),
        (
            {"x_train": _pictures(6), "y_train": LABELS, "x_test": _pictures(4), "y_test": [3, 0, 0, 0]},
            r"labels of bad must lie in 0..2, found 0..3",
        ),
        (
            {"x_train": _pictures(6), "y_train": LABELS, "x_test": _pictures(2, 1), "y_test": [1, 0]},
            r"training images of bad are \(3, 6, 7\), its test images \(1, 6, 7\)",
        ),
    ],
)
def test_a_bad_npz_is_one_sentence(tmp_path: Path, arrays: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        load_data(_save(tmp_path / "bad.npz", **arrays))
    assert "\n" not in str(caught.value)


def test_few_test_images_may_be_of_any_class(tmp_path: Path) -> None:
    arrays = {"x_train": _pictures(6), "y_train": LABELS, "x_test": _pictures(1), "y_test": [2]}
    real = load_data(_save(tmp_path / "a.npz", **arrays))
    assert real.test is not None and real.test.labels.tolist() == [2]


def test_an_npz_with_damaged_compression_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    np.savez_compressed(path, x=_pictures(6), y=LABELS)
    content = bytearray(path.read_bytes())
    content[60:90] = b"\xff" * 30
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot read bad\.npz"):
        load_data(path)


def test_a_file_that_is_no_npz_is_one_sentence(tmp_path: Path) -> None:
    good = _save(tmp_path / "cut.npz", x=_pictures(6), y=LABELS).read_bytes()
    for content in (b"", b"rubbish", good[: len(good) // 2]):
        (tmp_path / "cut.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"cannot read cut\.npz"):
            load_data(tmp_path / "cut.npz")


def test_a_constant_channel_has_deviation_one(tmp_path: Path) -> None:
    images = _pictures(6)
    images[..., 1] = 51
    real = load_data(_save(tmp_path / "a.npz", x=images, y=LABELS))
    assert real.space.mean[1] == pytest.approx(0.2) and real.space.std[1] == 1.0
