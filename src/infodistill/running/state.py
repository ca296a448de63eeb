"""Finding everything that has state inside a job, so that a checkpoint forgets nothing.

The walk follows attributes, mappings, tuples, lists, bound methods and `functools.partial`; what it meets that has
`state_dict` and `load_state_dict` is saved once, under the first path it is found by ("terms.match.term.looks.nets").
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, cast

from torch import Tensor, nn

from infodistill.compute import Policy, View
from infodistill.real import RealData

LEAVES = (str, bytes, int, float, Tensor, nn.Module, type, View, Policy, RealData)
OPAQUE = ("torch", "numpy", "builtins")
"""Packages whose objects are not looked into."""


class Stateful(Protocol):
    """Something that can be saved and put back."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any], /) -> object: ...


def find_parts(root: object, path: str = "") -> dict[str, Stateful]:
    """Every stateful object reachable from `root`, once each, by path.

    Raises:
        ValueError: a function closes over a stateful object, which no checkpoint could see.
    """
    found: dict[str, Stateful] = {}
    seen: set[int] = set()
    for name, part in _walk(root, path, seen):
        found.setdefault(name, part)
    return found


def _walk(node: object, path: str, seen: set[int]) -> Iterator[tuple[str, Stateful]]:
    if node is None or isinstance(node, LEAVES) or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, types.FunctionType):
        _refuse_captured(node, path)
        return
    if hasattr(node, "state_dict") and hasattr(node, "load_state_dict"):  # isinstance of a Protocol is 20x slower
        yield path, cast(Stateful, node)
    for name, child in _children(node):
        yield from _walk(child, f"{path}.{name}" if path else name, seen)


def _children(node: object) -> Iterator[tuple[str, object]]:
    if isinstance(node, Mapping):
        for name, child in cast("Mapping[object, object]", node).items():
            yield str(name), child
    elif isinstance(node, functools.partial):
        for name, child in enumerate(node.args):
            yield str(name), child
        yield from node.keywords.items()
    elif isinstance(node, (tuple, list)):
        for name, child in enumerate(cast("list[object]", node)):
            yield str(name), child
    elif isinstance(node, types.MethodType):
        yield "self", node.__self__
    elif type(node).__module__.partition(".")[0] not in OPAQUE:
        yield from vars(node).items() if hasattr(node, "__dict__") else ()


def _refuse_captured(function: types.FunctionType, path: str) -> None:
    """A closure hides what it holds from every checkpoint, so one that holds state is an error, not a surprise."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        held = cell.cell_contents
        if find_parts(held):
            raise ValueError(
                f"the function at '{path}' closes over '{name}', a {type(held).__name__} with state that no checkpoint "
                f"could save: write the term as a dataclass with '{name}' as a field"
            )
