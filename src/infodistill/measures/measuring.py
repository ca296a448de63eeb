"""What `infodistill measure` tells of a set: its profile, CMI and NCE / NWJ of teachers, and the bounds of sampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import fmean, stdev
from typing import Any

import torch

from infodistill.artefact import versions
from infodistill.compute import View
from infodistill.information import BIAS, conditional_mutual_information, nce_numbers, penultimate
from infodistill.measures.profiling import ALONE, Effort, Told, information_profile
from infodistill.measures.seen import Ground, require_classes
from infodistill.measures.set_information import set_information
from infodistill.real import RealData
from infodistill.types import Batch

CMI_NOTE = (
    "I(S; Z | Y) under each teacher, Z the softmax of its penultimate feature: how much the images of a class differ "
    "there; at most log(images per class), so compare only at equal ipc and with the same teachers. `infodistill "
    "measure` trains its own, by a key apart from those a set may have been optimised on, though of the same kind"
)


@torch.no_grad()
def profile(
    batch: Batch,
    real: RealData,
    views: Sequence[View],
    *,
    per_class: int,
    seed: int = 0,
    stored: int | None = None,
    effort: Effort = ALONE,
    progress: Told | None = None,
) -> dict[str, Any]:
    """Under "profile" the numbers of `information_profile`; CMI of `batch`, and NCE and NWJ bounds with the real data.

    CMI, NCE and NWJ are the mean and sample standard deviation over the networks in `views`, in nats. The real side of
    the two bounds is one keyed balanced draw of `per_class` images of each class the set has. The numbers of
    `set_information` stand beside them, and under "against" what all this was read against.

    Args:
        batch: the set.
        real: its data.
        views: teachers.
        per_class: see above.
        seed: key of every draw and training.
        stored: bytes of the set; see `information_profile`.
        effort: controls and intervals of the profile. By default there are none, which costs a program that asks about
            many sets little; `USUAL` is what the command takes.
        progress: told set by set.

    Raises:
        ValueError: the data has images of one class only.
    """
    require_classes(real)
    drawn = real.batch(seed, 0, per_class, batch.classes(), owner="measure")
    cmi: list[float] = []
    bounds: list[dict[str, float]] = []
    for view in views:
        feature = penultimate(view, batch.x, batch.space).float()
        cmi.append(float(conditional_mutual_information(feature.softmax(1), batch.y)))
        bounds.append(nce_numbers(feature, batch.y, penultimate(view, drawn.x, drawn.space).float(), drawn.y))
    ceiling = bounds[0]["ceiling"]
    return {
        "unit": "nats",
        "images": len(batch),
        "networks": len(views),
        "against": against(real, seed, effort),
        "cmi": {**_summary(cmi), "note": CMI_NOTE},
        "nce": {**_summary([b["nce"] for b in bounds]), "note": BIAS["nce"]},
        "nwj": {**_summary([b["nwj"] for b in bounds]), "note": BIAS["nwj"]},
        "ceiling": {"mean": ceiling, "note": BIAS["ceiling"]},
        **set_information(batch, real, views, seed=seed),
        "profile": information_profile(
            batch, Ground(real, views, seed), stored=stored, effort=effort, progress=progress
        ),
    }


def against(real: RealData, seed: int, effort: Effort) -> dict[str, Any]:
    """The data by fingerprint, the key, the effort and the versions: numbers compare where these agree."""
    return {
        "data": real.name,
        "fingerprint": real.fingerprint,
        "test_fingerprint": None if real.test is None else real.test.fingerprint,
        "seed": seed,
        "effort": asdict(effort),
        "versions": versions(),
    }


def _summary(values: Sequence[float]) -> dict[str, float]:
    return {"mean": fmean(values), "std": stdev(values) if len(values) > 1 else 0.0, "n": len(values)}
