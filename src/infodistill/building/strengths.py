"""How strongly a term counts: as asked for, as published, or the default; in numbers and with its origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from infodistill.recipe import TERMS, Recipe, RecipeError
from infodistill.weights import Ratio

DEFAULT_RATIO = {"cmi": 0.01, "mim": 0.03}
"""Used when neither the command line nor the recipe gives a strength (docs/methods/cmi.md and mim.md say why)."""


@dataclass(frozen=True)
class Strength:
    """How strongly a term counts: a weight, a ratio of gradient norms, or whatever the recipe says."""

    kind: str = "recipe"
    value: float = 0.0
    origin: str = "asked for"

    def __str__(self) -> str:
        return {"recipe": "", "ratio": f"ratio:{self.value:g}"}.get(self.kind, f"{self.value:g}")

    def weight(self) -> float | Ratio:
        return Ratio(self.value) if self.kind == "ratio" else self.value


def parse_add(text: str) -> tuple[str, tuple[Strength, ...]]:
    """`cmi`, `cmi=8000`, `cmi=ratio:0.1` or a grid `cmi=0,ratio:0.01,ratio:0.1` as (term, strengths).

    A list that begins with `ratio:` is one of ratios: `cmi=ratio:0,0.01,0.1`, see `listed`.

    Raises:
        RecipeError: no such term, or a strength that is not a number >= 0.
    """
    name, equals, value = text.partition("=")
    if name not in TERMS:
        raise RecipeError(f"unknown term '{name}' in --add {text}, known: {', '.join(TERMS)}")
    if not equals:
        return name, (Strength(),)
    return name, tuple(_strength(part, text) for part in listed(value))


def listed(value: str) -> list[str]:
    """The parts of a comma list, each with its own `ratio:`; one at the very beginning holds for the whole list."""
    parts = [part.strip() for part in value.split(",")]
    lead = "ratio:" if parts[0].startswith("ratio:") else ""
    return [lead + part.removeprefix(lead) for part in parts]


def _strength(part: str, text: str) -> Strength:
    try:
        value = float(part.removeprefix("ratio:"))
    except ValueError:
        raise RecipeError(
            f"--add {text}: a strength is NUMBER or ratio:NUMBER, several as in cmi=0,ratio:0.01,ratio:0.1; "
            f"got '{part}'"
        ) from None
    if not 0 <= value < float("inf"):
        raise RecipeError(f"--add {text}: a strength must be a finite number of at least 0, got '{part}'")
    return Strength("ratio" if part.startswith("ratio:") else "weight", value)


def resolve_strength(recipe: Recipe, term: str, asked: Strength) -> Strength:
    """The strength in numbers; `origin` says where it comes from."""
    if asked.kind != "recipe":
        return asked
    entry = recipe.terms.get(cast(Any, term))
    if entry is not None and entry.weight is not None:
        return Strength("weight", entry.weight, f"the recipe's published weight ({entry.source})")
    if entry is not None and entry.ratio is not None:
        return Strength("ratio", entry.ratio, "the recipe's gradient-norm ratio (ours)")
    return Strength(
        "ratio", DEFAULT_RATIO[term], "the default gradient-norm ratio (ours; no published weight is known)"
    )


def described(strength: Strength) -> dict[str, Any]:
    """JSON-able, for a run's record."""
    return {"kind": strength.kind, "value": strength.value, "origin": strength.origin}
