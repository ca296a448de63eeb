"""What recipes of DD, SLDD, LD, RTP and FRePo say."""

from __future__ import annotations

from typing import Any, cast

from pydantic import Field, model_validator

from infodistill.settings.entries import (
    Init,
)
from infodistill.settings.recipe import Recipe
from infodistill.settings.stages import whole_number


class Replayed(Recipe):
    """DD and SLDD: `passes` times through `batches` batches, a learned rate per step, fresh networks.

    `hold` updates keep a network, 0 keeps the first for good; `images` (SLDD) sets fewer images than classes.
    """

    protocol: str = "dd"
    init: Init = "noise"
    batches: int | None = Field(default=None, ge=1)
    passes: int = Field(default=3, ge=1)
    rate: float = Field(default=0.02, gt=0)
    halve_every: int = Field(default=2360, ge=1)
    clip: float | None = Field(default=1.0, gt=0)
    nets: int = Field(default=1, ge=1)
    hold: int = Field(default=1, ge=0)
    images: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> Replayed:
        if self.images is not None and self.method == "dd":
            raise ValueError("images is for sldd: with hard labels every class needs images of its own, use ipc")
        return self


class Labelling(Recipe):
    """LD: fixed images, learned labels; second order (ld) or by ridge regression (ld_ridge)."""

    protocol: str = "ld"
    lr_net: float = Field(default=1e-3, gt=0)
    inner_lr: float = Field(default=0.01, gt=0)
    lr_adjust: float = Field(default=0.01, gt=0)
    batch: int | None = Field(default=None, ge=1)
    ridge: float = Field(default=1.0, gt=0)
    keep: float = Field(default=0.99, ge=0, lt=1)
    window: int = Field(default=50, ge=1)
    patience: int = Field(default=50, ge=1)


class Remembering(Recipe):
    """RTP: bases and coefficients trained through `inner_steps` steps of momentum SGD on `rows` images a class."""

    protocol: str = "rtp"
    init: Init = "noise"
    momentum: float = Field(default=0.5, ge=0, lt=1)
    bases: int = Field(default=16, ge=1)
    scale: int = Field(default=2, ge=1)
    inner_steps: int = Field(default=150, ge=1)
    rate: float = Field(default=0.01, gt=0)
    inner_momentum: float = Field(default=0.9, ge=0, lt=1)
    rows: int = Field(default=32, ge=1)
    clip: float | None = Field(default=2.0, gt=0)
    nets: int = Field(default=1, ge=1)
    augment: str = "none"


class Regression(Recipe):
    """FRePo. `anneal`: steps of the rate's cosine (the run's, if none is given); `updates`: of an evaluation."""

    protocol: str = "frepo"
    updates: int = Field(default=1000, ge=1)
    anneal: int = Field(ge=1)
    final: float = Field(default=0.1, ge=0, le=1)
    members: int = Field(default=10, ge=1)
    life: int = Field(default=100, ge=1)
    lr_net: float = Field(default=3e-4, gt=0)
    batch_net: int = Field(default=1000, ge=1)
    net_steps: int = Field(default=1, ge=1)
    augment: str = "none"
    mirrored: bool = False

    @model_validator(mode="before")
    @classmethod
    def _whole_run(cls, content: Any) -> Any:
        """A longer total later must not bend the schedule of the steps already made, so it is fixed here."""
        if not isinstance(content, dict):
            return content
        told = cast("dict[str, Any]", content)
        steps = whole_number(told.get("steps", 1))
        return told if steps is None else {"anneal": max(1, steps), **told}
