"""What an export is: the set as its readers will have it, the sentences that say what was lost, and the files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from infodistill.distilled import ALL_ROWS, Distilled
from infodistill.types import LabelKind, ValueSpace


def _empty() -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Form:
    """A distilled set in a foreign form, not yet written.

    Attributes:
        distilled: what a reader of the files has, as a set: what is trained on to tell the accuracy of this form.
        losses: what the form cannot hold, a sentence each; empty if nothing is lost.
        reading: how to read it, as Markdown.
        fill: writes the files, but for the README, into a folder.
        front: entries of the README's YAML header.
    """

    distilled: Distilled
    losses: tuple[str, ...]
    reading: str
    fill: Callable[[Path], None]
    front: Mapping[str, Any] = field(default_factory=_empty)


@dataclass(frozen=True)
class EightBit:
    """Images as 8-bit pixels.

    Attributes:
        pixels: uint8 (n, c, h, w).
        clipped: share of the values outside [0, 1], which were moved to its ends.
        rmse: root mean square error in pixels, of a range of 1: clipping and rounding together.
    """

    pixels: Tensor
    clipped: float
    rmse: float

    def words(self) -> str:
        return (
            f"images are 8-bit pixels: {100 * self.clipped:.1f} % of the values lay outside [0, 1] and were clipped; "
            f"root mean square error {self.rmse:.4f} of a range of 1 (rounding alone: {1 / 255 / 12**0.5:.4f})"
        )


def eight_bit(images: Tensor, space: ValueSpace) -> EightBit:
    """Images (n, c, h, w) written in `space` as pixels, clipped to [0, 1] and rounded to multiples of 1/255.

    Raises:
        ValueError: neither 1 nor 3 channels, which no PNG file holds.
    """
    if images.shape[1] not in (1, 3):
        raise ValueError(f"a PNG file has 1 or 3 channels, the images have {images.shape[1]}: use --to ddranking")
    pixels = space.to_pixels(images.float())
    rounded = (pixels.clamp(0, 1) * 255).round()
    error = float((rounded / 255 - pixels).double().square().mean().sqrt())
    clipped = float(((pixels < -1e-6) | (pixels > 1 + 1e-6)).double().mean())
    return EightBit(rounded.to(torch.uint8), clipped, error)


def of_pixels(distilled: Distilled, stored: EightBit, space: ValueSpace) -> tuple[Distilled, tuple[str, ...]]:
    """The set a reader of 8-bit images has, normalised by the mean and std of `space`, and what was lost on the way."""
    plain = replace(space, whitening=None)
    left, losses = without_learned(distilled)
    if distilled.space.whitening is not None:
        losses = (*losses, "the ZCA whitening is undone: readers train on pixels, the tensor form on whitened values")
    images = plain.from_pixels(stored.pixels.float() / 255)
    return replace(left, images=images, space=plain), (stored.words(), *losses)


def without_learned(distilled: Distilled) -> tuple[Distilled, tuple[str, ...]]:
    """The set without plan, learned scalars, factors and regression scores, which no foreign form holds."""
    losses: list[str] = []
    left = replace(distilled, plan=(ALL_ROWS,), scalars={}, factors={})
    if [dict(phase) for phase in distilled.plan] != [dict(ALL_ROWS)]:
        losses.append("the plan of the training (learned rates, stages, batches) is dropped")
    if distilled.scalars:
        losses.append(f"learned beside the images and dropped: {', '.join(distilled.scalars)}")
    if distilled.factors:
        losses.append(
            f"the images are stored decoded, {len(distilled)} of them, not as the {distilled.stored_ipc} per class "
            "that they are made of: this takes more bytes"
        )
    if distilled.soft_labels is not None and distilled.label_kind is LabelKind.SCORES:
        left = left.hard()
        losses.append("the labels are regression scores and are dropped: hard labels are left")
    return left, tuple(losses)
