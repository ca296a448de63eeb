"""HTML pages from the templates: one self-contained file each, no network, no script, every value escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from infodistill.evaluation.result import in_words


def page(template: str, **content: Any) -> str:
    """The text of a template; `made` is the time of now."""
    environment = Environment(
        loader=PackageLoader("infodistill"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "points": points, "number": number, "bytes": size}
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return environment.get_template(template).render(made=made, **content)


def percent(score: Mapping[str, Any] | None) -> str:
    """Mean ± std of a score, accuracies in [0, 1] as per cent; one number has no spread."""
    return "–" if not score else in_words(score)


def points(fraction: float | None) -> str:
    """A difference of accuracies in points, with its sign."""
    return "–" if fraction is None else f"{100 * fraction:+.1f}".replace("-", "−")


def number(value: float | int | None) -> str:
    """A number as people read it."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def size(value: float | None) -> str:
    """Bytes in the unit that leaves three figures: 412 B, 2.6 kB, 310 MB."""
    if value is None:
        return "–"
    units = ("B", "kB", "MB", "GB", "TB")
    power = next((power for power in range(4) if value < 999.5 * 1000**power), 4)  # 999.6 kB would round to 1000
    shown = value / 1000**power
    return f"{shown:.0f} {units[power]}" if shown >= 999.5 else f"{shown:.3g} {units[power]}"
