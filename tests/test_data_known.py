"""Downloads, hostile archives, and the readers of the published files."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat

from infodistill.data import known, load_data
from infodistill.data.archives import Limits, member_names, read_members
from infodistill.data.binary import read_cifar, read_idx, read_svhn
from infodistill.data.constants import IMAGENETTE, SPACES
from infodistill.data.download import Download, fetch
from tiny_data import noise, picture, png


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INFODISTILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _tar(path: Path, members: Mapping[str, bytes], *odd: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in odd:
            archive.addfile(info)
    return path


def _zip(path: Path, members: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("make", [_tar, _zip])
def test_wanted_members_are_read_and_nothing_is_written(tmp_path: Path, make: Any) -> None:
    path = make(tmp_path / "a.bin", {"d/x.png": b"x", "d/y.txt": b"y", "d/z.png": b"z"})
    before = sorted(tmp_path.rglob("*"))
    assert list(read_members(path, lambda name: name.endswith(".png"))) == [("d/x.png", b"x"), ("d/z.png", b"z")]
    assert member_names(path) == ["d/x.png", "d/y.txt", "d/z.png"] and sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("make", [_tar, _zip])
@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/etc/evil", "C:\\evil", "a\\..\\..\\evil", "\\\\host\\evil"]
)
def test_members_that_leave_the_folder_are_refused(tmp_path: Path, make: Any, name: str) -> None:
    with pytest.raises(ValueError, match="leaves its folder"):
        list(read_members(make(tmp_path / "a.bin", {"fine": b"1", name: b"2"}), lambda _: True))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    odd = tarfile.TarInfo("odd")
    odd.type, odd.linkname = kind, "/etc/passwd"
    with pytest.raises(ValueError, match="link or device"):
        list(read_members(_tar(tmp_path / "a.tgz", {"fine": b"1"}, odd), lambda _: True))


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("odd")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ValueError, match="link or device"):
        list(read_members(tmp_path / "a.zip", lambda _: True))


@pytest.mark.parametrize("make", [_tar, _zip])
@pytest.mark.parametrize("limits", [Limits(members=2), Limits(member_bytes=50), Limits(total_bytes=120)])
def test_absurd_archives_are_refused(tmp_path: Path, make: Any, limits: Limits) -> None:
    path = make(tmp_path / "a.bin", {name: bytes(60) for name in "abc"})
    assert len(list(read_members(path, lambda _: True))) == 3
    with pytest.raises(ValueError, match="larger than an image archive may be"):
        list(read_members(path, lambda _: True, limits))


@pytest.mark.parametrize("make", [_tar, _zip])
def test_a_damaged_archive_is_one_sentence(tmp_path: Path, make: Any) -> None:
    rng = np.random.default_rng(0)
    path = make(tmp_path / "a.bin", {"x": rng.bytes(5000)})
    for content in (path.read_bytes()[:2000], b"", b"rubbish" * 100):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.bin is not an archive that can be read"):
            list(read_members(path, lambda _: True))


def _idx(array: np.ndarray) -> bytes:
    sizes = b"".join(side.to_bytes(4, "big") for side in array.shape)
    return gzip.compress(bytes((0, 0, 8, array.ndim)) + sizes + array.tobytes())


def test_idx(tmp_path: Path) -> None:
    array = noise(0, 5, 4).transpose(2, 0, 1).copy()
    path = tmp_path / "images.gz"
    path.write_bytes(_idx(array))
    assert np.array_equal(read_idx(path), array)
    for bad in (
        b"",
        b"x",
        gzip.compress(b""),
        gzip.compress(b"\0\0\x08"),
        _idx(array)[:-9],
        gzip.compress(b"\0\0\x0d\1abcd"),
    ):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match=r"images\.gz is not"):
            read_idx(path)
    path.write_bytes(gzip.compress(gzip.decompress(_idx(array))[:-1]))
    with pytest.raises(ValueError, match="cut short"):
        read_idx(path)


def test_cifar_records(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 3072), np.uint8)
    labels = np.array([3, 0, 9, 1], np.uint8)
    rows = np.concatenate([np.full((4, 1), 77, np.uint8), labels[:, None], images], 1)
    path = _tar(tmp_path / "c.tgz", {"c/train.bin": rows.tobytes(), "c/test.bin": rows[:1].tobytes() + b"x"})
    part = read_cifar(path, ["train.bin"], 2)
    assert np.array_equal(part.images.reshape(4, -1), images) and part.labels.tolist() == [3, 0, 9, 1]
    for member in ("test.bin", "none.bin"):
        with pytest.raises(ValueError, match="is missing or is not made of 3074-byte records"):
            read_cifar(path, [member], 2)


def test_svhn(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 4), np.uint8)
    savemat(tmp_path / "t.mat", {"X": images, "y": np.array([[10], [1], [9], [10]], np.uint8)})
    part = read_svhn(tmp_path / "t.mat")
    assert part.labels.tolist() == [0, 1, 9, 0]
    assert np.array_equal(part.images[2, 1], images[:, :, 1, 2])
    (tmp_path / "t.mat").write_bytes(b"rubbish")
    with pytest.raises(ValueError, match=r"t\.mat is not SVHN's"):
        read_svhn(tmp_path / "t.mat")


def _publish(monkeypatch: pytest.MonkeyPatch, root: Path, name: str, files: list[Path]) -> None:
    """Let a known data set be downloaded from local files."""
    published = tuple(Download(file.as_uri(), hashlib.sha256(file.read_bytes()).hexdigest()) for file in files)
    monkeypatch.setitem(known.KNOWN, name, known.Known(published, known.KNOWN[name].read))


def test_mnist_from_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.stack([noise(row, 28, 28, 1) for row in range(20)])
    files = []
    for split, rows in (("train", slice(0, 15)), ("t10k", slice(15, 20))):
        for kind, array in (("images", images[rows]), ("labels", (np.arange(20) % 10).astype(np.uint8)[rows])):
            files.append(tmp_path / f"{split}-{kind}.gz")
            files[-1].write_bytes(_idx(array))
    _publish(monkeypatch, tmp_path, "mnist", files)
    real = load_data("mnist")
    assert real.test is not None and len(real) == 15 and len(real.test) == 5 and real.space == SPACES["mnist"]
    assert np.array_equal(real.images[:, 0].numpy(), images[:15]) and real.test.labels.tolist() == [5, 6, 7, 8, 9]
    files[0].unlink()
    assert load_data("mnist", size=14).shape == (1, 14, 14)  # the cached copies are enough


def test_imagenette_from_its_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members: dict[str, bytes] = {"imagenette2-320/noise.csv": b"x"}
    for row, wnid in enumerate(IMAGENETTE):
        for split, count in (("train", 2), ("val", 1)):
            for image in range(count):
                raw = io.BytesIO()
                picture(row, 40, 50).save(raw, "jpeg")
                members[f"imagenette2-320/{split}/{wnid}/{image}.JPEG"] = raw.getvalue()
    _publish(monkeypatch, tmp_path, "imagenette", [_tar(tmp_path / "imagenette2-320.tgz", members)])
    real = load_data("imagenette")
    assert real.test is not None and real.shape == (3, 128, 128) and real.counts.tolist() == [2] * 10
    assert real.class_names[:2] == ("tench", "English springer") and real.test.counts.tolist() == [1] * 10
    assert load_data("imagenette", size=32).shape == (3, 32, 32)


def test_tinyimagenet_from_its_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = "tiny-imagenet-200"
    members = {
        f"{root}/wnids.txt": b"n02\nn01\n",
        f"{root}/val/val_annotations.txt": b"val_0.JPEG\tn02\t0\t0\t1\t1\nval_1.JPEG\tn01\t0\t0\t1\t1\n",
        f"{root}/test/images/test_0.JPEG": png(99),
    }
    members |= {f"{root}/train/{wnid}/images/{wnid}_{i}.JPEG": png(i) for wnid in ("n01", "n02") for i in range(3)}
    members |= {f"{root}/val/images/val_{i}.JPEG": png(50 + i, 3) for i in range(2)}
    _publish(monkeypatch, tmp_path, "tinyimagenet", [_zip(tmp_path / "tiny-imagenet-200.zip", members)])
    real = load_data("tinyimagenet")
    assert real.test is not None and real.class_names == ("n01", "n02") and real.shape == (3, 8, 8)
    assert real.counts.tolist() == [3, 3] and real.test.labels.tolist() == [1, 0]
    assert torch.equal(real.test.images[0], torch.from_numpy(noise(50).transpose(2, 0, 1).copy()))


def test_a_download_is_verified(tmp_path: Path, cache: Path) -> None:
    source = tmp_path / "a.bin"
    source.write_bytes(b"right")
    good = Download(source.as_uri(), hashlib.sha256(b"right").hexdigest())
    assert fetch(good, "d").read_bytes() == b"right"
    (cache / "downloads" / "d" / "a.bin").write_bytes(b"wrong")
    with pytest.raises(ValueError, match=r"a\.bin has sha256 .*, expected .*: delete it and try again"):
        fetch(good, "d")


def test_without_a_published_hash_the_first_copy_is_trusted_and_recorded(tmp_path: Path, cache: Path) -> None:
    source = tmp_path / "a.bin"
    source.write_bytes(b"first")
    file = Download(source.as_uri(), None)
    fetch(file, "d")
    recorded = (cache / "downloads" / "d" / "a.bin.sha256").read_text().strip()
    assert recorded == hashlib.sha256(b"first").hexdigest()
    source.write_bytes(b"second")
    (cache / "downloads" / "d" / "a.bin").unlink()
    with pytest.raises(ValueError, match="has sha256"):
        fetch(file, "d")


def test_no_connection_is_one_sentence_and_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    for name in known.KNOWN:
        with pytest.raises(
            ValueError, match=f"could not download {name} from http.*unreachable.*folder or Parquet"
        ) as caught:
            load_data(name)
        assert "\n" not in str(caught.value)
    assert not [path for path in cache.rglob("*") if path.is_file()]
