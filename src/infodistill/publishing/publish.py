"""One artefact into one foreign form: written whole or not at all, with what it loses and what both forms reach."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from infodistill import nets
from infodistill.compute import resolve
from infodistill.distilled import Distilled
from infodistill.evaluation.assessing import data_of, open_artefact
from infodistill.evaluation.evaluating import Progress, protocol_of, scored
from infodistill.publishing.ddranking import ddranking
from infodistill.publishing.form import Form
from infodistill.publishing.imagefolder import imagefolder
from infodistill.publishing.parquet import parquet
from infodistill.publishing.readme import Accuracy, readme, words
from infodistill.real import RealData
from infodistill.running.conduct import Say, quiet
from infodistill.types import ValueSpace

FORMS: Mapping[str, Callable[[Distilled, ValueSpace], Form]] = {
    "imagefolder": imagefolder,
    "parquet": parquet,
    "ddranking": ddranking,
}
"""The foreign forms by name."""


def publish(
    folder: Path,
    to: str,
    out: Path,
    *,
    data: str | None = None,
    seeds: int = 5,
    device: str = "auto",
    progress: Progress | None = None,
    say: Say = quiet,
) -> dict[str, Any]:
    """Write the artefact in `folder` as the form `to` into the new folder `out`.

    Args:
        folder: an artefact.
        to: a name of `FORMS`.
        out: a folder that does not exist, or is empty.
        data: the data, if it is not where it was.
        seeds: networks that tell the accuracy of each form; 0 for none.
        device: of these networks.
        progress: told after every epoch.
        say: told what was lost.

    Returns:
        {"form", "out", "images", "losses", "accuracy" or None}.

    Raises:
        ValueError: an unknown form, a folder that is not empty or has no name ('.'), or images the form cannot hold.
    """
    if to not in FORMS:
        raise ValueError(f"unknown form '{to}', known: {', '.join(FORMS)}")
    if out.name in ("", ".."):  # a folder cannot be put in the place of the one it is in
        raise ValueError(f"--out wants the name of a new folder, got '{out}'")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"'{out}' exists already and is not an empty folder: choose another --out")
    distilled = open_artefact(folder)
    whitened = distilled.space.whitening is not None
    real = data_of(distilled, data, say) if seeds or whitened else None
    form = FORMS[to](distilled, real.space if real is not None and whitened else distilled.space)
    for loss in form.losses:
        say(f"lost: {loss}")
    accuracy = None if real is None or not seeds else _both(distilled, form, real, seeds, device, progress=progress)
    _write_whole(out, form, readme(distilled, form, accuracy))
    say(words(accuracy))
    told = None if accuracy is None else accuracy.as_dict()
    return {"form": to, "out": str(out), "images": len(form.distilled), "losses": list(form.losses), "accuracy": told}


def _both(
    distilled: Distilled, form: Form, real: RealData, seeds: int, device: str, *, progress: Progress | None
) -> Accuracy:
    """What the same networks reach on both forms, under the protocol of the artefact."""
    name, protocol = str(distilled.meta.get("net", "convnet3")), protocol_of(distilled, real)
    factory, policy = nets.by_name(name), resolve(device)
    first, second = (
        scored(one, real, factory, protocol=protocol, seeds=range(seeds), policy=policy, progress=progress)
        for one in (distilled, form.distilled)
    )
    return Accuracy(protocol.name, name, first, second)


def _write_whole(out: Path, form: Form, text: str) -> None:
    """Fill a folder beside `out` and rename it: readers see the export whole or not at all."""
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        form.fill(partial)
        (partial / "README.md").write_text(text, encoding="utf-8")
        if out.exists():
            out.rmdir()
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
