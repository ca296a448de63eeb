"""From what a reader found to `RealData`: the checks, the test split and the value space, the same for every source."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from infodistill.data.reading import Part, Parts
from infodistill.real import RealData
from infodistill.types import ValueSpace, pixel_space

TEST_FRACTION = 0.2
_PIECE = 4096


def assemble(parts: Parts, seed: int) -> RealData:
    """Checked data with a test set (a stratified 20 % where the source has none) and a value space.

    Raises:
        ValueError: fewer than two classes, an empty class, labels out of range, splits of different shape.
    """
    _check_classes(parts)
    notes = dict(parts.notes)
    train, test = _real(parts, parts.train), None if parts.test is None else _real(parts, parts.test)
    if test is None:
        train, test = train.split(TEST_FRACTION, seed)
        notes["test"] = f"none in the source: a stratified {TEST_FRACTION:.0%} of the images, seed {seed}"
    if missing := [parts.class_names[c] for c in range(train.num_classes) if not test.counts[c]]:
        notes["classes_without_test_images"] = missing
    if test.shape != train.shape:
        raise ValueError(f"training images of {parts.name} are {train.shape}, its test images {test.shape}")
    if parts.space is None:
        notes["space"] = "mean and standard deviation measured on the training images"
    space = parts.space or measured_space(train)
    test = test.replace(space=space, test=None, notes=notes, name=f"{parts.name} test")
    return train.replace(space=space, test=test, notes=notes)


def measured_space(real: RealData) -> ValueSpace:
    """Mean and standard deviation of every channel over all pixels, from the exact counts of the 256 values.

    A constant channel gets the standard deviation 1.
    """
    counts = torch.zeros(real.shape[0], 256, dtype=torch.float64)
    for rows in torch.arange(len(real)).split(_PIECE):
        counts += _value_counts(real.pixels(rows).cpu())
    share = counts / counts.sum(1, keepdim=True)  # (c, 256)
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = share @ values
    std = (share * (values - mean[:, None]).square()).sum(1).sqrt()
    std[std == 0] = 1.0
    return ValueSpace(tuple(mean.tolist()), tuple(std.tolist()))


def _value_counts(images: Tensor) -> Tensor:
    """How often every channel takes each of the 256 values: (n, c, h, w) -> (c, 256)."""
    return torch.stack([torch.bincount(plane.flatten(), minlength=256) for plane in images.unbind(1)])


def _real(parts: Parts, part: Part) -> RealData:
    rows = None if part.rows is None else torch.from_numpy(part.rows)
    space = parts.space or pixel_space(part.images.shape[1])
    images, labels = torch.from_numpy(part.images), torch.from_numpy(part.labels)
    return RealData(images, labels, parts.class_names, space, parts.name, rows=rows)


def _check_classes(parts: Parts) -> None:
    names, classes = parts.class_names, len(parts.class_names)
    if classes < 2:
        raise ValueError(f"{parts.name} has {classes} class ({', '.join(names)}), at least two are needed")
    for labels in [parts.train.labels] if parts.test is None else [parts.train.labels, parts.test.labels]:
        if not len(labels):
            raise ValueError(f"{parts.name} has a split without images")
        if labels.min() < 0 or labels.max() >= classes:
            found = f"found {labels.min()}..{labels.max()}"
            raise ValueError(f"labels of {parts.name} must lie in 0..{classes - 1}, {found}")
    counts = np.bincount(parts.train.labels, minlength=classes)
    if not counts.all():
        lost = parts.notes.get("skipped_corrupt")
        why = f" ({lost} unreadable left out)" if lost else ""
        raise ValueError(f"class {names[int(counts.argmin())]!r} of {parts.name} has no training images{why}")
