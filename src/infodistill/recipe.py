"""Recipes: the settings of a run as strict, readable TOML files, with their provenance.

Here and in `cli.py` alone does a string select anything. `building/jobs.py` turns a recipe into a job.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError

from infodistill.settings import (
    Aggregated,
    Aligned,
    Characteristic,
    Expected,
    Featured,
    Flat,
    Formed,
    Labelling,
    Matching,
    Progressive,
    Queued,
    Recipe,
    Regression,
    Related,
    Remembering,
    Replayed,
    Representative,
    Staged,
    TeacherEntry,
    TermEntry,
    Trajectory,
)

FOLDER = Path(__file__).parent / "recipes"
MODELS: Mapping[str, type[Recipe]] = {
    "dm": Matching,
    "dc": Matching,
    "dsa": Matching,
    "mtt": Trajectory,
    "tesla": Trajectory,
    "ftd": Flat,
    "datm": Aligned,
    "seqmatch": Staged,
    "dd": Replayed,
    "sldd": Replayed,
    "ld": Labelling,
    "ld_ridge": Labelling,
    "rtp": Remembering,
    "frepo": Regression,
    "dcc": Aggregated,
    "cafe": Featured,
    "idc": Formed,
    "dream": Representative,
    "pdd": Progressive,
    "idm": Queued,
    "iid": Related,
    "ncfm": Characteristic,
}
"""Method -> what its recipes can say."""

METHODS = tuple(MODELS)
RATE_BY_IPC = ("idc", "dream", "pdd")
"""Methods whose images move at a rate in proportion to the images per class."""
TERMS = ("cmi", "mim")


class RecipeError(ValueError):
    """A recipe that cannot be read; the sentence names the file or the key."""


def parse(content: Mapping[str, Any], origin: str = "recipe") -> Recipe:
    """A checked recipe.

    Raises:
        RecipeError: an unknown key (the nearest known one is named), a missing one, or a value out of range.
    """
    method = content.get("method")
    if not isinstance(method, str) or method not in MODELS:
        known = ", ".join(f"'{name}'" for name in METHODS)
        raise RecipeError(f"{origin}: the method is {method!r}, but the known ones are {known}")
    model = MODELS[method]
    try:
        return model.model_validate(dict(content))
    except ValidationError as error:
        raise RecipeError(f"{origin}: {_sentence(error, model)}") from None


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

    Where the ipc is not that of the recipe, what was published for another ipc (its score, its weights) is dropped; the
    rate of images goes with the ipc where the method's rule is so (IDC, DREAM, PDD).

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
        lr = content["lr"] * (wanted / content.get("ipc", 10) if method in RATE_BY_IPC else 1)
        dropped = ("expected", "terms", "outer", "inner_epochs", "batches", "images", "parts", "stage_steps", "notes")
        content = {**{key: value for key, value in content.items() if key not in dropped}, "lr": lr}
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


def settings(texts: Iterable[str]) -> dict[str, Any]:
    """Several of these.

    Raises:
        RecipeError: one that is no key=value, or a key that is given twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, value = setting(text)
        if key in found:
            raise RecipeError(f"--set {key} is given twice: {found[key]!r} and {value!r}")
        found[key] = value
    return found


def _sentence(error: ValidationError, model: type[Recipe]) -> str:
    """The first problem in one sentence."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "[key]")
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(first["loc"][-1]), _known(first["loc"], model), 1, 0.0)
        return f"unknown key '{where}'; the nearest known one is '{near[0]}'"
    if first["type"] == "missing":
        return f"the key '{where}' is missing"
    if first["type"] == "value_error":
        return first["msg"].removeprefix("Value error, ")
    return f"'{where}' is {first['input']!r}, but {first['msg'][0].lower()}{first['msg'][1:]}"


def _known(location: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    """The keys of the table that a location lies in."""
    if len(location) > 1 and location[0] == "terms":
        return list(TermEntry.model_fields)
    inner = model.model_fields[str(location[0])].annotation if len(location) > 1 else None
    tables = [one for one in (inner, *get_args(inner)) if isinstance(one, type) and issubclass(one, BaseModel)]
    return list((tables or [model])[0].model_fields)


__all__ = [
    "FOLDER",
    "METHODS",
    "MODELS",
    "TERMS",
    "Expected",
    "Recipe",
    "RecipeError",
    "TeacherEntry",
    "TermEntry",
    "changed",
    "find",
    "names",
    "parse",
    "read",
    "setting",
    "settings",
]
