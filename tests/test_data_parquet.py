"""Parquet, the decoded-image cache, memory mapping, the hub, and the shared real data."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from infodistill.data import decode, load_data
from infodistill.data.constants import SPACES
from infodistill.real import RealData
from tiny_data import NAMES, noise, png, tiny_parquet, write_parquet


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INFODISTILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _both(real: RealData) -> RealData:
    assert real.test is not None
    return real.test


def test_train_and_test_files(tmp_path: Path) -> None:
    real = load_data(tiny_parquet(tmp_path / "bugs"))
    assert (real.name, real.class_names, real.shape) == ("bugs", NAMES, (1, 8, 8))
    assert real.counts.tolist() == [3, 3, 3] and len(_both(real)) == 3
    for row in range(9):
        assert np.array_equal(real.images[row, 0].numpy(), noise(row, channels=1))
    assert real.space != SPACES["mnist"] and "measured" in real.notes["space"]


def test_sharded_files_in_folders_and_split_names(tmp_path: Path) -> None:
    for shard in range(2):
        rows = range(3 * shard, 3 * shard + 3)
        file = tmp_path / "d" / "data" / f"train-0000{shard}-of-00002.parquet"
        write_parquet(file, [png(row) for row in rows], [0, 1, 2])
    write_parquet(tmp_path / "d" / "data" / "validation-00000-of-00001.parquet", [png(9)], [2])
    real = load_data(tmp_path / "d")
    assert real.labels.tolist() == [0, 1, 2] * 2 and _both(real).labels.tolist() == [2]
    assert np.array_equal(real.images[4, 0].numpy(), noise(4, channels=1))
    write_parquet(tmp_path / "d" / "test" / "0000.parquet", [png(10), png(11)], [0, 1])
    assert len(_both(load_data(tmp_path / "d"))) == 2  # test is preferred to validation


def test_a_single_file_gets_a_held_out_fifth(tmp_path: Path) -> None:
    file = write_parquet(
        tmp_path / "all.parquet", [png(row) for row in range(20)], [row % 2 for row in range(20)], None
    )
    real = load_data(file)
    assert real.class_names == ("0", "1") and real.name == "all"
    assert real.counts.tolist() == [8, 8] and _both(real).counts.tolist() == [2, 2]


def test_only_folders_known_by_name_get_published_constants(tmp_path: Path) -> None:
    real = load_data(tiny_parquet(tmp_path / "mnist"))
    assert real.space == SPACES["mnist"] and "because the folder is called mnist" in real.notes["space"]


def test_a_bare_known_name_is_a_local_folder_if_that_holds_parquet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_parquet(tmp_path / "mnist")
    assert len(load_data("mnist")) == 9


def test_decoding_in_threads_keeps_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serial = load_data(tiny_parquet(tmp_path / "d", train=40))
    for name, value in (("_SMALL", 0), ("_CHUNK", 2)):
        monkeypatch.setattr(decode, name, value)
    monkeypatch.setenv("INFODISTILL_CACHE", str(tmp_path / "other"))
    assert load_data(tmp_path / "d").fingerprint == serial.fingerprint


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    told: dict[str, tuple[int, int]] = {}
    load_data(tiny_parquet(tmp_path / "d"), progress=lambda stage, done, total: told.update({stage: (done, total)}))
    assert told["decode train"] == (9, 9) and told["decode test"] == (3, 3) and "scan train" in told


def test_damaged_rows(tmp_path: Path) -> None:
    images = [png(row) for row in range(8)]
    images[3], images[5] = images[3][:-40], None  # type: ignore[assignment]
    file = write_parquet(tmp_path / "d.parquet", images, [row % 2 for row in range(8)])
    with pytest.raises(
        ValueError, match=r"cannot read 2 images, the first: row 3 of d\.parquet: .*; row 5 of d\.parquet"
    ):
        load_data(file)
    real = load_data(write_parquet(file, images, [row % 2 for row in range(8)], ["a", "b"]), skip_corrupt=True)
    assert len(real) + len(_both(real)) == 6 and real.notes["skipped_corrupt"] == 2


@pytest.mark.parametrize(
    ("labels", "names", "why"),
    [
        ([0, 1, 3], NAMES, r"labels of d must lie in 0..2, found 0..3"),
        ([0, -1, 1], NAMES, r"labels of d must lie in 0..2, found -1..1"),
        ([0, 1, 1], NAMES, "class 'cat' of d has no training images"),
        ([0, 0, 0], None, r"has 1 class \(0\), at least two"),
        ([0, None, 1], NAMES, r"row 1 of d\.parquet has no label"),
        ([], NAMES, "no readable image among 0"),
        ([0, 2**40, 1], None, r"column label must hold class numbers from 0, found 0..1099511627776 in 3 images"),
        ([0, -1, 1], None, r"column label must hold class numbers from 0, found -1..1"),
    ],
)
def test_bad_labels_are_one_sentence(tmp_path: Path, labels: list[int | None], names: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        load_data(write_parquet(tmp_path / "d.parquet", [png(row) for row in range(len(labels))], labels, names))


def test_labels_beyond_int64_are_one_sentence(tmp_path: Path) -> None:
    table = pa.table({"image": [png(0), png(1)], "label": pa.array([0, 2**64 - 1], pa.uint64())})
    pq.write_table(table, tmp_path / "d.parquet")
    with pytest.raises(ValueError, match=r"row 1 of d\.parquet has the label 18446744073709551615; wanted a class"):
        load_data(tmp_path / "d.parquet")


def test_splits_with_other_columns_are_one_sentence(tmp_path: Path) -> None:
    root = tiny_parquet(tmp_path / "d")
    pq.write_table(pa.table({"picture": [png(0)], "label": [0]}), root / "test.parquet")
    with pytest.raises(ValueError, match=r"test\.parquet has the columns picture and label; wanted image and label"):
        load_data(root)


@pytest.mark.parametrize("raw", [b"{", b"[]", b'{"info": {"features": {"label": {"names": 3}}}}'])
def test_damaged_class_names_are_one_sentence(tmp_path: Path, raw: bytes) -> None:
    table = pa.table({"image": [png(0), png(1)], "label": [0, 1]}).replace_schema_metadata({b"huggingface": raw})
    pq.write_table(table, tmp_path / "d.parquet")
    with pytest.raises(ValueError, match=r"the class names in the schema of d\.parquet cannot be read"):
        load_data(tmp_path / "d.parquet")


def test_training_and_testing_files_are_splits(tmp_path: Path) -> None:
    root = tiny_parquet(tmp_path / "d")
    (root / "train.parquet").rename(root / "Training.parquet")
    (root / "test.parquet").rename(root / "testing.parquet")
    real = load_data(root)
    assert (len(real), len(_both(real))) == (9, 3)


def test_files_that_are_not_this_layout_are_one_sentence(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": ["a.png"], "label": ["cat"]}), tmp_path / "text.parquet")
    with pytest.raises(ValueError, match=r"text\.parquet has the columns image, label; wanted image: struct"):
        load_data(tmp_path / "text.parquet")
    good = write_parquet(tmp_path / "cut.parquet", [png(0), png(1)], [0, 1]).read_bytes()
    for content in (b"", b"rubbish", good[:-30], good[:300] + bytes(200) + good[500:]):
        (tmp_path / "cut.parquet").write_bytes(content)
        with pytest.raises(ValueError, match="cannot read") as caught:
            load_data(tmp_path / "cut.parquet")
        assert "\n" not in str(caught.value)
    write_parquet(tmp_path / "d" / "test.parquet", [png(0), png(1)], [0, 1])
    with pytest.raises(ValueError, match="has no training file"):
        load_data(tmp_path / "d")


def test_the_hub_without_its_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r"needs the `datasets` package: pip install 'infodistill\[hf\]'"):
        load_data("hf:someone/bugs")


class _Split:
    """As much of `datasets.Dataset` as is used."""

    def __init__(self, file: Path) -> None:
        self.table = pq.read_table(file)
        self.features = _Features({"image": _Image(), "label": object()})
        self.features.arrow_schema = self.table.schema

    def __len__(self) -> int:
        return len(self.table)

    def cast_column(self, column: str, feature: _Image) -> _Split:
        assert column == "image" and feature.decode is False
        return self

    def with_format(self, kind: str) -> SimpleNamespace:
        assert kind == "arrow"
        starts = range(0, len(self.table), 4)
        return SimpleNamespace(iter=lambda _: (self.table.slice(start, 4) for start in starts))


class _Features(dict[str, object]):
    arrow_schema: Any


class _Image:
    def __init__(self, decode: bool = True) -> None:
        self.decode = decode


def test_the_hub_gives_what_the_same_files_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = load_data(tiny_parquet(tmp_path / "d"))
    hub: Any = ModuleType("datasets")
    splits = {split: _Split(tmp_path / "d" / f"{split}.parquet") for split in ("train", "test")}
    hub.Image, hub.load_dataset = _Image, lambda name: {"someone/bugs": splits}[name]
    monkeypatch.setitem(sys.modules, "datasets", hub)
    real = load_data("hf:someone/bugs")
    assert real.fingerprint == local.fingerprint and _both(real).fingerprint == _both(local).fingerprint
    assert real.name == "hf:someone/bugs" and real.class_names == NAMES
    with pytest.raises(ValueError, match="could not load hf:nobody/none"):
        load_data("hf:nobody/none")
    del splits["train"]
    with pytest.raises(ValueError, match="has the splits test; a train split is needed"):
        load_data("hf:someone/bugs")


SHARED = os.environ.get("INFODISTILL_DATA")


@pytest.mark.skipif(SHARED is None, reason="INFODISTILL_DATA is not set")
@pytest.mark.parametrize(
    ("name", "shape", "train", "test"),
    [
        ("mnist", (1, 28, 28), 60000, 10000),
        pytest.param("cifar10-jpeg", (3, 32, 32), 50000, 10000, marks=pytest.mark.slow),
        pytest.param("imagenette-64", (3, 64, 64), 9469, 3925, marks=pytest.mark.slow),
    ],
)
def test_the_shared_data(name: str, shape: tuple[int, int, int], train: int, test: int) -> None:
    real = load_data(Path(str(SHARED)) / name)
    assert (real.shape, len(real), len(_both(real)), real.num_classes) == (shape, train, test, 10)
    assert "published constants" in real.notes["space"]
    again = load_data(Path(str(SHARED)) / name, memory=0)
    assert torch.equal(again.batch(0, 0, 32).x, real.batch(0, 0, 32).x)
    if name == "mnist":
        batch = real.rows(torch.arange(20000))
        assert abs(float(batch.x.mean())) < 0.01 and abs(float(batch.x.std()) - 1) < 0.01
        assert real.counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
