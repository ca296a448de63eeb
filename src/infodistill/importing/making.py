"""From a published set and what a person says of it to an artefact: every check, and the warning of a wrong space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from infodistill import nets
from infodistill.data import load_data
from infodistill.data.cache import file_sha256
from infodistill.data.parquet import parquet_files
from infodistill.distilled import ALL_ROWS, Distilled
from infodistill.evaluation.protocols import EvaluationProtocol, protocol_for
from infodistill.importing.folders import read_images
from infodistill.importing.labels import Labelled, beside, in_order, read_labels
from infodistill.importing.layout import shaped
from infodistill.importing.own_export import Told, told_by
from infodistill.importing.request import Published
from infodistill.importing.rows import read_rows
from infodistill.importing.spaces import guess, named, whitened_space
from infodistill.importing.tensors import SUFFIXES, Found, read_tensors
from infodistill.real import RealData
from infodistill.serialise import sha256
from infodistill.storage.decoders import tiles
from infodistill.types import LabelKind, ValueSpace

DEPTHS = ((12, "convnet2-w32"), (32, "convnet3"), (64, "convnet4"), (128, "convnet5"))
"""The network the field evaluates images of a size by; the smallest is ours."""


@dataclass(frozen=True)
class Imported:
    """The artefact, the data it was checked against, what was assumed, and what looks wrong."""

    distilled: Distilled
    real: RealData
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def import_set(asked: Published) -> Imported:
    """Read a published set, check it against its data and its named value space, and make it an artefact.

    Pixels (`unit`, `byte`) are brought into the normalised space of the data, in which published code trains on them;
    `normalised` and `zca` values stay as they are. The space has to be named: without it the guess is in the message.

    Raises:
        FileNotFoundError: there is no such file or data.
        ValueError: the file is not a set, does not fit the data, or its space was not named.
    """
    real = load_data(asked.data, size=asked.size, skip_corrupt=asked.skip_corrupt)
    told = told_by(asked.path)
    asked = replace(asked, net=asked.net or told.net or _net(real.shape))
    nets.by_name(str(asked.net))
    found = _found(asked, real)
    images, notes = shaped(found.images, real.shape)
    labels = _labelled(asked, found, real)
    placed, warnings = _placed(asked, found, images, real)
    decoded, factors = _decoded(placed, asked.factor)
    repeated = torch.arange(len(images)).repeat_interleave(asked.factor**2)
    protocol, how = _evaluated(asked, found, told, labels=labels, real=real)
    distilled = Distilled(
        decoded,
        labels.y[repeated],
        placed.space,
        real.class_names,
        soft_labels=None if labels.rows is None else labels.rows[repeated],
        factors=factors,
        label_kind=labels.kind,
        meta={**_meta(asked, found, real, placed, labels), "protocol": protocol.as_dict()},
        **_learned(asked, found),
    )
    distilled.check(real)
    if warnings:
        distilled = distilled.with_meta(imported={**distilled.meta["imported"], "warning": warnings[0]})
    return Imported(distilled, real, (*found.notes, *notes, *_remarks(distilled, labels), how), warnings)


@dataclass(frozen=True)
class Placed:
    """Images (n, c, h, w) in the value space they will be used in, and the name of the one they came in."""

    images: Tensor
    space: ValueSpace
    name: str


def _found(asked: Published, real: RealData) -> Found:
    """What lies at the path; a folder without tensors is one of pictures."""
    path = asked.path
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder '{path}'")
    if path.suffix == ".parquet" or (path.is_dir() and _is_parquet(path)):
        _require_bytes(asked, "Parquet")
        return read_rows(path, real.class_names, real.shape[0], asked.class_names)
    if path.is_file() or any(file.suffix in SUFFIXES for file in path.iterdir()):
        return read_tensors(path, asked.labels, asked.which)
    _require_bytes(asked, "a folder of images")
    found = read_images(path, real.class_names, real.shape[0], asked.class_names)
    if asked.class_names is not None and found.rows is None:
        raise ValueError("--class-names is the order of numbers in a file: folders of images are called like classes")
    return found


def _is_parquet(folder: Path) -> bool:
    """Whether a folder holds Parquet files, and no tensors that were to be read."""
    return bool(parquet_files(folder)) and not any(file.suffix in SUFFIXES for file in folder.iterdir())


def _require_bytes(asked: Published, what: str) -> None:
    if asked.space not in (None, "byte"):
        raise ValueError(f"{what} holds 8-bit pixels: its --space is byte, not {asked.space}")


def _labelled(asked: Published, found: Found, real: RealData) -> Labelled:
    if found.labels is None:
        raise ValueError(f"'{asked.path.name}' holds images without labels: name their file with --labels")
    size = (len(found.images), real.num_classes)
    if found.rows is not None and asked.labels_are == "hard":
        return read_labels(found.labels, *size)
    labels = read_labels(found.labels if found.rows is None else found.rows, *size, asked.labels_are)
    numbered = asked.class_names is not None and not found.named
    ordered = in_order(labels, asked.class_names or (), real.class_names) if numbered else labels
    return ordered if found.rows is None else beside(ordered, found.labels, real.num_classes)


def _placed(asked: Published, found: Found, images: Tensor, real: RealData) -> tuple[Placed, tuple[str, ...]]:
    """The images in the space they are used in, and the warning if they look as if they came in another one."""
    normalised = _normalised(asked, real)
    name = named(asked.space) if asked.space else ("byte" if found.images.dtype == torch.uint8 else None)
    zca = whitened_space(real, asked.zca_eps) if name == "zca" else None
    about = guess(images, real, normalised, zca)
    if name is None:
        seen = about.evidence((about.nearest,))
        raise ValueError(f"say --space normalised, unit, byte or zca: {seen}: this looks like --space {about.nearest}")
    if asked.factor > 1 and name not in ("unit", "byte"):
        raise ValueError(f"tiles are stored as pixels: --factor {asked.factor} wants --space unit or byte, not {name}")
    pixels = {"unit": lambda: images, "byte": lambda: images / 255}.get(name)
    space = zca or normalised
    placed = Placed(images if pixels is None else space.from_pixels(pixels()), space, name)
    warning = about.against(name)
    return placed, () if warning is None else (warning,)


def _normalised(asked: Published, real: RealData) -> ValueSpace:
    if (asked.mean is None) != (asked.std is None):
        raise ValueError("give --mean and --std together, or neither")
    if asked.mean is None or asked.std is None:
        return real.space
    if {len(asked.mean), len(asked.std)} != {real.shape[0]}:
        seen = f"{len(asked.mean)} and {len(asked.std)}"
        raise ValueError(f"--mean and --std want one number for each of {real.shape[0]} channels, got {seen}")
    return ValueSpace(asked.mean, asked.std)


def _decoded(placed: Placed, factor: int) -> tuple[Tensor, Mapping[str, Tensor]]:
    """The images networks see, and the stored ones where these hold several tiles."""
    if factor == 1:
        return placed.images, {}
    pixels = placed.space.to_pixels(placed.images)
    return placed.space.from_pixels(tiles(pixels, factor)), {"rows": placed.images}


def _learned(asked: Published, found: Found) -> dict[str, Any]:
    """The learned rate as a scalar and as the plan that replays it."""
    rate = asked.lr if asked.lr is not None else found.rate
    if rate is None:
        return {}
    if not 0 < rate < float("inf"):
        raise ValueError(f"--lr must be positive and finite, got {rate}")
    return {"scalars": {"lr": torch.tensor(rate)}, "plan": ({**ALL_ROWS, "rates": rate},)}


def _meta(asked: Published, found: Found, real: RealData, placed: Placed, labels: Labelled) -> dict[str, Any]:
    content = sha256("".join(file_sha256(file) for file in found.files).encode())
    facts = {
        "data": real.name,
        "fingerprint": real.fingerprint,
        "method": asked.method,
        "net": asked.net,
        "source": {"data": asked.data, "size": asked.size, "skip_corrupt": asked.skip_corrupt},
        "imported": {
            "file": asked.path.name,
            "sha256": content,
            "space": placed.name,
            "labels": labels.words,
            "factor": asked.factor,
        },
        "license": asked.license,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _evaluated(
    asked: Published, found: Found, told: Told, *, labels: Labelled, real: RealData
) -> tuple[EvaluationProtocol, str]:
    """The protocol: as asked, else as the export tells, else that of such sets; and where it is from."""
    if asked.protocol is None and (carried := told.protocol()) is not None:
        return carried, f"protocol: {carried.name}, which the README of the export carries"
    rate = asked.lr if asked.lr is not None else found.rate
    name = asked.protocol or _protocol(asked.factor, rate, labels.kind, real.shape)
    ipc = int(labels.y.bincount().max())
    why = "" if asked.protocol else ", by default: nothing tells how this set is evaluated (--protocol does)"
    return protocol_for(name, real.name, ipc=ipc, classes=real.num_classes), f"protocol: {name}{why}"


def _net(shape: tuple[int, int, int]) -> str:
    return next((name for side, name in DEPTHS if max(shape[1:]) <= side), "convnet6")


def _protocol(factor: int, rate: float | None, kind: LabelKind, shape: tuple[int, int, int]) -> str:
    """The protocol of the papers that publish such sets; ours where nothing tells."""
    if kind is LabelKind.SCORES:
        return "frepo"
    if max(shape[1:]) <= DEPTHS[0][0]:
        return "quick"
    return "idc" if factor > 1 else "mtt" if rate is not None else "dsa"


def _remarks(distilled: Distilled, labels: Labelled) -> tuple[str, ...]:
    counts = distilled.y.bincount(minlength=distilled.num_classes)
    low, high = int(counts.min()), int(counts.max())
    uneven = () if low == high else (f"the classes have {low} to {high} images",)
    return (f"labels: {labels.words}", *uneven)
