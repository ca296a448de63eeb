"""How every number of a profile is read off a set. What they mean is in `naming`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from infodistill.information import conditional_mutual_information, kolchinsky_tracey, renyi2_entropy
from infodistill.information.ksg import class_mutual_information
from infodistill.information.set_decoder import set_decoder_log_likelihood
from infodistill.measures.reading import Again, Reading, Undefined, class_mean, half_stretch, halved, repeats, resampled
from infodistill.measures.seen import Seen
from infodistill.measures.stages import calibrated, shared_information

NEIGHBOURS = 3
"""k; fewer where a class has too few images for it."""


def decoded(seen: Seen) -> Reading:
    """P3: log C + mean log q_S(y | x) of held-out images, the set itself being the decoder.

    Where no bandwidth tells more than nothing about training images, q is uniform, its limit for wide bandwidths.
    """
    g, h, classes = seen.ground, seen.bandwidth, seen.ground.real.num_classes
    if math.isinf(h):
        rows = g.judged_f.new_full((len(g.judged.y),), -math.log(classes))
    else:
        rows = set_decoder_log_likelihood(g.judged_f, g.judged.y, seen.f, seen.y, bandwidth=h, classes=classes)
    return class_mean(g.label_entropy + rows, g.judged.y, g.label_entropy)


@dataclass(frozen=True)
class Usable:
    """log C + mean log q(y | x) of held-out images, q a member of a family trained on the set."""

    family: str

    def __call__(self, seen: Seen) -> Reading:
        g = seen.ground
        return class_mean(g.label_entropy + seen.usable_by(self.family), g.judged.y, g.label_entropy)


def per_byte(seen: Seen) -> Reading:
    """Usable information of the network in millibits a held-out label, divided by the stored bytes of the set."""
    g, scale = seen.ground, 1000 / math.log(2) / seen.stored
    return class_mean(scale * (g.label_entropy + seen.usable_by("network")), g.judged.y, scale * g.label_entropy)


def neighbours(seen: Seen) -> Reading:
    """Ross's k-NN estimate of I(F;Y) of the set's own images, mean over teachers."""
    smallest = int(seen.counts.min())
    if smallest < 2 or len(seen.counts) < 2:
        raise Undefined(f"it needs two images in each of two classes; the smallest class has {smallest}")
    k = min(NEIGHBOURS, smallest - 1)

    def over(rows: Tensor) -> float:
        return fmean(class_mutual_information(f[rows], seen.y[rows], k) for f in seen.features)

    whole = torch.arange(len(seen.y), device=seen.y.device)
    again: Again = lambda generator: over(halved(seen.y, generator).to(seen.y.device))  # noqa: E731
    return Reading(
        over(whole),
        again if (smallest + 1) // 2 > k else None,
        most=classes_apart(seen.y),
        stretch=half_stretch(seen.y),
    )


def classes_apart(y: Tensor) -> float:
    """What Ross's estimate reads where classes do not touch, its most: psi(n) - <psi(n_c)>, about H of these labels."""
    counts = y.unique(return_counts=True)[1].double()
    return float(torch.digamma(counts.sum()) - (counts * torch.digamma(counts)).sum() / counts.sum())


def agreement(seen: Seen) -> Reading:
    """CMI: I(S; Z | Y), mean over teachers."""
    p = [f.softmax(1) for f in seen.features]
    return _of_images(seen, lambda rows: fmean(float(conditional_mutual_information(q[rows], seen.y[rows])) for q in p))


@dataclass(frozen=True)
class Diversity:
    """The mean over classes of a bound on the entropy of one class's images."""

    of: Callable[[Tensor, float], Tensor]

    def __call__(self, seen: Seen) -> Reading:
        f, y, variance = seen.f, seen.y, seen.variance

        def over(rows: Tensor) -> float:
            labels = y[rows]
            return fmean(float(self.of(f[rows[labels == c]][None], variance)) for c in y.unique())

        return _of_images(seen, over)


@dataclass(frozen=True)
class Shared:
    """The bound on information shared with held-out images at a stage; -1 is the last."""

    stage: int

    def __call__(self, seen: Seen) -> Reading:
        g = seen.ground
        critics = [critics[self.stage] for critics in g.critics]
        sides = (seen.stages, g.known_stages, g.paired_stages)
        syn, known, real = ([stages[self.stage] for stages in side] for side in sides)
        trusted = [
            calibrated(critic, a, seen.y, b, g.known.y) for critic, a, b in zip(critics, syn, known, strict=True)
        ]
        return shared_information(trusted, syn, seen.y, real, g.paired.y)


c2, c5 = Diversity(kolchinsky_tracey), Diversity(renyi2_entropy)


def _of_images(seen: Seen, over: Callable[[Tensor], float]) -> Reading:
    y = seen.y
    again: Again = lambda generator: over(resampled(y, generator).to(y.device))  # noqa: E731
    most = math.log(int(seen.counts.max()))
    whole = torch.arange(len(y), device=y.device)
    return Reading(over(whole), again if repeats(y) else None, least=0.0, most=most)
