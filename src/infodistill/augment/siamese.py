"""Differentiable siamese augmentation (Zhao & Bilen, ICML 2021, arXiv:2102.08259): omega is data, not a seed.

A record is a float tensor (rows, 12) that holds the choice of operation and every parameter of every operation, so a
row means the same transform on 256 real and on 10 synthetic images. One row per class gives each class its own omega,
one row per image gives ordinary augmentation. Two dialects of the strategy are in use:

- `dsa` (DC, DSA, DM, ...): one operation per row, uniform over the strategy; `color` counts as one.
- `diffaug` (IDC, DREAM, ...): flip, then colour, then one of crop/scale/rotate, then cutout, each if listed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from infodistill.augment import operations

OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")
"""The words of a strategy; a record's `op` is an index into this tuple."""

DSA_STRATEGY = "color_crop_cutout_flip_scale_rotate"


@dataclass(frozen=True)
class Limits:
    """Ranges of the parameters; the defaults are those of every published repository.

    flip is a probability, scale a largest factor (in [1, 1.5)), rotate degrees to either side, crop and cutout
    fractions of the image side, brightness a full width, saturation a largest factor, contrast a smallest factor.
    """

    flip: float = 0.5
    scale: float = 1.2
    rotate: float = 15.0
    crop: float = 0.125
    cutout: float = 0.5
    brightness: float = 1.0
    saturation: float = 2.0
    contrast: float = 0.5

    def __post_init__(self) -> None:
        if not 1 <= self.scale < 1.5:
            raise ValueError(f"the scale limit must lie in [1, 1.5), got {self.scale}")


PUBLISHED = Limits()


class Omega(NamedTuple):
    """The columns of a record, each (rows,)."""

    op: Tensor
    brightness: Tensor
    saturation: Tensor
    contrast: Tensor
    crop_y: Tensor
    crop_x: Tensor
    cutout_y: Tensor
    cutout_x: Tensor
    flip: Tensor
    scale_x: Tensor
    scale_y: Tensor
    theta: Tensor


COLUMNS = len(Omega._fields)


def draw_omega(
    generator: torch.Generator, rows: int, shape: Sequence[int], choices: Sequence[str], limits: Limits
) -> Float[Tensor, "rows 12"]:
    """Every column drawn for every row, row by row, so n rows are the first n of any longer draw.

    Columns do not depend on the strategy: leaving an operation out changes the choice and nothing else.
    """
    u = Omega(*torch.rand(rows, COLUMNS, generator=generator).unbind(1))
    (reach_y, reach_x), (side_y, side_x) = (_pixels(shape, limit) for limit in (limits.crop, limits.cutout))
    codes = torch.tensor([OPERATIONS.index(name) for name in choices] or [0])
    omega = Omega(
        op=codes[_integer(u.op, len(codes))].to(u.op),
        brightness=(u.brightness - 0.5) * limits.brightness,
        saturation=u.saturation * limits.saturation,
        contrast=u.contrast + limits.contrast,
        crop_y=_integer(u.crop_y, 2 * reach_y + 1) - reach_y,
        crop_x=_integer(u.crop_x, 2 * reach_x + 1) - reach_x,
        # An even side has no middle pixel, so its centre may also be the far edge (VICO's range).
        cutout_y=_integer(u.cutout_y, shape[1] + 1 - side_y % 2).to(u.op),
        cutout_x=_integer(u.cutout_x, shape[2] + 1 - side_x % 2).to(u.op),
        flip=(u.flip < limits.flip).to(u.op),
        scale_x=torch.lerp(torch.tensor(1 / limits.scale), torch.tensor(limits.scale), u.scale_x),
        scale_y=torch.lerp(torch.tensor(1 / limits.scale), torch.tensor(limits.scale), u.scale_y),
        theta=(2 * u.theta - 1) * math.radians(limits.rotate),
    )
    return torch.stack(omega, dim=1)


def transform(name: str, x: Float[Tensor, "n c h w"], omega: Omega, limits: Limits) -> Float[Tensor, "n c h w"]:
    """One named operation on every image, image i with the i-th entry of each column."""
    if name == "color":
        return operations.color(x, omega.brightness, omega.saturation, omega.contrast)
    if name == "crop":
        return operations.crop(x, omega.crop_y.long(), omega.crop_x.long())
    if name == "cutout":
        return operations.cutout(x, omega.cutout_y.long(), omega.cutout_x.long(), _pixels(x.shape[1:], limits.cutout))
    if name == "flip":
        return operations.flip(x, omega.flip > 0)
    if name == "scale":
        return operations.scale(x, omega.scale_x, omega.scale_y)
    return operations.rotate(x, omega.theta)


@dataclass(frozen=True)
class Siamese:
    """The operations `before`, one of `choices` per record row (uniformly), the operations `after`; see `dsa`."""

    before: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    limits: Limits = PUBLISHED

    def draw(self, generator: torch.Generator, rows: int, shape: Sequence[int]) -> Tensor:
        return draw_omega(generator, rows, shape, self.choices, self.limits)

    def apply(self, x: Tensor, record: Tensor, row: Tensor) -> Tensor:
        """Transform only the images that an operation concerns; elsewhere than on the CPU, see `apply_branch_free`."""
        if x.device.type != "cpu":
            return self._run(x, record, row, _masked, self._present(record))
        return self._run(x, record, row, _in_runs, self.choices)

    def apply_branch_free(self, x: Tensor, record: Tensor, row: Tensor) -> Tensor:
        """The same values by a fixed sequence of kernels, for capture in a graph; every input on the device of `x`."""
        return self._run(x, record, row, _masked, self.choices)

    def _run(self, x: Tensor, record: Tensor, row: Tensor, one_of: OneOf, choices: Sequence[str]) -> Tensor:
        if record.ndim != 2 or record.shape[1] != COLUMNS:
            raise ValueError(f"the record must be (rows, {COLUMNS}), got {tuple(record.shape)}")
        # Half-precision pixel coordinates would be off by whole pixels.
        out = x.to(torch.promote_types(x.dtype, torch.float32))
        omega = Omega(*record.to(out)[row.to(x.device)].unbind(1))
        for name in self.before:
            out = transform(name, out, omega, self.limits)
        out = one_of(out, omega, choices, self.limits)
        for name in self.after:
            out = transform(name, out, omega, self.limits)
        return out.to(x.dtype)

    def _present(self, record: Tensor) -> Sequence[str]:
        """The operations a record on the CPU holds; all of them when reading it would wait for the device."""
        if record.device.type != "cpu" or not self.choices:
            return self.choices
        return [OPERATIONS[code] for code in record[:, 0].long().unique().tolist()]


@dataclass(frozen=True)
class PerImage:
    """Ordinary augmentation: the operation is drawn once per batch, its parameters once per record row (image)."""

    siamese: Siamese

    def draw(self, generator: torch.Generator, rows: int, shape: Sequence[int]) -> Tensor:
        record = self.siamese.draw(generator, rows, shape)
        record[:, 0] = record[:1, 0]
        return record

    def apply(self, x: Tensor, record: Tensor, row: Tensor) -> Tensor:
        return self.siamese.apply(x, record, row)

    def apply_branch_free(self, x: Tensor, record: Tensor, row: Tensor) -> Tensor:
        return self.siamese.apply_branch_free(x, record, row)


OneOf = Callable[[Tensor, Omega, Sequence[str], Limits], Tensor]
"""one_of(x, omega, choices, limits) applies to image i the operation that `omega.op[i]` names."""


def _masked(x: Tensor, omega: Omega, choices: Sequence[str], limits: Limits) -> Tensor:
    """Every choice on every image, then the right one."""
    if len(choices) == 1:
        return transform(choices[0], x, omega, limits)
    out = x
    for name in choices:
        mine = (omega.op == OPERATIONS.index(name))[:, None, None, None]
        out = torch.where(mine, transform(name, x, omega, limits), out)
    return out


def _in_runs(x: Tensor, omega: Omega, choices: Sequence[str], limits: Limits) -> Tensor:
    """Every image by its own operation: runs of equal operations are views, put together once."""
    if not choices or not len(x):
        return x
    codes, counts = torch.unique_consecutive(omega.op.long(), return_counts=True)
    if len(codes) > len(OPERATIONS) and 8 * len(codes) > len(x):  # shuffled or tiny: sort first
        order = omega.op.argsort(stable=True)
        back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))
        ordered = _in_runs(x[order], Omega(*(column[order] for column in omega)), choices, limits)
        return ordered[back]
    pieces: list[Tensor] = []
    start = 0
    for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
        part = slice(start, start + count)
        pieces.append(transform(OPERATIONS[code], x[part], Omega(*(column[part] for column in omega)), limits))
        start += count
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def _pixels(shape: Sequence[int], fraction: float) -> tuple[int, int]:
    """A fraction of (height, width) in whole pixels, halves up."""
    return int(shape[1] * fraction + 0.5), int(shape[2] * fraction + 0.5)


def _integer(u: Tensor, count: int) -> Tensor:
    """Uniform {0 ... count - 1} from u ~ U[0, 1); the clamp catches u * count rounding up to count."""
    return (u * count).long().clamp(max=count - 1)
