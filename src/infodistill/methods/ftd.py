"""Minimizing the accumulated trajectory error (FTD; Du et al., CVPR 2023), arXiv:2211.11004.

MTT's loss (`methods/mtt.py`) on other experts, and an average of the images as its result:

    experts:  min_w  L(w) in flat regions, by GSAM (rho, alpha) with SGD
    result:   A_t = (1 - d) / (1 - d^t) sum_{s=1..t} d^(t-s) X_s,   X_s the images after update s

A student that starts where an expert was, and not where the student before it ended, accumulates errors; flat
trajectories are less sensitive to them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from infodistill.augment import dsa_per_image
from infodistill.descent import GSAM
from infodistill.distillation import Distillation
from infodistill.methods.mtt import mtt
from infodistill.real import RealData
from infodistill.sources.segments import Segment
from infodistill.storage.labels import also
from infodistill.synthetic import SyntheticSet
from infodistill.training import Fit
from infodistill.types import Augment, Source


def toward(average: Tensor, x: Tensor, decay: float, count: int) -> Tensor:
    """A_t from A_{t-1} and X_t, with t = `count` >= 1: A_{t-1} + (1 - d) / (1 - d^t) (X_t - A_{t-1}); A_1 = X_1."""
    return average + (1 - decay) / (1 - decay**count) * (x - average)


@dataclass(eq=False)
class Average:
    """The exponential moving average of the stored images over the updates made, and the set that shows it.

    Raises:
        ValueError: the decay is not in [0, 1).
    """

    images: Tensor
    decay: float
    count: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise ValueError(f"the decay of a moving average must be in [0, 1), got {self.decay}")

    @torch.no_grad()
    def __call__(self, syn: SyntheticSet, step: int) -> None:
        """Take in the images of `syn`; a `SyntheticSet.project`."""
        del step
        self.count += 1
        self.images.copy_(toward(self.images, syn.pixels, self.decay, self.count))

    def final(self, syn: SyntheticSet) -> SyntheticSet:
        """The set with the average in place of its images; a `SyntheticSet.final`."""
        return replace(syn, pixels=self.images.clone()) if self.count else syn

    def state_dict(self) -> dict[str, Any]:
        return {"images": self.images, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.images.copy_(state["images"])
        self.count = int(state["count"])


def averaged(syn: SyntheticSet, decay: float) -> SyntheticSet:
    """The set, exported as the moving average of its images; what is trained stays the images themselves."""
    average = Average(syn.pixels.detach().clone(), decay)
    return replace(syn, project=also(syn.project, average), final=average.final)


def flat_fit(
    epochs: int = 50,
    *,
    rho: float = 0.01,
    alpha: float = 0.3,
    adaptive: float = 1.0,
    lr: float = 0.01,
    batch: int = 256,
    augment: Augment | None = None,
) -> Fit:
    """The training of FTD's experts: GSAM on SGD, constant rate, no momentum or decay, DSA.

    Args:
        epochs: 50; 100 where DATM uses these experts.
        rho: radius of the neighbourhood.
        alpha: weight of the gap; 0.3 for CIFAR-10 at 1 and 10 images per class and for DATM, else 1.
        adaptive: exponent of |w| in the neighbourhood.
        lr: of SGD.
        batch: images in a step.
        augment: None is DSA, one operation per batch with its own parameters per image.
    """
    return Fit(epochs, batch, lr, augment=augment or dsa_per_image(), descend=GSAM(rho, alpha, adaptive))


def ftd(real: RealData, experts: Source[Segment], *, ema: float = 0.9995, **settings: Any) -> Distillation:
    """`mtt` on experts trained by `flat_fit`, exporting the moving average of the images.

    Published, for CIFAR-10 at 1, 10, 50 images per class | CIFAR-100 at 1, 10, 50 | Tiny-ImageNet at 1, 10:

        steps N    50 30 30 | 40 20 80 | 30 20               batch_syn   all all all | all all 1000 | all 500
        span M      2  2  2 |  3  2  2 |  2  2               lr          100 100 1000 | 1000 (three) | 1e4 1e4
        last T+     2 20 40 | 20 40 40 | 10 40               lr_rate     1e-7 1e-5 1e-5 | 1e-5 (three) | 1e-4 1e-4
        alpha      .3 .3  1 |  1 (all others)                rate        .01 .001 .01 | .01 (all others)
        ema        .9999 .9995 .999 | .9995 .9995 .999 | .999 .999

    Differs: the average is of the images after each update, without the initial ones (ours: at a decay of 0.9999 they
    would be 60 % of it after 5,000 updates); the learned rate is exported as it stands; the alpha of 0.3 is the default
    of `flat_fit`.

    Args:
        real: what to distil.
        experts: segments of their trajectories.
        ema: decay d of the average, per update made.
        settings: of `mtt`.

    Raises:
        ValueError: `ema` is not in [0, 1).
    """
    job = mtt(real, experts, **settings)
    return replace(job, syn=averaged(job.syn, ema))
