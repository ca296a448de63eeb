"""Recipes: the settings of a run as strict, readable TOML files, with their provenance.

This file and `cli.py` are the only places where a string selects anything. `jobs.py` turns a recipe into a job.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

FOLDER = Path(__file__).parent / "recipes"
METHODS = ("dm", "dc", "dsa")
TERMS = ("cmi", "mim")
Init = Literal["real", "noise", "kmeans"]


class RecipeError(ValueError):
    """A recipe that cannot be read; the sentence names the file or the key."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TermEntry(_Strict):
    """A term a recipe knows: its published weight, or a ratio of gradient norms, and what it reached in the paper."""

    weight: float | None = Field(default=None, ge=0)
    ratio: float | None = Field(default=None, ge=0)
    source: str = "ours"
    accuracy: float | None = Field(default=None, ge=0, le=1)
    std: float | None = Field(default=None, ge=0, le=1)


class TeacherEntry(_Strict):
    """The pretrained networks CMI looks through, and how each is trained."""

    net: str = "resnet18"
    count: int = Field(default=10, ge=1)
    epochs: int = Field(default=40, ge=0)
    lr: float = Field(default=0.01, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=1e-3, ge=0)
    batch: int = Field(default=256, ge=1)
    at_least: float = Field(default=0.0, ge=0, le=1)


class Expected(_Strict):
    """The published accuracy of the plain method, in 0-1; no accuracy means that none was published."""

    accuracy: float | None = Field(default=None, ge=0, le=1)
    std: float | None = Field(default=None, ge=0, le=1)
    source: str = "UNKNOWN"


class Recipe(_Strict):
    """Every setting of one distillation.

    `steps` is the total number of rounds. `outer` and `inner_epochs` (DC, DSA) are the updates in a network's life and
    the epochs of its training between two of them. `augment` is a name of `augment.by_name`.
    """

    method: Literal["dm", "dc", "dsa"]
    dataset: str = "any"
    ipc: int = Field(default=10, ge=1)
    net: str = "convnet3"
    steps: int = Field(ge=0)
    lr: float = Field(gt=0)
    momentum: float = Field(default=0.5, ge=0, lt=1)
    real_per_class: int = Field(default=256, ge=1)
    init: Init = "real"
    augment: str = "none"
    augment_train: str = "none"
    protocol: str = "dsa"
    outer: int | None = Field(default=None, ge=1)
    inner_epochs: int | None = Field(default=None, ge=0)
    lr_net: float = Field(default=0.01, gt=0)
    batch_train: int = Field(default=256, ge=1)
    share: int = Field(default=1, ge=1)
    terms: dict[Literal["cmi", "mim"], TermEntry] = Field(default_factory=dict[Literal["cmi", "mim"], TermEntry])
    teachers: TeacherEntry = TeacherEntry()
    expected: Expected = Expected()
    notes: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; `parse` is the inverse. Keys without a value are left out."""
        return self.model_dump(exclude_none=True)


def parse(content: Mapping[str, Any], origin: str = "recipe") -> Recipe:
    """A checked recipe.

    Raises:
        RecipeError: an unknown key (the nearest known one is named), a missing one, or a value out of range.
    """
    try:
        return Recipe.model_validate(dict(content))
    except ValidationError as error:
        raise RecipeError(f"{origin}: {_sentence(error)}") from None


def read(path: str | Path) -> dict[str, Any]:
    """The raw content of a recipe file, or of a shipped recipe by its name, such as `cifar10/dm-ipc10`."""
    file = Path(path)
    if not file.is_file():
        file = FOLDER / f"{str(path).removesuffix('.toml')}.toml"
    if not file.is_file():
        near = difflib.get_close_matches(str(path), names(), 1, 0.4)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise RecipeError(f"there is no recipe file or shipped recipe '{path}'{hint}")
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not valid TOML: {error}") from None


def names() -> list[str]:
    """The shipped recipes, as `<dataset>/<method>-ipc<n>`."""
    return sorted(str(file.relative_to(FOLDER).with_suffix("")) for file in FOLDER.rglob("*.toml"))


def find(dataset: str, method: str, ipc: int | None = None) -> tuple[str, dict[str, Any]]:
    """(name, content) of the shipped recipe that fits best: the data set's own, nearest ipc, else the generic one.

    Where the ipc is not that of the recipe, what was published for another ipc (its score, its weights) is dropped.

    Raises:
        RecipeError: no such method.
    """
    if method not in METHODS:
        raise RecipeError(f"unknown method '{method}', known: {', '.join(METHODS)}")
    own = {
        content["ipc"]: name
        for name in names()
        if name.startswith(f"{dataset}/{method}-ipc") and (content := read(name))
    }
    wanted = ipc if ipc is not None else 10
    name = own[min(own, key=lambda n: abs(n - wanted))] if own else f"quick/{method}"
    content = read(name)
    if content.get("ipc", 10) != wanted:
        dropped = ("expected", "terms", "outer", "inner_epochs", "notes")
        content = {key: value for key, value in content.items() if key not in dropped}
    return name, {**content, "ipc": wanted}


def changed(content: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of raw recipe content with dotted keys (`teachers.count`) set to new values."""
    result: dict[str, Any] = {key: dict(value) if isinstance(value, dict) else value for key, value in content.items()}
    for dotted, value in settings.items():
        *path, last = dotted.split(".")
        node = result
        for part in path:
            inner = node.get(part, {})
            node[part] = dict(cast("dict[str, Any]", inner)) if isinstance(inner, dict) else {}
            node = node[part]
        node[last] = value
    return result


def setting(text: str) -> tuple[str, Any]:
    """`key=value` as typed on a command line; the value is a TOML value, or else the text itself."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set wants key=value, got '{text}'")
    try:
        return key.strip(), tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value


def _sentence(error: ValidationError) -> str:
    """The first problem in one sentence."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "[key]")
    if first["type"] == "extra_forbidden":
        known = _known(first["loc"])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, 1, 0.0)
        return f"unknown key '{where}'; the nearest known one is '{near[0]}'"
    if first["type"] == "missing":
        return f"the key '{where}' is missing"
    return f"'{where}' is {first['input']!r}, but {first['msg'][0].lower()}{first['msg'][1:]}"


def _known(location: tuple[int | str, ...]) -> list[str]:
    model = {"teachers": TeacherEntry, "expected": Expected, "terms": TermEntry}
    return list((model.get(str(location[0]), Recipe) if len(location) > 1 else Recipe).model_fields)
