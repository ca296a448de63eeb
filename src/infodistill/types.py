"""The vocabulary: batches, networks, terms, sources.

A method is Terms x Source x SyntheticSet x RealData x Augment. This file names those parts and nothing else.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

if TYPE_CHECKING:
    from infodistill.compute import Policy
    from infodistill.whitening import Whitening

T = TypeVar("T", covariant=True)


@dataclass(frozen=True)
class ValueSpace:
    """The coordinates images are written in: value = whiten((pixel - mean) / std), pixel in [0, 1].

    mean and std count per channel; `whitening` (ZCA) mixes all pixels of an image, None leaves them.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    whitening: Whitening | None = None

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(f"mean and std need one entry per channel, got {self.mean} and {self.std}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, got {self.std}")

    def from_pixels(self, pixels: Tensor) -> Tensor:
        """Map [0, 1] pixels (n, c, h, w) into this space."""
        mean, std = self._constants(pixels)
        values = (pixels - mean) / std
        return values if self.whitening is None else self.whitening.apply(values)

    def to_pixels(self, x: Tensor) -> Tensor:
        """Map values of this space (n, c, h, w) back to [0, 1] pixels; the exact inverse up to rounding."""
        mean, std = self._constants(x)
        values = x if self.whitening is None else self.whitening.invert(x)
        return values * std + mean

    def _constants(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[1] != len(self.mean):
            raise ValueError(f"this value space has {len(self.mean)} channels, the images have {x.shape[1]}")
        return x.new_tensor(self.mean).view(-1, 1, 1), x.new_tensor(self.std).view(-1, 1, 1)


def pixel_space(channels: int) -> ValueSpace:
    """The identity space: values are [0, 1] pixels."""
    return ValueSpace((0.0,) * channels, (1.0,) * channels)


def convert(x: Tensor, source: ValueSpace, target: ValueSpace | None) -> Tensor:
    """Re-express `x` from one value space in another; the same tensor when nothing has to change."""
    if target is None or target == source:
        return x
    return target.from_pixels(source.to_pixels(x))


class LabelKind(enum.Enum):
    """What the rows of a target are. Logits are a way of storing probabilities and never reach a batch."""

    PROBABILITIES = "probabilities"
    """Rows on the simplex: one-hot, soft or learned; networks are trained by cross-entropy."""
    SCORES = "scores"
    """Centred regression targets (FRePo): networks are trained by squared error."""


def require_simplex(rows: Tensor, tolerance: float = 1e-3) -> None:
    """Refuse rows (n, k) that are not probabilities: floats >= 0 with sum 1, up to `tolerance`.

    Raises:
        ValueError: naming the type, the smallest entry and the largest error of a sum.
    """
    low, off = float(rows.min()), float((rows.double().sum(1) - 1).abs().max())
    if not (rows.is_floating_point() and low >= -tolerance and off <= tolerance):  # false for NaN
        found = f"{rows.dtype} down to {low:g} and sums off by {off:g}"
        raise ValueError(f"soft labels must be rows of floats >= 0 with sum 1, got {found}")


@dataclass(frozen=True)
class Batch:
    """Labelled images. `y` is what information terms condition on, `target` what networks are trained towards.

    Shapes: x (n, c, h, w) float in `space`; y (n,) int64; target (n, k) rows of `kind` (on the simplex by default).
    `noise` is the diffusion level sigma per row, (n,), or None for clean images.
    Batches a driver makes are class-major with the same number of rows for every class it holds.
    """

    x: Tensor
    y: Tensor
    target: Tensor
    space: ValueSpace
    noise: Tensor | None = None
    kind: LabelKind = LabelKind.PROBABILITIES

    def __len__(self) -> int:
        return len(self.y)

    def rows(self, index: Tensor) -> Batch:
        noise = None if self.noise is None else self.noise[index]
        return Batch(self.x[index], self.y[index], self.target[index], self.space, noise, self.kind)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device; itself where it is there."""
        device, noise = torch.device(device), None if self.noise is None else self.noise.to(device)
        return Batch(self.x.to(device), self.y.to(device), self.target.to(device), self.space, noise, self.kind)

    def membership(self) -> Tensor:
        """(n, k) class membership on the simplex: the targets, or one-hot `y` where targets are regression scores."""
        if self.kind is LabelKind.PROBABILITIES:
            return self.target
        return one_hot(self.y, self.target.shape[1]).to(self.target)

    def detach(self) -> Batch:
        return replace(self, x=self.x.detach(), target=self.target.detach())

    def classes(self) -> Tensor:
        """The distinct class indices, ascending, (classes,)."""
        return self.y.unique()


class Rows(Protocol):
    """Anything a network can be trained on: a Batch or RealData."""

    def __len__(self) -> int: ...
    def rows(self, index: Tensor, /) -> Batch: ...


class Net(nn.Module):
    """What we ask of a network: `stages`, every block's output (the last is the flat feature), and `head`."""

    def stages(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (n, c, h, w) to the output of every block in order; the last entry is (n, d)."""
        raise TypeError(f"{type(self).__name__} does not define stages()")

    def head(self, feature: Tensor) -> Tensor:
        """Penultimate feature (n, d) to logits (n, k)."""
        raise TypeError(f"{type(self).__name__} does not define head()")

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(x)[-1])


NetFactory = Callable[[tuple[int, int, int], int], Net]
"""factory((channels, height, width), classes) -> a network with arbitrary weights; sources initialise them by key."""

Term = Callable[[Batch, Batch], Tensor]
"""term(syn, real) -> scalar cost, differentiable in syn.x (and syn.target). Batches are un-augmented."""


@runtime_checkable
class Augment(Protocol):
    """A differentiable augmentation whose randomness is an explicit record (DSA, Zhao & Bilen 2021)."""

    def draw(self, generator: torch.Generator, rows: int, shape: Sequence[int]) -> Tensor:
        """A CPU float record (rows, p) for images of `shape` (c, h, w); one row per class, or one per image."""
        ...

    def apply(self, x: Tensor, record: Tensor, row: Tensor) -> Tensor:
        """Transform image i by `record[row[i]]`; shapes (n, c, h, w), (rows, p), (n,) -> (n, c, h, w)."""
        ...


class Source(ABC, Generic[T]):
    """A supply of what terms look through: networks, segments, critics.

    `draw` returns the same object until `advance`. Every draw is keyed by (seed, owner, step), so a source at a
    given step does not depend on what ran before, unless it trains something, which is then in its state.
    """

    step: int = 0

    @abstractmethod
    def draw(self) -> T: ...

    def advance(self, syn: Batch, real: Rows) -> None:
        """Called once after each round with the updated (detached) set."""
        del syn, real
        self.step += 1

    def use(self, policy: Policy) -> None:
        """Run networks under this execution policy from now on."""
        del policy

    def trainable(self) -> list[Tensor]:
        """Tensors of a critic that receive the gradient of its unweighted term; none for most sources."""
        return []

    def update(self, grads: Sequence[Tensor]) -> None:
        """Apply the gradients of `trainable()`; an adversary negates them first."""
        del grads

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = int(cast(int, state["step"]))
