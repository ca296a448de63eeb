"""What a recipe can say: one strict model per family of methods, with tables for what several of them share.

A model holds no default that a paper disagrees on without saying so: shipped recipe files give every published value.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Init = Literal["real", "noise", "kmeans"]
DSA_EACH = "per-image:color_crop_cutout_flip_scale_rotate"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TermEntry(Strict):
    """A term a recipe knows: its published weight, or a ratio of gradient norms, and what it reached in the paper."""

    weight: float | None = Field(default=None, ge=0)
    ratio: float | None = Field(default=None, ge=0)
    source: str = "ours"
    accuracy: float | None = Field(default=None, ge=0, le=1)
    std: float | None = Field(default=None, ge=0, le=1)


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

    A segment starts at an epoch in `first` .. `last` (exclusive) and is `span` epochs long. `grow_from` and
    `grow_over` let the upper end rise from one to `last` over so many updates (DATM). `rho` trains by GSAM (FTD).
    """

    count: int = Field(default=100, ge=1)
    epochs: int = Field(default=50, ge=1)
    lr: float = Field(default=0.01, gt=0)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    batch: int = Field(default=256, ge=1)
    augment: str = DSA_EACH
    span: int = Field(default=2, ge=1)
    first: int = Field(default=0, ge=0)
    last: int = Field(default=20, ge=1)
    grow_from: int | None = Field(default=None, ge=1)
    grow_over: int | None = Field(default=None, ge=1)
    rho: float | None = Field(default=None, gt=0)
    alpha: float = Field(default=0.3, ge=0)
    adaptive: float = Field(default=1.0, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> ExpertEntry:
        if self.last <= self.first:
            raise ValueError(f"experts.last is exclusive and must exceed first {self.first}, got {self.last}")
        if self.last - 1 + self.span > self.epochs:
            need = self.last - 1 + self.span
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


class Trajectory(Recipe):
    """MTT and its descendants: students compared with experts. `augment` is that of the students' images."""

    protocol: str = "mtt"
    momentum: float = Field(default=0.5, ge=0, lt=1)
    augment: str = DSA_EACH
    student: StudentEntry = StudentEntry()
    experts: ExpertEntry = ExpertEntry()


class Flat(Trajectory):
    """FTD: MTT on flat experts; what is exported is a running average of the images with the decay `ema`."""

    ema: float = Field(default=0.9995, ge=0, lt=1)


class LogitEntry(Strict):
    """How labels stored as logits are learned (SGD)."""

    lr: float = Field(default=2.0, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)


class Aligned(Trajectory):
    """DATM: labels as logits, updates skipped where the loss exceeds `threshold`, the window of `experts` may grow.

    `recognised` starts from real images that an expert classifies correctly; else `init` says what from.
    """

    labels: LogitEntry = LogitEntry()
    threshold: float = Field(default=1.0, gt=0)
    recognised: bool = True


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
    """FRePo. `anneal` is the number of steps of the rate's cosine (the run's, where none is given)."""

    protocol: str = "frepo"
    anneal: int = Field(ge=1)
    final: float = Field(default=0.1, ge=0, le=1)
    members: int = Field(default=10, ge=1)
    life: int = Field(default=100, ge=1)
    lr_net: float = Field(default=3e-4, gt=0)
    batch_net: int = Field(default=1000, ge=1)
    mirrored: bool = False

    @model_validator(mode="before")
    @classmethod
    def _whole_run(cls, content: Any) -> Any:
        """A longer total later must not bend the schedule of the steps already made, so it is fixed here."""
        return {"anneal": max(1, int(content.get("steps", 1))), **content} if isinstance(content, dict) else content
