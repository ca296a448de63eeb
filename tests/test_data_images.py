"""Image files: sizes, modes, orientation and damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from infodistill.data import load_data
from infodistill.data.images import header, pixels
from tiny_data import noise, picture, write_classes


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INFODISTILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_mixed_sizes_and_modes_become_one_shape(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "d", {"a": 4, "b": 4})
    picture(1, 40, 64).save(root / "a" / "wide.jpg")
    picture(2, 20, 9, 1).save(root / "a" / "tall-grey.png")
    picture(3, 16, 16).convert("P").save(root / "b" / "palette.gif")
    picture(4, 16, 16).convert("RGBA").save(root / "b" / "alpha.png")
    picture(5, 16, 16).convert("CMYK").save(root / "b" / "cmyk.jpg")
    Image.fromarray(noise(6, channels=1).astype(np.uint16) * 257).save(root / "b" / "deep.png")
    picture(7).convert("1").save(root / "b" / "bilevel.bmp")
    real = load_data(root)
    assert real.test is not None
    assert real.shape == (3, 32, 32) and len(real) + len(real.test) == 15
    assert "4 sizes brought to 32x32" in real.notes["size"] and "--size" in real.notes["size"]
    assert load_data(root, size=12).shape == (3, 12, 12)


def test_images_of_one_size_keep_it_even_if_not_square(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "d", {"a": 3, "b": 3}, lambda row: picture(row, 6, 10))
    assert load_data(root).shape == (3, 6, 10)
    assert load_data(root, size=6).shape == (3, 6, 6)


def test_only_grey_images_give_one_channel(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "d", {"a": 3, "b": 3}, lambda row: picture(row, channels=1))
    Image.new("LA", (8, 8), (10, 255)).save(root / "a" / "grey-alpha.png")
    palette = picture(9, channels=1).convert("P")
    palette.save(root / "a" / "grey-palette.png")
    assert load_data(root).shape == (1, 8, 8)
    picture(1).save(root / "b" / "colour.png")
    assert load_data(root).shape == (3, 8, 8)


def test_transparency_is_composited_over_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("RGBA", (4, 4), (255, 0, 0, 255)).save(tmp_path / "red.png")
    Image.new("RGBA", (4, 4), (0, 0, 0, 51)).save(tmp_path / "faint.png")
    assert (pixels(tmp_path / "clear.png", 3, None) == 255).all()
    assert pixels(tmp_path / "red.png", 3, None)[:, 0, 0].tolist() == [255, 0, 0]
    assert pixels(tmp_path / "faint.png", 1, None)[0, 0, 0] == 204


def test_sixteen_bit_and_cmyk_values_are_scaled(tmp_path: Path) -> None:
    grey = noise(3, channels=1)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert np.array_equal(pixels(tmp_path / "deep.png", 1, None)[0], grey) and header(tmp_path / "deep.png").grey
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "red.jpg", quality=100)
    assert np.abs(pixels(tmp_path / "red.jpg", 3, None)[:, 4, 4].astype(int) - [255, 0, 0]).max() < 6
    Image.fromarray((grey / 255).astype(np.float32)).save(tmp_path / "float.tif")
    assert np.array_equal(pixels(tmp_path / "float.tif", 1, None)[0], grey)
    Image.fromarray(grey.astype(np.float32)).save(tmp_path / "bad.tif")
    with pytest.raises(ValueError, match=r"must lie in 0..1"):
        pixels(tmp_path / "bad.tif", 1, None)


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    upright = np.zeros((8, 16, 3), np.uint8)
    upright[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees to see it upright
    stored = Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90)
    stored.save(tmp_path / "turned.jpg", exif=exif, quality=100)
    assert header(tmp_path / "turned.jpg").size == (8, 16)
    assert np.abs(pixels(tmp_path / "turned.jpg", 3, None).astype(int) - upright.transpose(2, 0, 1)).max() < 30


def test_resizing_keeps_the_centre_and_does_not_alias(tmp_path: Path) -> None:
    wide = np.zeros((32, 96), np.uint8)
    wide[:, 32:64] = np.indices((32, 32)).sum(0) % 2 * 255  # a checkerboard averages to grey
    Image.fromarray(wide).save(tmp_path / "wide.png")
    small = pixels(tmp_path / "wide.png", 1, 8)[0]
    assert small.shape == (8, 8) and np.abs(small[2:-2, 2:-2].astype(int) - 128).max() < 12


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-60])


def test_a_damaged_image_stops_with_its_name_or_is_counted(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "d" / "train", {"a": 4, "b": 4}).parent
    write_classes(root / "test", {"a": 2, "b": 2}, first=20)
    clean = load_data(root)
    _truncate(root / "train" / "a" / "002.png")
    with pytest.raises(ValueError, match=r"cannot read image train/a/002.png: .*--skip-corrupt"):
        load_data(root)
    (root / "train" / "b" / "000.png").write_bytes(b"no picture")
    (root / "test" / "b" / "001.png").write_bytes(b"")
    for _ in range(2):  # decoded, then from the cache
        real = load_data(root, skip_corrupt=True)
        assert real.test is not None and clean.test is not None
        assert real.notes["skipped_corrupt"] == 3 and real.counts.tolist() == [3, 3]
        names = " ".join(real.notes["skipped_corrupt_first"])
        assert all(name in names for name in ("train/a/002.png", "train/b/000.png", "test/b/001.png"))
        assert torch.equal(real.images, clean.images[[0, 1, 3, 5, 6, 7]])
        assert torch.equal(real.test.images, clean.test.images[:3])
    with pytest.raises(
        ValueError, match=r"cannot read 3 images, the first: train/a/002.png: .*; train/b/000.png: .*; t"
    ):
        load_data(root)  # one damaged in its pixels, two in their headers


def test_a_class_lost_to_damage_is_an_error(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "d", {"a": 4, "b": 1})
    (root / "b" / "000.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"class 'b' of d has no training images \(1 unreadable left out\)"):
        load_data(root, skip_corrupt=True)
    for path in root.rglob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"no readable image among 5, the first: a/000\.png: not an image"):
        load_data(root, skip_corrupt=True)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_classes(tmp_path / "d", {"a": 2, "b": 2})
    picture(0, 40, 40).save(root / "b" / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"b/large.png: .*decompression bomb"):
        load_data(root)
