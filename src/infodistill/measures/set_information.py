"""What a set of images says about its data, by the bounds that guide sampling, on real images it was not made from.

Distances are between images pooled to at most 8x8 [0, 1] pixels. Bandwidths are read from training images, everything
else from held-out ones where there are some, so a set that was optimised for a bound is not asked about its own
examples. Beside every number stands that of random real subsets of the same size: the unit a reader has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
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


@dataclass(frozen=True)
class Seen:
    """A set in the features everything is read in, f (n, d) of classes y (n,), and what it is read against."""

    batch: Batch
    yardstick: Yardstick

    @cached_property
    def f(self) -> Tensor:
        return self.yardstick.features(self.batch)[0]

    @property
    def y(self) -> Tensor:
        return self.batch.y

    @cached_property
    def variance(self) -> float:
        """sigma^2 of c2, c4 and c5, from training images."""
        return bandwidth_from_pairs(self.yardstick.pair_distance, int(self.y.bincount().max()))

    @cached_property
    def h(self) -> float:
        """The bandwidth of p3 and c7, the tightest on training images."""
        names, held = self.yardstick.real.class_names, self.y.bincount(minlength=self.yardstick.real.num_classes)
        if lacking := [name for name, count in zip(names, held.tolist(), strict=True) if not count]:
            raise ValueError(f"the set has no image of {_few(lacking)}")
        return tightest_bandwidth(*self.yardstick.known, self.f, self.y, classes=len(names))[0]

    def mean(self, of: Callable[[Tensor, Tensor], Tensor]) -> float:
        """The mean over the set's classes of a number of the images of one (1, n, d) and its class (1,)."""
        return fmean(float(of(self.f[self.y == label][None], label[None])) for label in self.y.unique())


def _decoded(seen: Seen) -> float:
    judged, classes = seen.yardstick.judged, seen.yardstick.real.num_classes
    return float(set_decoder_information(*judged, seen.f, seen.y, bandwidth=seen.h, classes=classes))


def _confused(seen: Seen) -> float:
    batch, views = seen.batch, seen.yardstick.views
    if not views:
        raise ValueError("there is no teacher to look through")
    told = [view.logits(batch.x, batch.space).double().softmax(1) for view in views]
    return fmean(float(conditional_mutual_information(p, batch.y)) for p in told)


def _neighboured(seen: Seen) -> float:
    if int(seen.y.bincount()[seen.y].min()) < 2:
        raise ValueError("a class has one image, which has no neighbour")
    return seen.mean(lambda one, _: kozachenko_leonenko(one))


READINGS: Mapping[str, Callable[[Seen], float]] = {
    "p3": _decoded,
    "c2": lambda seen: seen.mean(lambda one, _: kolchinsky_tracey(one, seen.variance)),
    "c5": lambda seen: seen.mean(lambda one, _: renyi2_entropy(one, seen.variance)),
    "c5_vendi": lambda seen: seen.mean(lambda one, _: vendi_entropy(one, seen.variance)),
    "c7": lambda seen: seen.mean(lambda one, c: codebook_information(*seen.yardstick.judged, one, c, bandwidth=seen.h)),
    "c1": _confused,
    "c4": lambda seen: seen.mean(lambda one, _: coding_rate(one, seen.variance)),
    "c6": _neighboured,
}


@dataclass(frozen=True)
class Numbers:
    """What was read of a set: None where a number is not defined, and then why."""

    values: Values
    reasons: Mapping[str, str]


@torch.no_grad()
def set_information(batch: Batch, real: RealData, views: Sequence[View], *, seed: int = 0) -> dict[str, Any]:
    """Every number of `NOTES` for a set, with its note and that of random real subsets, and the bandwidths; JSON-able.

    A number that is not defined (p3 and c7 where a class has no image, c6 where one has a single image, c2 where no
    class of the data has two) is None, and `reason` says why; the others stay. `random` is None where the data have no
    subsets of the set's size, or none of which the number is defined, and `random_reason` says which.
    """
    yardstick = Yardstick(real, views, seed)
    seen = Seen(batch, yardstick)
    own = numbers(seen)
    subsets, missing = _subsets(batch, real, seed)
    others = [numbers(Seen(subset, yardstick)) for subset in subsets]
    told: dict[str, Any] = {}
    for name, (bound, note) in NOTES.items():
        beside = _summary([other.values[name] for other in others])
        told[name] = {"mean": own.values[name], "bound": bound, "random": beside, "note": note}
        if name in own.reasons:
            told[name]["reason"] = own.reasons[name]
        if beside is None:
            told[name]["random_reason"] = missing or others[0].reasons[name]
    read = "training images: no test part" if real.test is None else f"{len(yardstick.judged[1])} test images"
    return {**told, "set_bandwidths": bandwidths(seen), "held_out": read}


@torch.no_grad()
def numbers(seen: Seen) -> Numbers:
    """Every number on its own: what is not defined, or not finite, takes no other with it."""
    values, reasons = Values(), dict[str, str]()
    for name in NOTES:
        try:
            value: float | None = READINGS[name](seen)
        except ValueError as error:
            value, reasons[name] = None, str(error)
        if value is not None and not math.isfinite(value):  # JSON has no infinity
            value, reasons[name] = None, f"it is {value} here: some images coincide" if value < 0 else f"it is {value}"
        values[name] = value
    return Numbers(values, reasons)


def bandwidths(seen: Seen) -> dict[str, float]:
    """The bandwidths a set was read at, as far as there are any."""
    found: dict[str, float] = {}
    for name in ("variance", "h"):
        with suppress(ValueError):
            found[name] = getattr(seen, name)
    return found


def _subsets(batch: Batch, real: RealData, seed: int) -> tuple[list[Batch], str]:
    """Random real subsets with as many images per class as the set (its largest class); else none, and why."""
    ipc = int(batch.y.bincount().max())
    try:
        return [real.rows(real.sample(seed + 1 + i, ipc)) for i in range(SUBSETS)], ""
    except ValueError as error:
        return [], f"there are no random subsets of this size: {error}"


def _few(names: Sequence[str]) -> str:
    return f"class {', '.join(names[:4])}{', …' if len(names) > 4 else ''}"


def _summary(values: Sequence[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"mean": fmean(known), "std": stdev(known) if len(known) > 1 else 0.0, "n": len(known)}
