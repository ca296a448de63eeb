"""What a set of images says about its data, by the bounds that guide sampling, on real images it was not made from.

Distances are between images pooled to at most 8x8 [0, 1] pixels. Bandwidths are read from training images, everything
else from held-out ones where there are some, so a set that was optimised for a bound is not asked about its own
examples. Beside every number stands that of random real subsets of the same size: the unit a reader has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor

from infodistill.compute import View
from infodistill.diffusion.features import pooled
from infodistill.information.bandwidths import bandwidth_from_pairs, median_pair_distance, tightest_bandwidth
from infodistill.information.cmi import conditional_mutual_information
from infodistill.information.codebook import codebook_information
from infodistill.information.diagnostics import coding_rate, kozachenko_leonenko
from infodistill.information.kernel_entropy import renyi2_entropy, vendi_entropy
from infodistill.information.mixtures import kolchinsky_tracey
from infodistill.information.set_decoder import set_decoder_information
from infodistill.real import RealData
from infodistill.types import Batch

PER_CLASS = 500
"""Real images of a class that are read, at most."""

SUBSETS = 5
"""Random real subsets beside every number."""

SIDE = 8

NOTES: Mapping[str, tuple[str, str]] = {
    "p3": (
        "lower",
        "set decoder: lower bound on the real data's I(X;Y), at most log C, for any set; its bandwidth is the tightest "
        "on training images. Larger: the set tells the classes of real images apart",
    ),
    "c2": (
        "lower",
        "Kolchinsky-Tracey: lower bound on the entropy of the uniform law on a class's images (on H(X|Y) for "
        "independent images), 0 to log(images per class), mean over classes, no real images read. Larger: more diverse",
    ),
    "c5": ("lower", "Renyi-2 entropy of the Gaussian kernel: direction, range and reading as c2; never above c5_vendi"),
    "c5_vendi": ("lower", "log of the Vendi score: direction, range and reading as c2"),
    "c7": (
        "lower",
        "codebook: lower bound on the real data's H(X|Y) whose code are the images, 0 to log(images per class), biased "
        "low by the finite real sample; bandwidth of p3. Larger: all images are used, each for images of its own",
    ),
    "c1": (
        "lower",
        "I(X;Y^|Y) under each teacher's classes, own centroids, at most log C and log(images per class): diversity of "
        "what the images are mistaken for. As guidance it failed in our study: do not read more as better",
    ),
    "c4": ("none", "coding rate (log det): NOT a lower bound, unbounded; a diagnostic of spread"),
    "c6": ("none", "k-nearest-neighbour entropy: NOT a bound, in the unit of the features, -inf at equal images"),
}
"""Direction and reading of every number; all are in nats."""

Values = dict[str, float | None]


@dataclass(frozen=True)
class Yardstick:
    """The real side: training images that bandwidths are read from, held-out ones that bounds are read on."""

    real: RealData
    views: Sequence[View]
    seed: int = 0

    @cached_property
    def held_out(self) -> RealData:
        """The test part; the training images where there is none."""
        return self.real if self.real.test is None else self.real.test

    @cached_property
    def known(self) -> tuple[Tensor, Tensor]:
        """Features and classes of training images."""
        return self.features(self._balanced(self.real))

    @cached_property
    def judged(self) -> tuple[Tensor, Tensor]:
        """Features and classes of held-out images."""
        return self.features(self._balanced(self.held_out))

    @cached_property
    def pair_distance(self) -> float:
        """The median squared distance of training images of one class."""
        return median_pair_distance(*self.known)

    def features(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(n, d) in float64, and the classes."""
        return pooled(batch.space.to_pixels(batch.x.float()), SIDE).double(), batch.y

    def _balanced(self, real: RealData) -> Batch:
        counts: list[int] = real.counts.tolist()
        rows = [real.draw(self.seed, 0, min(PER_CLASS, n), [c], "measure") for c, n in enumerate(counts) if n]
        return real.rows(torch.cat(rows))


@torch.no_grad()
def set_information(batch: Batch, real: RealData, views: Sequence[View], *, seed: int = 0) -> dict[str, Any]:
    """Every number of `NOTES` for a set, with its note and that of random real subsets, and the bandwidths; JSON-able.

    A number is None where it is not defined: for p3 and c7 if a class has no image, for c6 at one image per class.
    """
    yardstick = Yardstick(real, views, seed)
    own, bandwidths = numbers(batch, yardstick)
    ipc = min(int(batch.y.bincount().max()), int(real.counts.min()))
    subsets = [real.rows(real.sample(seed + 1 + i, ipc)) for i in range(SUBSETS)]
    others = [numbers(subset, yardstick)[0] for subset in subsets]
    told: dict[str, Any] = {
        name: {"mean": own[name], "bound": bound, "random": _summary([o[name] for o in others]), "note": note}
        for name, (bound, note) in NOTES.items()
    }
    read = "training images: no test part" if real.test is None else f"{len(yardstick.judged[1])} test images"
    return {**told, "set_bandwidths": bandwidths, "held_out": read}


@torch.no_grad()
def numbers(batch: Batch, yardstick: Yardstick) -> tuple[Values, dict[str, float]]:
    """The values of a set, and the bandwidths they were read at."""
    f, y = yardstick.features(batch)
    classes, n = yardstick.real.num_classes, int(y.bincount().max())
    complete = len(y.unique()) == classes
    variance = bandwidth_from_pairs(yardstick.pair_distance, n)
    values: Values = {"p3": None, "c7": None}
    bandwidths = {"variance": variance}
    if complete:
        h, _ = tightest_bandwidth(*yardstick.known, f, y, classes=classes)
        bandwidths["h"] = h
        values["p3"] = float(set_decoder_information(*yardstick.judged, f, y, bandwidth=h, classes=classes))
        values["c7"] = _mean(f, y, lambda one, c: codebook_information(*yardstick.judged, one, c, bandwidth=h))
    values["c2"] = _mean(f, y, lambda one, _: kolchinsky_tracey(one, variance))
    values["c5"] = _mean(f, y, lambda one, _: renyi2_entropy(one, variance))
    values["c5_vendi"] = _mean(f, y, lambda one, _: vendi_entropy(one, variance))
    values["c4"] = _mean(f, y, lambda one, _: coding_rate(one, variance))
    values["c6"] = _mean(f, y, lambda one, _: kozachenko_leonenko(one)) if int(y.bincount()[y].min()) > 1 else None
    values["c1"] = fmean(_confusion(view, batch) for view in yardstick.views)
    return {name: _finite(values[name]) for name in NOTES}, bandwidths


def _mean(f: Tensor, y: Tensor, of: Callable[[Tensor, Tensor], Tensor]) -> float:
    """The mean over classes of a number of one set (1, n, d) and its class (1,)."""
    return fmean(float(of(f[y == label][None], label[None])) for label in y.unique())


def _confusion(view: View, batch: Batch) -> float:
    p = view.logits(batch.x, batch.space).double().softmax(1)
    return float(conditional_mutual_information(p, batch.y))


def _finite(value: float | None) -> float | None:
    """JSON has no infinity."""
    return value if value is not None and abs(value) < float("inf") else None


def _summary(values: Sequence[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"mean": fmean(known), "std": stdev(known) if len(known) > 1 else 0.0, "n": len(known)}
