"""The part of a report that is about sampling: what guidance did to every image over the noise levels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infodistill.reporting.charts import images_over_levels
from infodistill.reporting.colours import Look
from infodistill.reporting.drawing import svg
from infodistill.reporting.pictures import source_of
from infodistill.running.runs import Run

QUANTITIES = {
    "values": "information of each image, nats",
    "pushes": "push of each image, in units of the predicted noise",
}
"""What `diffusion.watching` records, in words."""


def sampled_sections(runs: Sequence[Run], drawn_as: Mapping[str, Look]) -> Iterator[dict[str, Any]]:
    """For every sampled run: its trajectory, and figures of what guidance did, force by force."""
    for run in runs:
        if run.guidance is None and run.trajectory is None:
            continue
        trajectory = None if run.trajectory is None else source_of(run.trajectory)
        yield {"label": run.label, "trajectory": trajectory, "figures": list(_figures(run, drawn_as[run.label].colour))}


def _figures(run: Run, colour: str) -> Iterator[dict[str, str]]:
    record = run.guidance or {}
    for quantity, words in QUANTITIES.items():
        for name in (key for key in record if key.startswith(f"{quantity}.")):
            if not bool(record[name].isfinite().any()):
                continue
            force = name.removeprefix(f"{quantity}.")
            title = f"{words} ({'all forces, clipped' if force == 'all' else force})"
            figure = images_over_levels(record["sigmas"], record[name], colour)
            yield {"label": title, "chart": svg(figure, f"{run.label}: {title}, over noise levels")}
