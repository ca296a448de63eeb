"""Settings in words: what a record that may be reused has to agree with."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from types import FunctionType
from typing import Any, cast

import torch
from torch import Tensor, nn

PLAIN = (bool, int, str, type(None))


def described(value: object) -> Any:
    """JSON-able words for a setting, equal where the settings are: for numbers, records, functions, tensors, networks.

    Records by type and fields, functions by name, tensors and networks by a digest of what they hold, anything that has
    a `fingerprint` by that. Of an object that is none of these the type is all that is told.
    """
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Tensor | nn.Module):
        return f"{type(value).__name__} {_digest(value)}"
    if isinstance(value, Mapping):
        return {str(name): described(part) for name, part in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, Sequence):
        return [described(part) for part in cast("Sequence[Any]", value)]
    if isinstance(value, partial):
        made = cast("partial[Any]", value)
        return {"function": described(made.func), "with": [described(made.args), described(made.keywords)]}
    if isinstance(value, FunctionType):
        return _function(value)
    return _object(value)


def _object(value: object) -> Any:
    name = getattr(value, "__qualname__", None) or type(value).__qualname__
    if (fingerprint := getattr(value, "fingerprint", None)) is not None:
        return {"is": name, "fingerprint": str(fingerprint)}
    if is_dataclass(value) and not isinstance(value, type):
        return {"is": name, **{entry.name: described(getattr(value, entry.name)) for entry in fields(value)}}
    return name


def _function(value: FunctionType) -> str:
    """Its name; one made on the spot shares that with others, and is told by its code and what it closes over too."""
    name = f"{value.__module__}.{value.__qualname__}"
    if "<" not in name:
        return name
    held = [cell.cell_contents for cell in value.__closure__ or ()]
    told = [part if isinstance(part, (*PLAIN, float)) else type(part).__name__ for part in held]
    code = value.__code__
    return f"{name} {hashlib.blake2b(repr((code.co_code, code.co_consts, told)).encode(), digest_size=8).hexdigest()}"


def _digest(value: Tensor | nn.Module) -> str:
    told = hashlib.blake2b(digest_size=8)
    for name, part in ({"": value} if isinstance(value, Tensor) else value.state_dict()).items():
        told.update(f"{name} {tuple(part.shape)} {part.dtype}".encode())
        told.update(part.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return told.hexdigest()
