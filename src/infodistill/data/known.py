"""Data sets known by name: where their files are published, what those must hash to, and how they are read.

The hashes are those that TensorFlow Datasets and other public projects record for the same files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infodistill.data.arrays import squared
from infodistill.data.binary import archive_rows, read_cifar, read_idx_pair, read_lines, read_svhn
from infodistill.data.constants import DIGITS, FASHION, IMAGENETTE, IMAGEWOOF, SPACES
from infodistill.data.decode import Items
from infodistill.data.download import Download, fetch
from infodistill.data.reading import Part, Parts, Reading
from infodistill.data.store import decoded

FASTAI_SIZE = 128
"""Side of Imagenette and Imagewoof images unless another is asked for: that of the distillation literature."""

Files = tuple[Path, ...]


@dataclass(frozen=True)
class Known:
    """A published data set: its files, and read(name, files, reading) -> Parts."""

    files: tuple[Download, ...]
    read: Callable[[str, Files, Reading], Parts]


def read_known(name: str, reading: Reading) -> Parts:
    """Download (once), verify and read a data set of `KNOWN`."""
    known = KNOWN[name]
    files = tuple(fetch(file, name, reading.progress) for file in known.files)
    return known.read(name, files, reading)


def _arrays(name: str, splits: tuple[Part, Part], names: tuple[str, ...], reading: Reading) -> Parts:
    return squared(Parts(name, *splits, names, SPACES[name], _published(name)), reading.size)


def _published(name: str) -> dict[str, str]:
    return {"space": f"published constants of {name}"}


def _mnist(name: str, files: Files, reading: Reading) -> Parts:
    names = FASHION if name == "fashionmnist" else DIGITS
    return _arrays(name, (read_idx_pair(*files[:2]), read_idx_pair(*files[2:])), names, reading)


def _cifar10(name: str, files: Files, reading: Reading) -> Parts:
    train = read_cifar(files[0], [f"data_batch_{i}.bin" for i in range(1, 6)], 1)
    return _arrays(
        name, (train, read_cifar(files[0], ["test_batch.bin"], 1)), read_lines(files[0], "batches.meta.txt"), reading
    )


def _cifar100(name: str, files: Files, reading: Reading) -> Parts:
    train, test = (read_cifar(files[0], [member], 2) for member in ("train.bin", "test.bin"))
    return _arrays(name, (train, test), read_lines(files[0], "fine_label_names.txt"), reading)


def _svhn(name: str, files: Files, reading: Reading) -> Parts:
    return _arrays(name, (read_svhn(files[0]), read_svhn(files[1])), DIGITS, reading)


def _fastai(name: str, files: Files, reading: Reading) -> Parts:
    """`ROOT/train/WNID/x.JPEG` and `ROOT/val/WNID/x.JPEG` in one tar."""
    names = IMAGENETTE if name == "imagenette" else IMAGEWOOF
    label = {wnid: row for row, wnid in enumerate(names)}

    def rows(split: str) -> Items:
        def label_of(member: str) -> int | None:
            parts = member.split("/")
            return label.get(parts[2]) if len(parts) == 4 and parts[1] == split and parts[3].endswith(".JPEG") else None

        return archive_rows(files[0], label_of)

    asked = Reading(reading.size or FASTAI_SIZE, reading.skip_corrupt, reading.seed, reading.memory, reading.progress)
    return _encoded(name, rows("train"), rows("val"), tuple(names.values()), asked)


def _tinyimagenet(name: str, files: Files, reading: Reading) -> Parts:
    """`ROOT/train/WNID/images/x.JPEG`, and `ROOT/val/images/x.JPEG` with labels in `val_annotations.txt`."""
    wnids = tuple(sorted(read_lines(files[0], "wnids.txt")))
    label = {wnid: row for row, wnid in enumerate(wnids)}
    lines = [line.split("\t") for line in read_lines(files[0], "val_annotations.txt")]
    held = {words[0]: label[words[1]] for words in lines if len(words) > 1 and words[1] in label}
    train = archive_rows(
        files[0],
        lambda member: label.get(member.split("/")[2]) if "/train/" in member and member.endswith(".JPEG") else None,
    )
    test = archive_rows(files[0], lambda member: held.get(member.split("/")[-1]) if "/val/images/" in member else None)
    return _encoded(name, train, test, wnids, reading)


def _encoded(name: str, train: Items, test: Items, names: tuple[str, ...], reading: Reading) -> Parts:
    parts, notes = decoded({"train": train, "test": test}, reading)
    notes = {**notes, **_published(name), "test": "the published validation split"}
    return Parts(name, parts["train"], parts["test"], names, SPACES[name], notes)


def _idx(root: str, hashes: tuple[str, str, str, str]) -> tuple[Download, ...]:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return tuple(Download(f"{root}/{name}-ubyte.gz", sha) for name, sha in zip(names, hashes, strict=True))


_MNIST = (
    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
)
_FASHION = (
    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
)
_TORONTO, _STANFORD = "https://www.cs.toronto.edu/~kriz", "http://ufldl.stanford.edu/housenumbers"
_FASTAI, _TINY = "https://s3.amazonaws.com/fast-ai-imageclas", "http://cs231n.stanford.edu/tiny-imagenet-200.zip"

KNOWN: dict[str, Known] = {
    "mnist": Known(_idx("https://storage.googleapis.com/cvdf-datasets/mnist", _MNIST), _mnist),
    "fashionmnist": Known(_idx("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com", _FASHION), _mnist),
    "cifar10": Known(
        (
            Download(
                f"{_TORONTO}/cifar-10-binary.tar.gz", "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
            ),
        ),
        _cifar10,
    ),
    "cifar100": Known(
        (
            Download(
                f"{_TORONTO}/cifar-100-binary.tar.gz",
                "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            ),
        ),
        _cifar100,
    ),
    "svhn": Known(
        (
            Download(
                f"{_STANFORD}/train_32x32.mat", "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"
            ),
            Download(f"{_STANFORD}/test_32x32.mat", "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"),
        ),
        _svhn,
    ),
    "tinyimagenet": Known(
        (Download(_TINY, "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821"),), _tinyimagenet
    ),
    "imagenette": Known(
        (
            Download(
                f"{_FASTAI}/imagenette2-320.tgz", "569b4497c98db6dd29f335d1f109cf315fe127053cedf69010d047f0188e158c"
            ),
        ),
        _fastai,
    ),
    "imagewoof": Known((Download(f"{_FASTAI}/imagewoof2-320.tgz", None),), _fastai),
}
"""The data sets that can be asked for by name, beside the bundled `digits`."""
