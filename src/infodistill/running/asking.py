"""From command-line flags to a full request: which recipe, changed how, with which terms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from infodistill import recipe as recipes
from infodistill.building.jobs import described, parse_add, resolve_strength
from infodistill.running.runfolder import Request, stored_request


@dataclass(frozen=True)
class Asked:
    """What the user typed; None means nothing was said."""

    data: str | None = None
    method: str | None = None
    add: tuple[str, ...] = ()
    ipc: int | None = None
    steps: int | None = None
    net: str | None = None
    recipe: str | None = None
    set: tuple[str, ...] = ()
    size: int | None = None
    skip_corrupt: bool = False
    validate: float | None = None
    seed: int | None = None
    device: str | None = None
    precision: str | None = None

    def only_steps(self) -> bool:
        """Whether nothing but the number of steps was said."""
        return self == Asked(steps=self.steps)


def requested(asked: Asked, resume_from: Path | None = None) -> Request:
    """The request the flags mean. Resuming without further flags takes those of the run in the folder.

    Raises:
        ValueError: a flag, recipe or term that cannot be understood, or no data.
    """
    asked = replace(asked, data=asked.data or _data_of(asked.recipe))
    stored = stored_request(resume_from) if resume_from is not None else None
    if stored is not None and asked.only_steps():
        changes = {} if asked.steps is None else {"steps": asked.steps}
        return replace(stored, recipe={**stored.recipe, **changes})
    if stored is not None and asked.data is None:
        raise ValueError("--resume takes --steps and nothing else, or all the flags the run was started with")
    if asked.data is None and resume_from is not None:
        raise ValueError(f"'{resume_from}' holds no run to resume: start one with --data")
    if asked.data is None:
        raise ValueError("--data is missing: name a data set (digits) or give a folder of class folders")
    if asked.validate is not None and not 0 < asked.validate < 1:
        raise ValueError(f"--validate is the held-out fraction, between 0 and 1, got {asked.validate}")
    name, content = _content(asked)
    recipe = recipes.parse(content, name)
    return Request(
        data=asked.data,
        recipe_name=name,
        recipe=recipe.as_dict(),
        add=_added(asked, recipe),
        seed=asked.seed or 0,
        size=asked.size,
        skip_corrupt=asked.skip_corrupt,
        validate=asked.validate,
        device=asked.device or "auto",
        precision=asked.precision or "float32",
    )


def _data_of(recipe: str | None) -> str | None:
    """The data set a recipe is for, which need not be named again; None for those that are for any."""
    name = None if recipe is None else recipes.read(recipe).get("dataset", "any")
    return None if name == "any" else name


def _content(asked: Asked) -> tuple[str, dict[str, Any]]:
    """Recipe name and content with every change the flags make."""
    if asked.recipe is not None:
        name, content = asked.recipe, recipes.read(asked.recipe)
        if asked.method is not None and asked.method != content.get("method"):
            raise ValueError(
                f"--method {asked.method} contradicts recipe '{name}', which is for {content.get('method')}"
            )
    else:
        name, content = recipes.find(str(asked.data).lower(), asked.method or "dm", asked.ipc)
    flags = {"ipc": asked.ipc, "steps": asked.steps, "net": asked.net}
    settings = {key: value for key, value in flags.items() if value is not None}
    return name, recipes.changed(content, {**settings, **dict(recipes.setting(text) for text in asked.set)})


def _added(asked: Asked, recipe: recipes.Recipe) -> dict[str, list[dict[str, Any]]]:
    """The strengths of every added term; more than one is a grid, which needs a held-out part to choose on."""
    added: dict[str, list[dict[str, Any]]] = {}
    for text in asked.add:
        name, strengths = parse_add(text)
        if name in added:
            raise ValueError(f"--add names the term '{name}' twice")
        if len(strengths) > 1 and asked.validate is None:
            raise ValueError(f"--add {text} is a grid: give --validate 0.1 to choose from it, or one strength")
        added[name] = [described(resolve_strength(recipe, name, strength)) for strength in strengths]
    return added
