"""Representative real images: those nearest to the cluster centres of their class in a network's feature space.

DREAM (Liu et al., ICCV 2023) matches on them instead of random images, and finds them anew every few updates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

from infodistill.compute import Policy, View
from infodistill.real import RealData
from infodistill.seeding import key, stream
from infodistill.sources.rolling import Rolling
from infodistill.storage.initial import distinct_nearest
from infodistill.types import NetFactory, Source, ValueSpace, convert

PIECE = 1024
"""Images in memory at a time while a class is embedded, and rows in one batch of k-means."""


def representatives(
    feature: Float[Tensor, "n d"], count: int, *, each: int = 1, passes: int = 10, state: int = 0
) -> Int[Tensor, " count"]:
    """Rows of `feature` nearest to the count / each centres that mini-batch k-means finds: `each` rows a centre.

    No row comes twice: centres choose one after the other, in the order of the clusters. n <= count gives all rows in
    order, cycled. The number of k-means steps is fixed (`passes` over the rows), so nothing stops by rounding.

    Raises:
        ValueError: n is 0, or count is no multiple of `each`.
    """
    if not len(feature) or count % each:
        raise ValueError(f"{count} rows in clusters of {each} were asked of {len(feature)} images")
    if len(feature) <= count:
        return torch.arange(count) % len(feature)
    x = feature.detach().cpu().contiguous().numpy()
    means = MiniBatchKMeans(
        count // each, n_init=cast(Any, 1), max_iter=passes, batch_size=PIECE, max_no_improvement=cast(Any, None),
        random_state=state, compute_labels=False,
    ).fit(x)  # fmt: skip
    return distinct_nearest(torch.as_tensor(means.transform(x)).T, each)


@dataclass(frozen=True)
class Clustering:
    """How the images of a class are clustered.

    Args:
        most: images of a class that are looked at, a keyed random subset, though never fewer than are asked for; None
            looks at all of them (DREAM).
        each: images taken near every centre; there are that many fewer clusters (DREAM+'s `subsample`).
        passes: passes of mini-batch k-means over them (our choice; the authors use another k-means).
        space: the value space the network is shown them in; None is that of the data. The released code shows [0, 1]
            pixels to networks that are trained on normalised ones, which is `pixel_space(channels)`.

    Raises:
        ValueError: most, each or passes below 1.
    """

    most: int | None = None
    each: int = 1
    passes: int = 10
    space: ValueSpace | None = None

    def __post_init__(self) -> None:
        low = min(self.each, self.passes, 1 if self.most is None else self.most)
        if low < 1:
            raise ValueError(f"most, each and passes must be at least 1, got {self.most}, {self.each}, {self.passes}")

    def choose(
        self, view: View, real: RealData, per_class: int, *, seed: int, step: int = 0, owner: str = "real.medoids"
    ) -> Tensor:
        """Rows of every class, int64 (k * per_class,), class-major, on the CPU; keyed by (seed, owner, step, class).

        Raises:
            ValueError: a class has no images, or per_class is no multiple of `each`.
        """
        rows: list[Tensor] = []
        for label, members in enumerate(real.class_rows):
            if not len(members):
                raise ValueError(f"class '{real.class_names[label]}' has no images, at least 1 is needed")
            if self.most is not None and len(members) > max(self.most, per_class):
                order = torch.randperm(len(members), generator=stream(seed, owner, step, label))
                members = members[order[: max(self.most, per_class)]]
            state = key(seed, owner, step, label) % 2**31
            feature = embedded(view, real, members, self.space)
            rows.append(members[representatives(feature, per_class, each=self.each, passes=self.passes, state=state)])
        return torch.cat(rows)


@torch.no_grad()
def embedded(view: View, real: RealData, index: Tensor, space: ValueSpace | None = None) -> Tensor:
    """Last stage (n, d) of the images `index` (n,), un-augmented and shown in `space`, on the device of the network."""
    anchor = next(iter(view.params.values()))
    pieces: list[Tensor] = []
    for part in index.split(PIECE):
        batch = real.rows(part)
        x = convert(batch.x, batch.space, space).to(anchor.device, anchor.dtype)
        pieces.append(view.features(x, space or batch.space)[0])
    return torch.cat(pieces)


@dataclass
class Medoids:
    """A sampler of representative images, clustered anew in the first step and in every multiple of `interval`.

    Between two clusterings it gives the same rows in every step, also where a fresh network comes in between: choose
    an interval that divides the networks' life, as the paper does.

    Args:
        nets: the term's own networks: images are embedded by the network of the step.
        interval: steps between two clusterings.
        clustering: how a class is clustered.
        owner: name of the draws.

    Raises:
        ValueError: interval below 1.
    """

    nets: Source[View]
    interval: int = 10
    clustering: Clustering = Clustering()
    owner: str = "real.medoids"
    _block: int = -1
    _rows: Tensor | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.interval < 1:
            raise ValueError(f"images are clustered every so many steps, at least 1, got {self.interval}")

    def __call__(self, real: RealData, seed: int, step: int, per_class: int) -> Tensor:
        block = step // self.interval
        if self._rows is None or block != self._block or len(self._rows) != per_class * real.num_classes:
            self._rows = self.clustering.choose(
                self.nets.draw(), real, per_class, seed=seed, step=step, owner=self.owner
            )
            self._block = block
        return self._rows

    def state_dict(self) -> dict[str, Any]:
        """What is held: it was found with weights that are gone."""
        return {"block": self._block, "rows": None if self._rows is None else self._rows.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._block = int(state["block"])
        self._rows = None if state["rows"] is None else state["rows"].clone()


@dataclass(frozen=True)
class FeatureMedoids:
    """An `Initialise`: the same selection by the first network of a job with this seed, `ipc` images of every class.

    Args:
        net: the network of the job; its weights are those that `Rolling` begins with, before any training.
        clustering: how a class is clustered.
        policy: how the network runs.
    """

    net: NetFactory
    clustering: Clustering = Clustering()
    policy: Policy = field(default_factory=Policy)

    def __call__(self, real: RealData, ipc: int, seed: int) -> Tensor:
        nets = Rolling(self.net, real.shape, real.num_classes, seed=seed)
        nets.use(self.policy)
        return real.rows(self.clustering.choose(nets.draw(), real, ipc, seed=seed, owner="init.medoids")).x
