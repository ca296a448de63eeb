"""Image tensors as others store them, brought to float32 (n, c, h, w)."""

from __future__ import annotations

import torch
from torch import Tensor

from infodistill.importing.plain import plain


def shaped(images: Tensor, shape: tuple[int, int, int]) -> tuple[Tensor, tuple[str, ...]]:
    """Images of data of `shape` (c, h, w): channels last, or grey ones without a channel, are turned; and a note if so.

    Raises:
        ValueError: another shape, no image, values that are not finite numbers, or no plain tensor, see `plain`.
    """
    images = plain(images, "the images")
    c, h, w = shape
    seen, notes = tuple(images.shape), ()
    if not seen or seen[0] == 0:
        raise ValueError(f"the file holds no images: the tensor has shape {seen}")
    if seen[1:] == (h, w) and c == 1:
        images, notes = images.unsqueeze(1), ("images without a channel were given one",)
    elif seen[1:] == (h, w, c) and seen[1:] != shape:
        images, notes = images.permute(0, 3, 1, 2), ("images with channels last were turned to channels first",)
    if tuple(images.shape[1:]) != shape:
        hint = " (--size resizes the data)" if len(seen) == 4 and seen[1] == c else ""
        raise ValueError(f"the images have shape {seen}, the data wants (n, {c}, {h}, {w}){hint}")
    values = images.detach().to(torch.float32).contiguous()
    if bad := int((~torch.isfinite(values)).sum()):
        raise ValueError(f"the images hold {bad} values that are not finite numbers (NaN or infinity)")
    return values, notes
