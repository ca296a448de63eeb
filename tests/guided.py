"""Five digits, a diffusion model that knows them exactly, and what guided samples of it look like."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import infodistill
from analytic import Mixture, around
from infodistill.compute import View
from infodistill.diffusion.encoded import encode
from infodistill.diffusion.estimators import CONTEXTUALS
from infodistill.diffusion.igds import IGDS, igds
from infodistill.diffusion.sampling import Plan, Steer, plain, sample
from infodistill.types import Net
from infodoubles import PixelTeacher

EVERY = infodistill.load_data("digits")
REAL = EVERY.subset(torch.cat([rows[:30] for rows in EVERY.class_rows[:5]])).replace(
    class_names=EVERY.class_names[:5], test=None
)
MODEL = around(REAL, 30, variance=0.05)
ENCODED = encode(MODEL, REAL)
NONE = CONTEXTUALS["none"]


def drawn(steer: Steer = plain, ipc: int = 3, **changes: object) -> Tensor:
    settings = {"ipc": ipc, "steps": 12, "seed": 1, **changes}
    return torch.cat([group.x for group in sample(MODEL, Plan(**settings), steer)])


def made(ipc: int = 3, **changes: object) -> Tensor:
    return drawn(igds(MODEL, ENCODED, ipc, settings=IGDS(**changes)), ipc)


def truth(x: Tensor, sigma: Tensor) -> Tensor:
    """The best noise-aware classifier."""
    mixture = MODEL.denoise
    assert isinstance(mixture, Mixture)
    return mixture.log_posterior(x, sigma)


def log_q(x: Tensor) -> float:
    """Mean log p(y | x) of the images, seen at noise level 2, under the true posterior."""
    y = torch.arange(5).repeat_interleave(3)
    return float(truth(x, torch.full((len(y),), 2.0)).gather(1, y[:, None]).mean())


class NearestMean(Net):
    """A fixed classifier of clean digits: softmax of minus squared distances to class means, in the data's space."""

    def __init__(self) -> None:
        super().__init__()
        batch = REAL.rows(torch.arange(len(REAL)))
        means = torch.stack([batch.x[batch.y == label].flatten(1).mean(0) for label in range(5)])
        self.means = nn.Parameter(means, requires_grad=False)

    def stages(self, x: Tensor) -> tuple[Tensor, ...]:
        return (x.flatten(1),)

    def head(self, feature: Tensor) -> Tensor:
        return -torch.cdist(feature, self.means).square() / 8


TEACHERS = PixelTeacher(View.own(NearestMean(), space=REAL.space))
