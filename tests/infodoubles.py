"""Small stand-ins for the tests of the information terms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from infodistill.compute import View
from infodistill.seeding import stream
from infodistill.types import Batch, Net, Source, ValueSpace, pixel_space


class IdentityNet(Net):
    """The image is the feature; the logits are its first three values doubled."""

    def stages(self, x: Tensor) -> tuple[Tensor, ...]:
        return (x.flatten(1),)

    def head(self, feature: Tensor) -> Tensor:
        return 2 * feature[:, :3]


class PixelTeacher(Source[View]):
    """The same view at every step, the identity network by default."""

    def __init__(self, view: View | None = None) -> None:
        self.view = view or View.own(IdentityNet())

    def draw(self) -> View:
        return self.view


class Gain:
    """An augmentation that scales every class by its own keyed factor in [1, 1.2]."""

    def draw(self, generator: torch.Generator, rows: int, shape: Sequence[int]) -> Tensor:
        del shape
        return 1 + 0.2 * torch.rand(rows, 1, generator=generator)

    def apply(self, x: Tensor, record: Tensor, row: Tensor) -> Tensor:
        return x * record.to(x)[row].view(-1, 1, 1, 1)


def batch(
    x: Tensor, y: Tensor, classes: int = 3, space: ValueSpace | None = None, target: Tensor | None = None
) -> Batch:
    """A labelled batch, one-hot by default, in pixel space by default."""
    target = F.one_hot(y, classes).to(x.dtype) if target is None else target
    return Batch(x, y, target, space or pixel_space(x.shape[1]))


def gaussian(*shape: int, owner: str, key: int = 0) -> Tensor:
    """Standard normal float64 values, keyed by the owner's name."""
    return torch.randn(*shape, generator=stream(key, owner), dtype=torch.float64)


def class_clusters(seed: int, per_class: int, width: int, classes: int = 3) -> tuple[Tensor, Tensor]:
    """float64 features (classes * per_class, width) around class centres, with labels, class-major."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(classes).repeat_interleave(per_class)
    centres = 2 * torch.randn(classes, width, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    return centres[y] + torch.randn(len(y), width, generator=generator, dtype=torch.float64), y
