"""The part of a report that is about sampling: what guidance did to every image over the noise levels."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any

from infodistill.reporting.pictures import images_over_levels_png
from infodistill.running.runs import Run

QUANTITIES = {
    "values": "information of each image, nats",
    "pushes": "push of each image, in units of the predicted noise",
}
"""What `diffusion.watching` records, in words."""


def sampled_sections(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """For every sampled run: its trajectory, and figures of what guidance did, force by force."""
    for run in runs:
        if run.guidance is None and run.trajectory is None:
            continue
        trajectory = None if run.trajectory is None else source_of(run.trajectory)
        yield {"label": run.label, "trajectory": trajectory, "figures": list(_figures(run))}


def source_of(png: bytes) -> str:
    """A picture inside a page."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _figures(run: Run) -> Iterator[dict[str, str]]:
    record = run.guidance or {}
    for quantity, words in QUANTITIES.items():
        for name in (key for key in record if key.startswith(f"{quantity}.")):
            if not bool(record[name].isfinite().any()):
                continue
            force = name.removeprefix(f"{quantity}.")
            title = f"{words} ({'all forces, clipped' if force == 'all' else force})"
            picture = images_over_levels_png(record["sigmas"], record[name], record["labels"], title)
            yield {"src": source_of(picture), "label": title}
