"""What every recipe says, and what those of DM, DC, DSA and DCC say."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from infodistill.settings.entries import (
    Expected,
    Init,
    Strict,
    TeacherEntry,
    TermEntry,
)


class Recipe(Strict):
    """Every setting of one distillation that all methods have.

    `steps` is the total number of rounds; `lr` moves what the method learns first of all (images, or labels where only
    they are learned). `zca` whitens the data once, before everything.
    """

    method: str
    dataset: str = "any"
    ipc: int = Field(default=10, ge=1)
    net: str = "convnet3"
    steps: int = Field(ge=0)
    lr: float = Field(gt=0)
    init: Init = "real"
    zca: bool = False
    protocol: str = "dsa"
    real_per_class: int | None = Field(default=None, ge=1)
    terms: dict[Literal["cmi", "mim"], TermEntry] = Field(default_factory=dict[Literal["cmi", "mim"], TermEntry])
    teachers: TeacherEntry = TeacherEntry()
    expected: Expected = Expected()
    notes: str = ""

    @property
    def warning(self) -> str | None:
        """A sentence about settings that are allowed but seldom meant; None where there is nothing to say."""
        return None

    def data_name(self, name: str) -> str:
        """What protocols know the data by: the recipe's own data set, or the name at hand for a recipe of any data."""
        return name if self.dataset == "any" else self.dataset

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; `recipe.parse` is the inverse. Keys without a value are left out."""
        return self.model_dump(exclude_none=True)


class Matching(Recipe):
    """DM, DC and DSA. `outer` and `inner_epochs` (DC, DSA) are the updates in a network's life and the epochs of its
    training between two of them. `augment` is a name of `augment.by_name`.
    """

    momentum: float = Field(default=0.5, ge=0, lt=1)
    augment: str = "none"
    augment_train: str = "none"
    outer: int | None = Field(default=None, ge=1)
    inner_epochs: int | None = Field(default=None, ge=0)
    lr_net: float = Field(default=0.01, gt=0)
    batch_train: int = Field(default=256, ge=1)
    share: int = Field(default=1, ge=1)


class Aggregated(Matching):
    """DCC, or DSAC with `augment`: one distance between the gradients of all classes, but DC's sum over classes in the
    first `warm_inner` updates of the first `warm_outer` networks.
    """

    warm_outer: int = Field(default=250, ge=0)
    warm_inner: int = Field(default=10, ge=0)
