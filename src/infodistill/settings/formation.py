"""What recipes of IDC, DREAM and PDD say."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from infodistill.settings.entries import Mixing
from infodistill.settings.recipe import Recipe
from infodistill.settings.stages import split, unfinished, with_stage_steps


class Formed(Recipe):
    """IDC. `factor` x `factor` images in every stored one, which holds [0, 1] pixels; `lr` is absolute.

    `inner` updates make a network's life: `early` epochs on all real images at its beginning, and training on
    `train_images` of them between two updates (`augment_train` and `mix`). `group` classes share an update: 1 is the
    released code, none given: all of them.
    """

    protocol: str = "idc"
    momentum: float = Field(default=0.5, ge=0, lt=1)
    factor: int = Field(default=2, ge=1)
    most: int = Field(default=128, ge=1)
    augment: str = "diffaug:color_crop_cutout"
    inner: int = Field(default=100, ge=1)
    train_images: int = Field(default=2000, ge=1)
    early: int = Field(default=0, ge=0)
    lr_net: float = Field(default=0.01, gt=0)
    batch_train: int = Field(default=64, ge=1)
    augment_train: str = "per-image:diffaug:color_crop"
    mix: Mixing = "cutmix"
    distance: Literal["squared", "absolute"] = "squared"
    group: int | None = Field(default=None, ge=1)
    clamp_every: int = Field(default=1, ge=1)


class Representative(Formed):
    """DREAM: IDC on the real images nearest to cluster centres, found anew every `interval` updates.

    `features` weighs the distance of mean features that DREAM+ adds.
    """

    batch_train: int = Field(default=128, ge=1)
    interval: int = Field(default=10, ge=1)
    features: float = Field(default=0.0, ge=0)


class Progressive(Formed):
    """PDD: IDC in `stages` parts of the set, `stage_steps` updates each.

    Not given, they make the run equal parts of whole lives of networks. Networks of a later stage have been trained for
    `transition` epochs on the set after each earlier one, and those of the evaluation for `stage_epochs`. With `pool`
    and `refresh` only one life in `refresh` trains one, and lives take one of the `pool` latest (ours).
    """

    protocol: str = "pdd"
    stages: int = Field(default=5, ge=1)
    stage_steps: int = Field(ge=1)
    transition: int = Field(default=200, ge=0)
    stage_epochs: int | None = Field(default=500, ge=1)
    pool: int = Field(default=1, ge=1)
    refresh: int = Field(default=1, ge=1)

    @property
    def split(self) -> tuple[int, ...]:
        """Images per class of each stage, none of them empty."""
        return split(self.ipc, self.stages)

    @property
    def warning(self) -> str | None:
        return unfinished(self.steps, len(self.split), self.stage_steps)

    @model_validator(mode="before")
    @classmethod
    def _equal_stages(cls, content: Any) -> Any:
        return with_stage_steps(content, 5, inner=100)

    @model_validator(mode="after")
    def _prepared_once(self) -> Progressive:
        if self.early:
            raise ValueError(f"pdd trains fresh networks on the earlier stages, so early must be 0, got {self.early}")
        return self
