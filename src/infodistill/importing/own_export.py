"""What `infodistill export` says of a set in the header of its README, for those who import it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, cast

from infodistill import nets
from infodistill.evaluation.protocols import EvaluationProtocol
from infodistill.publishing.readme import OWN


@dataclass(frozen=True)
class Told:
    """How the set is to be evaluated, as far as the export says so."""

    content: Mapping[str, Any]

    @property
    def net(self) -> str | None:
        """The network, if it can be made here by its name."""
        name = self.content.get("net")
        try:
            nets.by_name(str(name))
        except ValueError:
            return None
        return str(name)

    def protocol(self) -> EvaluationProtocol | None:
        """The protocol with all its settings.

        Raises:
            ValueError: what is there is none.
        """
        from pydantic import TypeAdapter, ValidationError  # slow to import, and most sets are not of our exports

        if (content := self.content.get("protocol")) is None:
            return None
        try:
            told = TypeAdapter(dict[str, Any]).validate_python(content)
            TypeAdapter(EvaluationProtocol).validate_python(told)
            return EvaluationProtocol.from_dict(told)
        except ValidationError as error:
            why = ".".join(map(str, error.errors()[0]["loc"])) + " is wrong"
            raise ValueError(f"README.md carries a protocol that is none ({why}): give --protocol") from None
        except ValueError as error:
            raise ValueError(f"README.md carries a protocol that is none ({error}): give --protocol") from None


def told_by(path: Path) -> Told:
    """Read the header of the README of an export: the folder `path`, or that of its file or subfolder `path`.

    Raises:
        ValueError: our entry in it is no JSON object.
    """
    places = [path, path.parent, *([path.parent.parent] if path.suffix == ".parquet" else [])]
    return Told(next((found for place in places if (found := _header(place / "README.md"))), {}))


def _header(file: Path) -> Mapping[str, Any]:
    """Our entry of a README's YAML header, whose values are JSON; empty where there is none."""
    if not file.is_file():
        return {}
    with file.open(encoding="utf-8", errors="replace") as lines:
        header = list(takewhile(lambda line: line.strip() != "---", lines)) if next(lines, "").strip() == "---" else []
    entry = next((line.removeprefix(f"{OWN}:") for line in header if line.startswith(f"{OWN}:")), "{}")
    try:
        content: object = json.loads(entry)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"the header of {file.name} has an entry '{OWN}' that is no JSON object: was it edited?")
    return cast("dict[str, Any]", content)
