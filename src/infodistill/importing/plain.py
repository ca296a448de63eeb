"""What every tensor of an untrusted file has to be before anything is computed with it."""

from __future__ import annotations

import torch
from torch import Tensor

DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.bool,
)


def plain(tensor: Tensor, what: str) -> Tensor:
    """The same tensor, if it is a dense one of real numbers that lie in memory.

    Quantised, complex, sparse and nested tensors, and those without values (`meta`), are no images and no labels. A
    view that repeats values (`expand`) has more of them than its memory: a small file could ask for terabytes.

    Raises:
        ValueError: it is anything else; nothing of its size has been allocated.
    """
    dense = not tensor.is_nested and tensor.layout == torch.strided and tensor.device.type == "cpu"
    if not dense or tensor.dtype not in DTYPES:
        kind = "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.")
        place = "" if tensor.device.type == "cpu" else f" on the device {tensor.device.type}"
        raise ValueError(f"{what} are a {kind} tensor of {tensor.dtype}{place}; wanted plain numbers")
    if tensor.numel() > tensor.untyped_storage().nbytes() // tensor.element_size():
        raise ValueError(f"{what} claim {tensor.numel():,} values but hold fewer: the file is damaged or hostile")
    return tensor
