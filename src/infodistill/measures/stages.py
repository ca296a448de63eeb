"""Where on the way through a network the information that a set shares with real images is lost.

    I(A; B) >= 1 + E_joint[s] - E_product[e^s],   s = cos(a - m, b - m) / T - log Z

a, b: the same stage's output for an image of the set and for a held-out real one, joint when they are of one class.
m (mean) and T (sharpness) come from *training* images paired with each other; log Z is fitted on the pairs at hand,
which makes this the Donsker-Varadhan value of the critic. See `information.bounds`. A critic that reads nothing of a
set paired with *training* images is taken at T = inf, where it claims nothing and reads 0: a choice that has not seen
the held-out ones, so the direction of the bound stands.

Not KSG: that estimator counts neighbours of pairs (a_i, b_i), and no real image belongs to a distilled one more than
any other of its class. All that joins the two sides is the label, so log C is the ceiling at every stage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from infodistill.compute import View
from infodistill.diffusion.features import pooled
from infodistill.information.bounds import cosine, similarity_numbers
from infodistill.measures.reading import Reading, resampled
from infodistill.types import Batch, convert

PLACES = 4
"""Feature maps are averaged over at most this many cells a side (our choice)."""

FITTED = 40
"""Training images of a class that a critic is fitted on, at most; half of them on either side of the pairs."""

TEMPERATURES = (0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0)


@dataclass(frozen=True)
class Critic:
    """cos(a - mean, b - mean) / temperature for features (., d)."""

    mean: Tensor
    temperature: float

    def __call__(self, a: Float[Tensor, "s d"], b: Float[Tensor, "r d"]) -> Float[Tensor, "s r"]:
        return cosine(a - self.mean, b - self.mean) / self.temperature


@torch.no_grad()
def stage_features(view: View, batch: Batch) -> list[Tensor]:
    """The values the network reads, then every stage's output, each (n, d) float32; maps are averaged."""
    x = batch.x if view.space is None else convert(batch.x, batch.space, view.space)
    maps = (x, *view.stages(batch.x, batch.space))
    return [(pooled(m, 8 if i == 0 else PLACES) if m.ndim == 4 else m.flatten(1)).float() for i, m in enumerate(maps)]


def fitted_critics(stages: Sequence[Tensor], y: Int[Tensor, " r"]) -> list[Critic]:
    """For every stage the mean, and the temperature with the largest bound between two halves of these images."""
    return [_fitted(feature, y) for feature in stages]


def calibrated(critic: Critic, syn: Tensor, y_syn: Tensor, known: Tensor, y_known: Tensor) -> Critic:
    """The critic, or at T = inf if it reads at most 0 between the set and training images (r, d) of classes (r,)."""
    told = similarity_numbers(critic(syn, known), y_syn, y_known)["nwj"]
    return critic if told > 0 else replace(critic, temperature=math.inf)


def shared_information(
    critics: Sequence[Critic], syn: Sequence[Tensor], y_syn: Tensor, real: Sequence[Tensor], y_real: Tensor
) -> Reading:
    """The mean over teachers of the bound at one stage; resampled over images of both sides within classes.

    `critics`, `syn` and `real` hold one entry a teacher.

    Raises:
        ValueError: the two sides do not hold the same classes.
    """
    told = [critic(a, b) for critic, a, b in zip(critics, syn, real, strict=True) if not math.isinf(critic.temperature)]
    if not torch.equal(y_syn.unique(), y_real.unique()):
        raise ValueError(f"the set has {len(y_syn.unique())} classes, the held-out images {len(y_real.unique())}")

    def over(rows: Tensor, columns: Tensor) -> float:  # silent critics read 0, but for rounding
        found = (similarity_numbers(ratio[rows][:, columns], y_syn[rows], y_real[columns])["nwj"] for ratio in told)
        return sum(found) / len(critics)

    everything = (torch.arange(len(y_syn), device=y_syn.device), torch.arange(len(y_real), device=y_real.device))
    return Reading(
        over(*everything),
        lambda generator: over(
            resampled(y_syn, generator).to(y_syn.device), resampled(y_real, generator).to(y_real.device)
        ),
        most=math.log(len(y_syn.unique())),
    )


def _fitted(feature: Tensor, y: Tensor) -> Critic:
    place = (y[:, None] == y).long().tril(-1).sum(1)  # how many of its class came before
    left, right = ((place < FITTED) & (place % 2 == side) for side in (0, 1))
    mean = feature.mean(0)
    ratio = cosine(feature[left] - mean, feature[right] - mean)
    both = torch.isin(y, y[right])  # a class of one image has no partner
    rows, columns = both[left], both[right]
    y_left, y_right = y[left][rows], y[right][columns]

    def bound(temperature: float) -> float:
        return similarity_numbers(ratio[rows][:, columns] / temperature, y_left, y_right)["nwj"]

    return Critic(mean, max(TEMPERATURES, key=bound))
