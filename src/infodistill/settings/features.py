"""What recipes of IDM, IID, NCFM and CAFE say."""

from __future__ import annotations

from typing import Any, Literal, cast

from pydantic import Field, model_validator

from infodistill.settings.entries import ExpertEntry, Init, Mixing, Strict
from infodistill.settings.recipe import Recipe


class Queued(Recipe):
    """IDM. `factor` x `factor` images in every stored one.

    A queue of up to `nets` networks, `start` at first, a new one every `interval` updates; after each update `trained`
    of them learn for `train_steps` real batches. `ce` x `scale` x the network's accuracy in [0, 1] weighs the
    cross-entropy of the set; the published weights are for a `scale` of 100. Accuracies start anew every `reset_every`
    updates, if it is given.
    """

    momentum: float = Field(default=0.5, ge=0, lt=1)
    factor: int = Field(default=2, ge=1)
    ce: float = Field(default=0.5, ge=0)
    scale: float = Field(default=1.0, ge=0)
    reset_every: int | None = Field(default=None, ge=1)
    augment: str = "none"
    nets: int = Field(default=100, ge=1)
    start: int = Field(default=3, ge=1)
    interval: int = Field(default=30, ge=1)
    trained: int = Field(default=2, ge=0)
    train_steps: int = Field(default=10, ge=1)
    batch_train: int = Field(default=256, ge=1)
    lr_net: float = Field(default=0.01, gt=0)
    group: int | None = Field(default=None, ge=1)


class Related(Queued):
    """IID: DM or IDM (`host`) with local covariances matched and classes centralised in the recipe's teachers."""

    host: Literal["dm", "idm"] = "idm"
    covariance: float = Field(default=0.03, ge=0)
    centralisation: float = Field(default=0.01, ge=0)

    @model_validator(mode="after")
    def _of_its_host(self) -> Related:
        own = set(Queued.model_fields) - set(Recipe.model_fields) - {"momentum", "augment"}
        changed = sorted(name for name in own if getattr(self, name) != Queued.model_fields[name].default)
        if self.host == "dm" and changed:
            raise ValueError(
                f"'{changed[0]}' is of the host idm, and the host of this iid is dm: start from a recipe iid-dm"
            )
        return self


class PairEntry(ExpertEntry):
    """The networks NCFM looks through lie between the start and the end of a training: experts of which both are kept.

    IDC's training, by default.
    """

    count: int = Field(default=20, ge=1)
    epochs: int = Field(default=60, ge=1)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    batch: int = Field(default=128, ge=1)
    milestones: tuple[float, ...] = (2 / 3, 5 / 6)
    augment: str = "per-image:diffaug:color_crop"
    mix: Mixing = "cutmix"

    @model_validator(mode="before")
    @classmethod
    def _whole_trainings(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        told = cast("dict[str, Any]", content)
        return {"span": told.get("epochs", cls.model_fields["epochs"].default), "last": 1, **told}

    @model_validator(mode="after")
    def _only_whole_ones(self) -> PairEntry:
        if (self.first, self.last, self.span) != (0, 1, self.epochs):
            raise ValueError(
                f"ncfm looks between the ends of whole trainings: span must be {self.epochs} epochs, last 1"
            )
        return self


class AdversaryEntry(Strict):
    """The network that looks for the frequencies at which NCFM's two sets differ most, and how it climbs."""

    lr: float = Field(default=1e-3, gt=0)
    momentum: float = Field(default=0.5, ge=0, lt=1)


class Characteristic(Recipe):
    """NCFM. `factor` x `factor` images in every stored one, which holds [0, 1] pixels.

    `frequencies` are drawn at every step, or made by the network of the table `adversary`; `alpha` and `beta` weigh
    amplitudes and phases, `calibration` the cross-entropy of the set under trained networks. `patience` updates without
    a better loss halve the rate, if it is given.
    """

    protocol: str = "ncfm"
    factor: int = Field(default=2, ge=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    augment: str = "diffaug:color_crop_cutout"
    alpha: float = Field(default=0.5, ge=0)
    beta: float = Field(default=0.5, ge=0)
    frequencies: int = Field(default=1024, ge=1)
    calibration: float = Field(default=0.0, ge=0)
    patience: int | None = Field(default=None, ge=1)
    group: int | None = Field(default=None, ge=1)
    adversary: AdversaryEntry | None = None
    experts: PairEntry = PairEntry()

    @model_validator(mode="after")
    def _compares_something(self) -> Characteristic:
        if self.alpha == self.beta == 0:
            raise ValueError("alpha and beta must not both be 0: nothing would be matched")
        return self


class Featured(Recipe):
    """CAFE: features of every stage, and a classification of real images by mean features.

    `layers` weighs the stages, the flat feature last; not given, they have the published weights.

    Both loops end by the accuracy on `probe` real images per class, read `window` times: updates of the set when it
    moved by less than `calm`, or after `most_updates`; training when by more than `moved`, or after `most_epochs`. The
    rate is halved at the networks number `halved`.
    """

    init: Init = "noise"
    momentum: float = Field(default=0.5, ge=0, lt=1)
    augment: str = "none"
    augment_train: str = "none"
    lr_net: float = Field(default=0.01, gt=0)
    batch_train: int = Field(default=256, ge=1)
    layers: tuple[float, ...] | None = None
    discrimination: float = Field(default=0.01, ge=0)
    calm: float = Field(default=0.04, ge=0)
    moved: float = Field(default=0.03, ge=0)
    window: int = Field(default=10, ge=2)
    probe: int = Field(default=128, ge=1)
    most_updates: int = Field(default=50, ge=1)
    most_epochs: int = Field(default=50, ge=1)
    halved: tuple[int, ...] = (1200, 1600, 1800)
