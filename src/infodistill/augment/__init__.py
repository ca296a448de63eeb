"""Differentiable augmentation with explicit randomness: `draw` a record once, `apply` it to any number of batches.

    augment = dsa("color_crop_cutout_flip_scale_rotate")
    record = augment.draw(generator, rows=10, shape=(3, 32, 32))  # one row per class
    syn, real = augment.apply(syn, record, y_syn), augment.apply(real, record, y_real)

Records are CPU float tensors of fixed shape that hold every parameter. Values are transformed in the space they are in;
the training of a network shows `imagenet` pixels (`in_pixels`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from infodistill.augment.classic import DC_OPERATIONS, DCAugment, Identity, Shift
from infodistill.augment.photographs import STEPS, Photographs, in_pixels
from infodistill.augment.siamese import DSA_STRATEGY, OPERATIONS, PUBLISHED, Limits, PerImage, Siamese
from infodistill.types import Augment


def dsa(strategy: str = DSA_STRATEGY, *, limits: Limits = PUBLISHED) -> Siamese:
    """DSA as in DC, DSA, DM, DCC, CAFE, IDM: each record row applies one operation, uniform over the strategy.

    Leave `flip` out for digits (MNIST, SVHN), as the papers do.

    Raises:
        ValueError: the strategy holds an unknown or repeated operation.
    """
    return Siamese(choices=_words(strategy, OPERATIONS), limits=limits)


def dsa_per_image(strategy: str = DSA_STRATEGY, *, limits: Limits = PUBLISHED) -> PerImage:
    """DSA's non-siamese form, for training networks: one operation per batch, parameters per record row (image)."""
    return PerImage(dsa(strategy, limits=limits))


def diffaug(strategy: str = "color_crop_cutout", *, limits: Limits = PUBLISHED) -> Siamese:
    """The dialect of IDC, DREAM, PDD and NCFM: flip, colour, one of crop/scale/rotate, cutout, each only if listed.

    Colour and cutout are therefore never left to chance.

    Raises:
        ValueError: the strategy holds an unknown or repeated operation.
    """
    words = _words(strategy, OPERATIONS)
    before, after = (tuple(name for name in group if name in words) for group in (("flip", "color"), ("cutout",)))
    choices = tuple(name for name in words if name in ("crop", "scale", "rotate"))
    return Siamese(before, choices, after, limits)


def diffaug_per_image(strategy: str = "color_crop", *, limits: Limits = PUBLISHED) -> PerImage:
    """`diffaug` for training networks: one of crop/scale/rotate per batch, parameters per record row (image)."""
    return PerImage(diffaug(strategy, limits=limits))


def shift(pixels: int = 1) -> Shift:
    """Translation by whole pixels, uniform in {-pixels ... pixels} on both axes, zero fill."""
    return Shift(pixels)


def identity() -> Identity:
    """No augmentation."""
    return Identity()


def dc_augment(strategy: str = "crop_scale_rotate") -> DCAugment:
    """DC's evaluation augmentation: crop_scale_rotate on MNIST, crop_noise for networks with batch norm."""
    return DCAugment(_words(strategy, DC_OPERATIONS))


def photographs(strategy: str = "crop_flip_jitter_lighting") -> Photographs:
    """What networks on photographs are trained with: resized crop, flip, colour jitter, PCA lighting, if listed."""
    words = _words(strategy, STEPS)
    return Photographs(tuple(step for step in STEPS if step in words))


def per_image(augment: Augment) -> Augment:
    """The form for training networks; augmentations without one are per image as they are."""
    return PerImage(augment) if isinstance(augment, Siamese) else augment


NAMES = (
    "none",
    "shift<pixels>",
    "<strategy>",
    "diffaug:<strategy>",
    "dc:<strategy>",
    "imagenet:<strategy>",
    "per-image:<any of these>",
)
"""What `by_name` reads; a strategy is a list such as color_crop_cutout_flip_scale_rotate."""


def by_name(name: str) -> Augment:
    """The augmentation a recipe or protocol names: `none`, `shift1`, `color_crop_cutout`, `diffaug:color_crop`, ...

    Raises:
        ValueError: the name is not of a known form or holds an unknown operation.
    """
    head, colon, rest = name.partition(":")
    if colon and head in _DIALECTS:
        return _DIALECTS[head](rest)
    if name == "none":
        return identity()
    if match := re.fullmatch(r"shift(\d{1,4})", name):
        return shift(int(match[1]))
    return dsa(name)


def _per_image_by_name(name: str) -> Augment:
    return per_image(by_name(name))


_DIALECTS: dict[str, Callable[[str], Augment]] = {
    "diffaug": diffaug,
    "dc": dc_augment,
    "imagenet": photographs,
    "per-image": _per_image_by_name,
}


def _words(strategy: str, known: Sequence[str]) -> tuple[str, ...]:
    words = tuple(strategy.split("_"))
    if unknown := [word for word in words if word not in known]:
        forms = "; augmentations are named " + ", ".join(NAMES)
        raise ValueError(f"unknown operation {unknown[0]!r} in {strategy!r}: known are {', '.join(known)}{forms}")
    if len(set(words)) < len(words):
        raise ValueError(f"an operation is listed twice in {strategy!r}")
    return words


__all__ = [
    "DSA_STRATEGY",
    "NAMES",
    "Limits",
    "PerImage",
    "Photographs",
    "Siamese",
    "by_name",
    "dc_augment",
    "diffaug",
    "diffaug_per_image",
    "dsa",
    "dsa_per_image",
    "identity",
    "in_pixels",
    "per_image",
    "photographs",
    "shift",
]
