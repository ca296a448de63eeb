"""The tables several methods' recipes share: terms, teachers, experts, students, what was published."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Init = Literal["real", "noise", "kmeans"]
Mixing = Literal["none", "cutmix"]
DSA_EACH = "per-image:color_crop_cutout_flip_scale_rotate"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TermEntry(Strict):
    """A term a recipe knows: its published weight, or a ratio of gradient norms, and what it reached in the paper.

    `shown = "pixels"` shows CMI's teachers [0, 1] pixels that are not normalised, as the authors' IDC branch does.
    """

    weight: float | None = Field(default=None, ge=0)
    ratio: float | None = Field(default=None, ge=0)
    source: str = "ours"
    accuracy: float | None = Field(default=None, ge=0, le=1)
    std: float | None = Field(default=None, ge=0, le=1)
    shown: Literal["values", "pixels"] = "values"


class TeacherEntry(Strict):
    """The pretrained networks CMI looks through, and how each is trained.

    `plain` trains them on values that are not whitened, in a recipe with `zca`; else they see what the job sees.
    """

    net: str = "resnet18"
    count: int = Field(default=10, ge=1)
    epochs: int = Field(default=40, ge=0)
    lr: float = Field(default=0.01, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=1e-3, ge=0)
    batch: int = Field(default=256, ge=1)
    at_least: float = Field(default=0.0, ge=0, le=1)
    plain: bool = False


class ExpertEntry(Strict):
    """The recorded trajectories, and which of their segments are drawn.

    A segment is `span` epochs long and starts at an epoch in `first` .. `last` (exclusive; as late as the epochs allow,
    where it is not given). `grow_from` and `grow_over` let that upper end rise from the one to `last` over so many
    updates (DATM). `rho` trains by GSAM (FTD). `milestones` are the fractions of the epochs after which the rate is
    multiplied by `gamma`, once each.
    """

    count: int = Field(default=100, ge=1)
    epochs: int = Field(default=50, ge=1)
    lr: float = Field(default=0.01, gt=0)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    batch: int = Field(default=256, ge=1)
    milestones: tuple[float, ...] = ()
    gamma: float = Field(default=0.2, gt=0, le=1)
    augment: str = DSA_EACH
    mix: Mixing = "none"
    span: int = Field(default=2, ge=1)
    first: int = Field(default=0, ge=0)
    last: int | None = Field(default=None, ge=1)
    grow_from: int | None = Field(default=None, ge=1)
    grow_over: int | None = Field(default=None, ge=1)
    rho: float | None = Field(default=None, gt=0)
    alpha: float = Field(default=0.3, ge=0)
    adaptive: float = Field(default=1.0, ge=0)

    @property
    def upper(self) -> int:
        """The epoch before which every segment starts."""
        return self.epochs - self.span + 1 if self.last is None else self.last

    @model_validator(mode="after")
    def _consistent(self) -> ExpertEntry:
        if self.upper <= self.first:
            raise ValueError(f"segments start before epoch {self.upper} and not before {self.first}: there is none")
        if self.upper - 1 + self.span > self.epochs:
            need = self.upper - 1 + self.span
            raise ValueError(f"segments reach epoch {need} (last - 1 + span), the experts have {self.epochs} epochs")
        if (self.grow_from is None) != (self.grow_over is None):
            raise ValueError("experts.grow_from and grow_over go together, one of them is missing")
        return self


class StudentEntry(Strict):
    """A student of trajectory matching: N steps on batches of the set (all of it where none is given)."""

    steps: int = Field(default=30, ge=1)
    batch: int | None = Field(default=None, ge=1)
    rate: float = Field(default=0.01, gt=0)
    lr_rate: float = Field(default=1e-5, ge=0)


class Expected(Strict):
    """The published accuracy of the plain method, in 0-1; no accuracy means that none was published."""

    accuracy: float | None = Field(default=None, ge=0, le=1)
    std: float | None = Field(default=None, ge=0, le=1)
    source: str = "UNKNOWN"
