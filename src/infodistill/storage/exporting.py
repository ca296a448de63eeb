"""From a set that is trained to a finished one on the CPU: decoded images, labels, factors, scalars, plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from infodistill.distilled import Distilled
from infodistill.types import Batch

if TYPE_CHECKING:
    from infodistill.synthetic import SyntheticSet


def exported(syn: SyntheticSet, meta: dict[str, Any]) -> Distilled:
    """The set as it stands, apart from the tensors that are trained on."""
    batch, factors = syn.batch().detach(), _factors(syn)
    hard = not syn.labels.requires_grad and torch.equal(batch.target, _one_hot(batch))
    return Distilled(
        images=_apart(batch.x.float()),
        y=batch.y.cpu(),
        space=syn.space,
        class_names=syn.class_names,
        soft_labels=None if hard else _apart(batch.target.float()),
        scalars=_stored({name: value for name, value in syn.scalars.items() if name not in factors}),
        factors=_stored(factors),
        label_kind=syn.kind,
        plan=tuple(syn.plan(replace(syn, scalars=detached(syn.scalars)))),
        meta=meta,
    )


def detached(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same values without their graphs."""
    return {name: value.detach() for name, value in tensors.items()}


def _factors(syn: SyntheticSet) -> dict[str, Tensor]:
    """What decoded images are made of: the stored rows and those scalars that the decoder holds."""
    from infodistill.synthetic import stored_as_images  # which needs this module

    if syn.decode is stored_as_images:
        return {}
    held = {id(value) for value in vars(syn.decode).values()} if is_dataclass(syn.decode) else set[int]()
    shared = {name: value for name, value in syn.scalars.items() if id(value) in held}
    return {"rows": syn.pixels, **shared}


def _stored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: _apart(value) for name, value in detached(tensors).items()}


def _apart(tensor: Tensor) -> Tensor:
    """A copy on the CPU: what was exported must not follow the set when it is trained on."""
    return tensor.to("cpu", copy=True)


def _one_hot(batch: Batch) -> Tensor:
    return F.one_hot(batch.y, batch.target.shape[1]).to(batch.target)
