"""What a person says of a published set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Published:
    """A published set and what is known of it.

    Args:
        path: a `.pt` or `.parquet` file, a folder of such files, or a folder of class folders of images.
        data: the data it came from, by name or path.
        space: its value space, see `importing.spaces.SPACES`; None only for images, which are 8-bit pixels.
        size: side the data is resized to, as for `load_data`.
        skip_corrupt: leave unreadable images of the data out, as for `load_data`.
        labels: the file with the labels, where its name does not tell.
        labels_are: hard, soft, logits or scores; None: told by the values.
        lr: the learned step size, in place of the one in the file.
        class_names: what the classes are called in the order of the file; None: as in the data.
        mean: per channel, for `normalised`; None: those of the data.
        std: with `mean`.
        zca_eps: what was added to the eigenvalues, for `zca`.
        factor: tiles along each side of a stored image (IDC, IDM: 2), for pixels only.
        which: the set to take of several in one file.
        method: the method's name for the card.
        net: the network to evaluate by; None: that of our export, else a ConvNet that fits the size.
        protocol: the protocol to evaluate under; None: that of our export, else told by labels, rate and size.
        license: for the card.
    """

    path: Path
    data: str
    space: str | None = None
    size: int | None = None
    skip_corrupt: bool = False
    labels: Path | None = None
    labels_are: str | None = None
    lr: float | None = None
    class_names: tuple[str, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    zca_eps: float = 0.1
    factor: int = 1
    which: int = 0
    method: str = "imported"
    net: str | None = None
    protocol: str | None = None
    license: str | None = None
