"""Checkpoints of a distillation: one file, written atomically, checked when read.

The nested state is split into tensors (the body of a safetensors file) and everything else (JSON in its header),
so nothing is pickled and a cut or edited file is recognised.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from infodistill.files import write_atomically

FORMAT = 1


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state` (nested mappings, lists, tensors, JSON values) so that `path` always holds a whole checkpoint.

    Raises:
        FloatingPointError: a tensor of the set holds NaN or infinity; the checkpoint on disk is left as it is.
    """
    tensors: dict[str, Tensor] = {}
    plain = _split(state, "", tensors)
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise FloatingPointError(f"'{name}' is not finite: the checkpoint at {path} is kept as it was")
    header = {"format": str(FORMAT), "state": json.dumps(plain), "digest": _digest(tensors, plain)}
    write_atomically(path, lambda partial: save_file(tensors, partial, metadata=header))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The state that was saved.

    Raises:
        ValueError: the file is cut, edited, or of another format.
        FileNotFoundError: there is none.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if header.get("format") != str(FORMAT):
            raise ValueError(f"checkpoint {path} has format {header.get('format')}, this version reads {FORMAT}")
        plain = json.loads(header["state"])
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"checkpoint {path} cannot be read ({error}): it is cut or not a checkpoint") from error
    if header.get("digest") != _digest(tensors, plain):
        raise ValueError(f"checkpoint {path} was changed after it was written: its digest does not match")
    return cast("dict[str, Any]", _join(plain, tensors))


def _split(node: object, path: str, tensors: dict[str, Tensor]) -> object:
    """Tensors become {"$tensor": name}, mappings {"$map": [[key, value], ...]} so that keys keep their types."""
    if isinstance(node, Tensor):
        tensors[path] = node.detach().cpu().contiguous().clone()
        return {"$tensor": path}
    if isinstance(node, Mapping):
        items = cast("Mapping[Any, object]", node).items()
        return {"$map": [[key, _split(value, f"{path}/{key}" if path else str(key), tensors)] for key, value in items]}
    if isinstance(node, (list, tuple)):
        return [_split(value, f"{path}/{i}", tensors) for i, value in enumerate(cast("list[object]", node))]
    if node is None or isinstance(node, (str, int, float, bool)):
        return node
    raise TypeError(f"'{path}' holds a {type(node).__name__}, which a checkpoint cannot store")


def _join(node: object, tensors: Mapping[str, Tensor]) -> object:
    if isinstance(node, list):
        return [_join(value, tensors) for value in cast("list[object]", node)]
    if isinstance(node, dict):
        held = cast("dict[str, Any]", node)
        if "$tensor" in held:
            return tensors[held["$tensor"]]
        return {key: _join(value, tensors) for key, value in held["$map"]}
    return node


def _digest(tensors: Mapping[str, Tensor], plain: object) -> str:
    told = hashlib.blake2b(json.dumps(plain).encode(), digest_size=16)
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        told.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
        told.update(value.view(-1).view(torch.uint8).numpy().data if value.numel() else b"")
    return told.hexdigest()
