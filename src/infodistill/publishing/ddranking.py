"""DD-Ranking's layout: `images.pt`, `labels.pt` and, where a rate was learned, `lr.pt`. The values stay as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from infodistill.distilled import ALL_ROWS, Distilled
from infodistill.files import write_atomically
from infodistill.publishing.form import Form, without_learned
from infodistill.types import ValueSpace

READING = """\
```python
import torch
images = torch.load("images.pt", weights_only=True)  # float32 (n, c, h, w), values as below
labels = torch.load("labels.pt", weights_only=True)  # int64 (n,), or float32 (n, k): probabilities
# lr.pt, where it is there: the learned step size, one number (DD-Ranking's syn_lr)
```
"""


def ddranking(distilled: Distilled, space: ValueSpace) -> Form:
    """Three files of tensors, none of which holds anything but a tensor; the images lose nothing."""
    del space
    rate = learned_rate(distilled)
    form, losses = without_learned(distilled)
    if rate is not None:  # lr.pt holds both the scalar and the plan
        form = replace(form, plan=({**ALL_ROWS, "rates": rate},), scalars={"lr": torch.tensor(rate)})
        losses = without_learned(replace(distilled, plan=(ALL_ROWS,), scalars=_others(distilled)))[1]
    losses = (*losses, "class names, mean and std are in this file only")
    targets = form.y if form.soft_labels is None else form.soft_labels.float()
    if form.soft_labels is not None:
        form, losses = replace(form, y=targets.argmax(1)), (*losses, *_hidden(form.y, targets))

    def fill(folder: Path) -> None:
        tensors = {"images": form.images.float(), "labels": targets}
        for name, value in {**tensors, **({} if rate is None else {"lr": torch.tensor(rate)})}.items():
            whole = value.detach().cpu().clone()  # a view would drag its whole storage into the file
            write_atomically(folder / f"{name}.pt", lambda partial, tensor=whole: torch.save(tensor, partial))

    return Form(form, losses, READING, fill)


def _hidden(y: Tensor, rows: Tensor) -> tuple[str, ...]:
    """What becomes of classes that are not the largest of their row, the only thing left to tell them by."""
    others = int((rows.argmax(1) != y).sum())
    if others == 0:
        return ()
    return (
        f"labels.pt has the soft labels and no classes: {others} of {len(y)} images count as the class their label "
        "puts first, not as the one they were made for",
    )


def learned_rate(distilled: Distilled) -> float | None:
    """The one rate of a plan of one phase on all rows for the protocol's epochs; None for any other plan."""
    plan = [dict(phase) for phase in distilled.plan]
    if len(plan) != 1 or not isinstance(rate := plan[0].get("rates"), int | float):
        return None
    return float(rate) if {**plan[0], "rates": None} == dict(ALL_ROWS) else None


def _others(distilled: Distilled) -> dict[str, Tensor]:
    return {name: value for name, value in distilled.scalars.items() if name != "lr"}
