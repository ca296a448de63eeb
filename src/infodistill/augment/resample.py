"""Moving pixels as linear operators that know their own adjoint.

Autograd's backward of a gather is a scatter, which adds in no fixed order on CUDA, and `grid_sample` has no second
derivative. Both operators here read with a gather and so do their adjoints: deterministic on every device,
differentiable to any order, usable under `torch.func`.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def shift(x: Float[Tensor, "n c h w"], dy: Int[Tensor, " n"], dx: Int[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
    """out[i, :, y, x] = x[i, :, y + dy_i, x + dx_i], zero where that lies outside the image."""
    return _apply(_Shift, x, dy, dx)


def resample(x: Float[Tensor, "n c h w"], matrix: Float[Tensor, "n 2 2"]) -> Float[Tensor, "n c h w"]:
    """Bilinear reading of image i at m + matrix_i (q - m) for every output pixel q = (x, y), m the image centre.

    Coordinates are pixels and everything outside the image is zero. Because the map leaves the centre where it is, this
    equals `grid_sample(x, affine_grid(matrix))` under *either* setting of `align_corners`, as long as the two functions
    share it (on non-square images for diagonal matrices; rotations here are rotations in pixels, without shear).
    The adjoint searches a 3x3 window, which is exact when the row sums of |matrix^-1| stay below 1.5: every rotation,
    and every scale factor above 2/3.
    """
    return _apply(_Resample, x, matrix)


class _Shift(torch.autograd.Function):
    """The adjoint of a shift is the opposite shift."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, dy: Tensor, dx: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        rows = torch.arange(height, device=x.device) + dy[:, None]  # (n, h)
        columns = torch.arange(width, device=x.device) + dx[:, None]  # (n, w)
        return take(x, rows, columns)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1], inputs[2])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        dy, dx = ctx.saved_tensors
        return shift(grads[0], -dy, -dx), None, None


class _Resample(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, matrix: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        px, py = _transform(matrix, *_pixels(height, width, matrix), height, width)
        grid = torch.stack(((2 * px + 1) / width - 1, (2 * py + 1) / height - 1), dim=-1)
        return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (matrix,) = ctx.saved_tensors
        return _apply(_Adjoint, grads[0], matrix), None


class _Adjoint(torch.autograd.Function):
    """Input pixel p collects hat(r(q) - p) g(q) from the output pixels q near the place that p is read from."""

    generate_vmap_rule = True

    @staticmethod
    def forward(g: Tensor, matrix: Tensor) -> Tensor:
        height, width = g.shape[-2:]
        py, px = _pixels(height, width, matrix)
        centre = _transform(_inverse(matrix), py, px, height, width)
        near_x, near_y = (axis.round() for axis in centre)
        out = torch.zeros_like(g)
        for oy in (-1, 0, 1):
            for ox in (-1, 0, 1):
                qx, qy = near_x + ox, near_y + oy  # (n, h, w)
                rx, ry = _transform(matrix, qy, qx, height, width)
                inside = (qx >= 0) & (qx < width) & (qy >= 0) & (qy < height)
                weight = inside * _hat(rx - px) * _hat(ry - py)
                index = qy.clamp(0, height - 1) * width + qx.clamp(0, width - 1)
                out = out + weight.unsqueeze(1) * _gather(g, index.long())
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (matrix,) = ctx.saved_tensors
        return resample(grads[0], matrix), None


def take(
    x: Float[Tensor, "n c h w"], rows: Int[Tensor, "n h"], columns: Int[Tensor, "n w"]
) -> Float[Tensor, "n c h w"]:
    """out[i, :, y, x] = x[i, :, rows[i, y], columns[i, x]], zero where an index lies outside the image."""
    height, width = x.shape[-2:]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    index = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]
    return torch.where(inside[:, None], _gather(x, index), x.new_zeros(()))


def _gather(x: Tensor, index: Tensor) -> Tensor:
    """Pixels of every channel by flat position: (n, c, h, w), (n, h, w) -> (n, c, h, w)."""
    n, channels = x.shape[:2]
    flat = index.flatten(1)[:, None, :].expand(n, channels, -1)
    return x.flatten(2).gather(2, flat).view(n, channels, *index.shape[1:])


def _pixels(height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    y = torch.arange(height, device=like.device, dtype=like.dtype)
    x = torch.arange(width, device=like.device, dtype=like.dtype)
    return y[:, None], x[None, :]


def _transform(matrix: Tensor, y: Tensor, x: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Where pixels q are read, m + matrix (q - m), as (x, y), each (n, h, w)."""
    mx, my = (width - 1) / 2, (height - 1) / 2
    a, b, c, d = matrix.flatten(1)[:, :, None, None].unbind(1)
    return mx + a * (x - mx) + b * (y - my), my + c * (x - mx) + d * (y - my)


def _inverse(matrix: Tensor) -> Tensor:
    a, b, c, d = matrix.flatten(1).unbind(1)
    adjugate = torch.stack((d, -b, -c, a), dim=1) / (a * d - b * c)[:, None]
    return adjugate.view_as(matrix)


def _hat(distance: Tensor) -> Tensor:
    return (1 - distance.abs()).clamp(min=0)


def _apply(function: type[torch.autograd.Function], *inputs: Tensor) -> Tensor:
    return function.apply(*inputs)  # pyright: ignore[reportReturnType]
