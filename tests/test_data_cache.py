"""The cache of decoded images: found again by content, rebuilt when damaged, memory-mapped when large."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch

from infodistill.data import cache_dir, decode, load_data, store
from infodistill.data.cache import fill_once
from infodistill.data.reading import Reading
from infodistill.real import RealData
from tiny_data import png, tiny_parquet, write_classes, write_parquet


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INFODISTILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _both(real: RealData) -> RealData:
    assert real.test is not None
    return real.test


def test_the_second_load_decodes_nothing_and_is_equal(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_data(tiny_parquet(tmp_path / "d"))
    monkeypatch.setattr(decode, "pixels", None)
    second = load_data(tmp_path / "d")
    assert second.fingerprint == first.fingerprint and second.notes == first.notes
    (folder,) = (cache / "decoded").iterdir()
    assert {path.name for path in folder.iterdir()} >= {"train.images.npy", "test.labels.npy", "notes.json"}


def test_changed_content_is_decoded_again(tmp_path: Path) -> None:
    first = load_data(tiny_parquet(tmp_path / "d"))
    write_parquet(tmp_path / "d" / "train.parquet", [png(row + 1) for row in range(9)], [row % 3 for row in range(9)])
    assert load_data(tmp_path / "d").fingerprint != first.fingerprint


def test_a_damaged_cache_is_rebuilt(tmp_path: Path, cache: Path) -> None:
    first = load_data(tiny_parquet(tmp_path / "d"))
    for name, content in (("train.images.npy", b"\x93NUMPY cut"), ("notes.json", b"{"), ("test.labels.npy", b"")):
        next((cache / "decoded").glob(f"*/{name}")).write_bytes(content)
        assert load_data(tmp_path / "d").fingerprint == first.fingerprint
    images = next((cache / "decoded").glob("*/train.images.npy"))
    images.write_bytes(images.read_bytes()[:-5])
    assert load_data(tmp_path / "d").fingerprint == first.fingerprint


def test_looking_for_what_is_not_there_yet_removes_nothing(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()  # as if another process had renamed its folder to this just after we looked
    assert store._load(tmp_path / "x", Reading()) is None and (tmp_path / "x").exists()
    (tmp_path / "x" / "notes.json").write_text("[]")
    assert store._load(tmp_path / "x", Reading()) is None and not (tmp_path / "x").exists()


def test_without_a_writable_cache_everything_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("INFODISTILL_CACHE", str(tmp_path / "file"))
    real = load_data(tiny_parquet(tmp_path / "d"))
    assert len(real) == 9 and "not written" in real.notes["cache"]


def test_what_a_killed_process_left_is_swept_after_a_day(tmp_path: Path, cache: Path) -> None:
    old, new = cache / "decoded" / ".x.1.partial", cache / "decoded" / ".y.2.partial"
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    load_data(tiny_parquet(tmp_path / "d"))
    assert not old.exists() and new.exists()


def test_mapped_images_equal_images_in_memory_bit_for_bit(tmp_path: Path) -> None:
    memory, mapped = load_data(tiny_parquet(tmp_path / "d")), load_data(tmp_path / "d", memory=0)
    assert mapped.fingerprint == memory.fingerprint and mapped.space == memory.space
    assert torch.equal(mapped.batch(0, 3, 5).x, memory.batch(0, 3, 5).x)
    assert torch.equal(_both(mapped).batch(0, 3, 2).x, _both(memory).batch(0, 3, 2).x)
    mapped.images.zero_()  # a private mapping: nobody can damage the cache
    assert load_data(tmp_path / "d").fingerprint == memory.fingerprint


def test_a_folder_cache_hit_needs_no_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_data(write_classes(tmp_path / "d", {"a": 5, "b": 5}))
    monkeypatch.setattr(decode, "pixels", None)
    assert load_data(tmp_path / "d").fingerprint == first.fingerprint


def test_of_two_processes_that_fill_one_folder_the_first_wins(tmp_path: Path) -> None:
    folder = tmp_path / "x" / "done"

    def late(partial: Path) -> None:
        (partial / "by").write_text("late")
        fill_once(folder, lambda other: (other / "by").write_text("early") and None)

    fill_once(folder, late)
    assert (folder / "by").read_text() == "early" and [p.name for p in folder.parent.iterdir()] == ["done"]

    def broken(partial: Path) -> None:
        (partial / "half").write_text("")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fill_once(tmp_path / "x" / "other", broken)
    assert [p.name for p in folder.parent.iterdir()] == ["done"]


def test_the_place_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("INFODISTILL_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "infodistill"
    for platform in ("darwin", "win32"):
        monkeypatch.setattr("sys.platform", platform)
        assert "infodistill" in cache_dir().parts
