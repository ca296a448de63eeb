"""Table rows: which there are, what we measured for each, and how one is run in resumable pieces."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from infodistill import recipe as recipes
from infodistill.artefact import record_result, results_of
from infodistill.evaluation.assessing import evaluated
from infodistill.progress import Tell
from infodistill.running.asking import Asked, requested
from infodistill.running.conduct import Say, conduct, prepare, quiet
from infodistill.settings import Expected, TermEntry


@dataclass(frozen=True)
class Row:
    """A recipe, a term added to it or none, and the paper's accuracy in 0-1 (None: none published) and its std."""

    name: str
    recipe: str
    add: tuple[str, ...]
    accuracy: float | None
    std: float | None
    source: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def rows() -> Iterator[Row]:
    """Every row: the shipped recipes of named data, alone and with each term they know, published or not."""
    for name in recipes.names():
        recipe = recipes.parse(recipes.read(name), name)
        if recipe.dataset == "any":
            continue
        yield _row(name, (), recipe.expected)
        for term, entry in recipe.terms.items():
            yield _row(name, (term,), entry)


def _row(recipe: str, add: tuple[str, ...], paper: Expected | TermEntry) -> Row:
    source = "none published" if paper.accuracy is None else paper.source
    return Row("+".join((recipe, *add)), recipe, add, paper.accuracy, paper.std, source)


def row(name: str) -> Row:
    """The row of a name.

    Raises:
        ValueError: there is none.
    """
    import difflib

    known = {one.name: one for one in rows()}
    if name not in known:
        near = difflib.get_close_matches(name, list(known), 1, 0.4)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"there is no row '{name}'{hint} (infodistill reproduce lists them)")
    return known[name]


def folder_of(one: Row, out: Path) -> Path:
    return out / one.name.replace("/", "-").replace("+", "-with-")


def measured(one: Row, out: Path) -> dict[str, Any] | None:
    """Our number, if the row was run here: {"mean", "std", "n", ...} under the recipe's protocol."""
    found = results_of(folder_of(one, out))
    recipe = recipes.parse(recipes.read(one.recipe), one.recipe)
    if found is None or recipe.protocol not in found:
        return None
    columns = found[recipe.protocol]["nets"][recipe.net]
    return {"distilled": columns["distilled"], "random": columns["random"], "full": columns["full"]}


def reproduce(
    one: Row,
    out: Path,
    *,
    data: str | None = None,
    device: str | None = None,
    precision: str | None = None,
    minutes: float | None = None,
    seeds: int = 5,
    tell: Tell | None = None,
    say: Say = quiet,
) -> int | None:
    """Run a row, or its next piece; the step it stopped at, or None when it is done and evaluated."""
    recipe = recipes.parse(recipes.read(one.recipe), one.recipe)
    asked = Asked(data=data or recipe.dataset, recipe=one.recipe, add=one.add, device=device, precision=precision)
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    folder = folder_of(one, out)
    ready = prepare(requested(asked), tell=tell, say=say)
    outcome = conduct(ready, folder, resume=True, deadline=deadline)
    if outcome.distilled is None:
        return outcome.step
    result = evaluated(folder, seeds=seeds, device=device or "auto", precision=precision or "float32", tell=tell)
    record_result(folder, result.record())
    return None
