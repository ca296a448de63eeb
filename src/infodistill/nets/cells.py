"""The memory-bound part of a block as one function, so that it can be compiled into one pass over the activations.

Every network calls `norm_relu` or `norm_relu_pool` after a convolution. Eager they are PyTorch's own operators; inside
`with compiled(True)` each call goes through one `torch.compile`d graph, which reads the convolution's output once.
Nothing is stored in a module: state-dict keys, copies and functional calls are the same in both modes.
Compiled cells have a first-order derivative only (AOTAutograd has no double backward).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor
from torch.nn import functional as F

_compiled: ContextVar[bool] = ContextVar("infodistill_compiled_cells", default=False)


def norm_relu(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
    """relu(group_norm(x)): (n, c, h, w) -> (n, c, h, w); instance norm when groups = c."""
    return _run(_norm_relu, x, weight, bias, groups, eps)


def norm_relu_pool(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
    """2x2 average pooling of relu(group_norm(x)): (n, c, h, w) -> (n, c, h // 2, w // 2)."""
    return _run(_norm_relu_pool, x, weight, bias, groups, eps)


@contextmanager
def compiled(enabled: bool) -> Generator[None]:
    """Within the block, cells are compiled (or not); a compiled cell that cannot be built raises."""
    token = _compiled.set(enabled)
    try:
        yield
    finally:
        _compiled.reset(token)


Cell = Callable[[Tensor, Tensor, Tensor, int, float], Tensor]


def _norm_relu(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
    return F.relu(F.group_norm(x, groups, weight, bias, eps))


def _norm_relu_pool(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
    return F.avg_pool2d(F.relu(F.group_norm(x, groups, weight, bias, eps)), 2)


def _run(cell: Cell, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
    return cell(x, weight, bias, groups, eps)
