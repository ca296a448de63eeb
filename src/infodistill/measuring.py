"""The information profile of a set: CMI under teachers, NCE / NWJ bounds with the real data, and IGDS's bounds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

import torch

from infodistill.compute import View
from infodistill.information import BIAS, conditional_mutual_information, nce_numbers, penultimate
from infodistill.real import RealData
from infodistill.set_information import set_information
from infodistill.types import Batch

CMI_NOTE = (
    "I(S; Z | Y) under each teacher, Z the softmax of its penultimate feature: how much the images of a class differ "
    "there; at most log(images per class), so compare only at equal ipc and with the same teachers"
)


@torch.no_grad()
def profile(batch: Batch, real: RealData, views: Sequence[View], *, per_class: int, seed: int = 0) -> dict[str, Any]:
    """CMI of `batch`, and the NCE and NWJ bounds on the information its features share with real ones, in nats.

    Every number is the mean and sample standard deviation over the networks in `views`. The real side of the bounds is
    one keyed balanced draw of `per_class` images of each class. Those of `set_information` stand beside them.
    """
    drawn = real.batch(seed, 0, per_class, owner="measure")
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
        "cmi": {**_summary(cmi), "note": CMI_NOTE},
        "nce": {**_summary([b["nce"] for b in bounds]), "note": BIAS["nce"]},
        "nwj": {**_summary([b["nwj"] for b in bounds]), "note": BIAS["nwj"]},
        "ceiling": {"mean": ceiling, "note": BIAS["ceiling"]},
        **set_information(batch, real, views, seed=seed),
    }


def _summary(values: Sequence[float]) -> dict[str, float]:
    return {"mean": fmean(values), "std": stdev(values) if len(values) > 1 else 0.0, "n": len(values)}
