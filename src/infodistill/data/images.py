"""One encoded image, a file or bytes, to uint8 pixels.

What becomes of every mode: bilevel, grey and 16-bit grey become 8-bit grey; palette, CMYK and the rest become RGB;
anything transparent is composited over white first; EXIF rotation is applied. Grey pixels among coloured images are
repeated into three channels.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Encoded = Path | bytes
"""An image nobody has decoded yet."""

Pixels = NDArray[np.uint8]

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""Files with another ending in a class folder are not images: they are ignored and counted."""

_GREY = frozenset({"1", "L", "LA", "La", "F", "I"})
_ORIENTATION = 0x0112
_SIDEWAYS = range(5, 9)


@dataclass(frozen=True)
class Header:
    """What is known of an image before decoding it: (height, width) after EXIF rotation, and whether it is grey."""

    size: tuple[int, int]
    grey: bool


@contextmanager
def strict_decoder() -> Generator[None]:
    """Pillow's decompression-bomb warning as an error, its remarks on odd metadata silenced."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def header(encoded: Encoded) -> Header:
    """Read the header only. Raises whatever the decoder raises: callers name the file."""
    with _opened(encoded) as image:
        width, height = image.size
        late = image.format == "PNG" and "exif" not in image.info  # asking for EXIF would decode the whole PNG
        turned = not late and image.getexif().get(_ORIENTATION) in _SIDEWAYS
        return Header((width, height) if turned else (height, width), _is_grey(image))


def pixels(encoded: Encoded, channels: int, size: int | None) -> Pixels:
    """Decode to uint8 (channels, h, w); `size` squares it: the shorter side becomes `size`, the centre is kept."""
    with _opened(encoded) as image:
        upright = _eight_bit(ImageOps.exif_transpose(image))
    return _planes(_squared(upright, size).convert("L" if channels == 1 else "RGB"))


def resized(images: Pixels, size: int) -> Pixels:
    """Arrays (n, c, h, w) brought to `size`, by the rule of `pixels`."""
    if images.shape[2:] == (size, size):
        return images
    out = np.empty((len(images), images.shape[1], size, size), np.uint8)
    for row, image in enumerate(images):
        picture = Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
        out[row] = _planes(_squared(picture, size))
    return out


def _opened(encoded: Encoded) -> Image.Image:
    return Image.open(io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded)


def _is_grey(image: Image.Image) -> bool:
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in _GREY or image.mode.startswith("I;16")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Any mode to L or RGB."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_shallow(np.asarray(image)))
    if image.has_transparency_data:
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")


def _shallow(deep: NDArray[np.generic]) -> Pixels:
    """16-bit integers, or floats in [0, 1], to 8 bits, rounded."""
    low, high, top = float(deep.min()), float(deep.max()), 1.0 if deep.dtype.kind == "f" else 65535.0
    if not 0 <= low <= high <= top:
        raise ValueError(f"deep pixels must lie in 0..{top:g}, found {low:g}..{high:g}")
    return np.rint(deep.astype(np.float64) * (255 / top)).astype(np.uint8)


def _squared(image: Image.Image, size: int | None) -> Image.Image:
    if size is None or image.size == (size, size):
        return image
    return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)  # resize() filters: shrinking does not alias


def _planes(image: Image.Image) -> Pixels:
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
