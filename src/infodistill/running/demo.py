"""The demonstration: bundled digits, DM with and without the information terms, against random subsets and all data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from infodistill.artefact import record_result
from infodistill.evaluation.assessing import evaluated, refresh_report
from infodistill.evaluation.result import Result
from infodistill.progress import Tell
from infodistill.report import report
from infodistill.running.asking import Asked, requested
from infodistill.running.conduct import Say, conduct, prepare, quiet

VARIANTS: dict[str, tuple[str, ...]] = {"dm": (), "dm-cmi": ("cmi",), "dm-mim": ("mim",)}
"""Folder -> terms added, at the recipe's strengths."""


@dataclass(frozen=True)
class Shown:
    """What the demonstration ends in: a result per variant, all of one seed, and the page that compares them."""

    results: dict[str, Result]
    page: Path


def demonstrate(
    out: Path, *, ipc: int = 10, steps: int | None = None, tell: Tell | None = None, say: Say = quiet
) -> Shown:
    """Distil the bundled digits three times from one seed, evaluate with random subsets and the full data, report."""
    results: dict[str, Result] = {}
    for name, add in VARIANTS.items():
        folder = out / name
        request = requested(Asked(data="digits", method="dm", ipc=ipc, add=add, steps=steps))
        conduct(prepare(request, tell=tell, say=say), folder, resume=True)
        results[name] = evaluated(folder, full=True, tell=tell)
        record_result(folder, results[name].record())
        refresh_report(folder)
    return Shown(results, report([out / name for name in VARIANTS], out))
