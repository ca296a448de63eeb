"""The real side of a profile, and a set seen from it: what several numbers share is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, log

import torch
from torch import Tensor

from infodistill import nets
from infodistill.compute import View
from infodistill.information.bandwidths import bandwidth_from_pairs, median_pair_distance, tightest_bandwidth
from infodistill.measures.reading import Undefined
from infodistill.measures.stages import Critic, fitted_critics, stage_features
from infodistill.measures.usable import Student, averaged, by_network, by_pixels, usable_rows
from infodistill.real import RealData
from infodistill.types import Batch, NetFactory

KNOWN, JUDGED, PER_CLASS, PAIRED = 2000, 5000, 500, 640
"""Real images read at most: training ones, held-out ones, of one class, and held-out ones paired at network stages."""

LOOKED = 3
"""Teachers whose stages are read, at most."""


@dataclass(frozen=True)
class Ground:
    """Training images that bandwidths, temperatures and critics are read from; held-out ones that numbers are read on.

    Args:
        real: the data; its test part is what is held out, its training images where there is none.
        views: teachers.
        seed: key of the draws and of every training.
        net: the network family; a ConvNet of width 32 with the depth its image size asks for when None.

    Raises:
        ValueError: the data has images of one class only.
    """

    real: RealData
    views: Sequence[View]
    seed: int = 0
    net: NetFactory | None = None

    def __post_init__(self) -> None:
        require_classes(self.real)

    @cached_property
    def known(self) -> Batch:
        """Balanced training images."""
        return _balanced(self.real, self.seed, KNOWN)

    @cached_property
    def judged(self) -> Batch:
        """Balanced held-out images."""
        held_out = self.real if self.real.test is None else self.real.test
        return _balanced(held_out, self.seed, JUDGED)

    @cached_property
    def paired(self) -> Batch:
        """The part of `judged` that is paired with the set at network stages."""
        _, counts = self.judged.y.unique(return_counts=True)
        place = torch.cat([torch.arange(int(n)) for n in counts])  # class-major
        return self.judged.rows((place < max(2, PAIRED // len(counts))).nonzero().flatten())

    @cached_property
    def label_entropy(self) -> float:
        """H(Y) in nats: log of the classes held out, every one of which counts equally."""
        return log(len(self.judged.y.unique()))

    @cached_property
    def known_f(self) -> Tensor:
        return averaged(self.known)

    @cached_property
    def judged_f(self) -> Tensor:
        return averaged(self.judged)

    @cached_property
    def pair_distance(self) -> float:
        return median_pair_distance(self.known_f, self.known.y)

    @cached_property
    def critics(self) -> list[list[Critic]]:
        """For every teacher that is looked through, for every stage: a critic fitted on training images only."""
        return [fitted_critics(stages, self.known.y) for stages in self.known_stages]

    @cached_property
    def known_stages(self) -> list[list[Tensor]]:
        return [stage_features(view, self.known) for view in self.looked]

    @cached_property
    def paired_stages(self) -> list[list[Tensor]]:
        return [stage_features(view, self.paired) for view in self.looked]

    @property
    def looked(self) -> Sequence[View]:
        return self.views[:LOOKED]

    @cached_property
    def students(self) -> dict[str, Student]:
        """By name: softmax regression on averaged pixels, and a network."""
        net = self.net or default_network(self.real.shape)
        return {"linear": by_pixels, "network": by_network(net, seed=self.seed)}


@dataclass(frozen=True)
class Seen:
    """A set, with what is computed of it at most once. `stored` counts its bytes, labels included."""

    batch: Batch
    ground: Ground
    stored: int

    @cached_property
    def y(self) -> Tensor:
        return self.batch.y

    @cached_property
    def counts(self) -> Tensor:
        """Images of every class that has some."""
        return self.y.unique(return_counts=True)[1]

    @cached_property
    def f(self) -> Tensor:
        """(n, d) averaged pixels."""
        return averaged(self.batch)

    @cached_property
    def features(self) -> list[Tensor]:
        """Penultimate features under every teacher, (n, d)."""
        return [view.features(self.batch.x, self.batch.space)[0].float() for view in self.ground.views]

    @cached_property
    def stages(self) -> list[list[Tensor]]:
        return [stage_features(view, self.batch) for view in self.ground.looked]

    @cached_property
    def bandwidth(self) -> float:
        """The bandwidth h of P3, the tightest on training images; infinite where none tells anything about them."""
        self.require_all_classes()
        g = self.ground
        h, told = tightest_bandwidth(g.known_f, g.known.y, self.f, self.y, classes=g.real.num_classes)
        return h if told > 0 else inf

    @cached_property
    def variance(self) -> float:
        """Bandwidth of the diversities."""
        return bandwidth_from_pairs(self.ground.pair_distance, int(self.counts.max()))

    @cached_property
    def usable(self) -> dict[str, Tensor]:
        """Filled by `usable_by`."""
        return {}

    def usable_by(self, name: str) -> Tensor:
        """The log q(y | x) of every judged row, by the family of this name trained on the set."""
        self.require_all_classes()
        if name not in self.usable:
            g = self.ground
            self.usable[name] = usable_rows(g.students[name], self.batch, g.known, g.judged)
        return self.usable[name]

    def require_all_classes(self) -> None:
        """Raises Undefined where a class has no image."""
        if missing := sorted(set(range(self.ground.real.num_classes)) - set(self.y.unique().tolist())):
            raise Undefined(f"the set has no image of class {self.ground.real.class_names[missing[0]]!r}")


def require_classes(real: RealData) -> None:
    """Raises ValueError where there is nothing a label could tell."""
    for part, what in ((real, "training"), (real.test, "test")):
        if part is not None and int((part.counts > 0).sum()) < 2:
            raise ValueError(
                f"a profile needs images of at least two classes, the {what} images of {real.name} are of one"
            )


def plain_bytes(batch: Batch) -> int:
    """Bytes of the images as float32 with one int64 label each, as an artefact stores them."""
    return 4 * batch.x.numel() + 8 * len(batch)


def default_network(shape: tuple[int, int, int]) -> NetFactory:
    """convnet2-w32 up to 12 pixels a side, one block more for every doubling from 32, at most 6."""
    depth = next((depth for side, depth in ((12, 2), (32, 3), (64, 4), (128, 5)) if max(shape[1:]) <= side), 6)
    return nets.by_name(f"convnet{depth}-w32")


def _balanced(real: RealData, seed: int, most: int) -> Batch:
    counts: list[int] = real.counts.tolist()
    limit = max(2, min(PER_CLASS, most // max(1, sum(n > 0 for n in counts))))
    rows = [real.draw(seed, 0, min(limit, n), [c], "measure") for c, n in enumerate(counts) if n]
    return real.rows(torch.cat(rows))
