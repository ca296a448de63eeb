"""Representative images: what clustering finds, how it is keyed, kept and restored, and the start of a set from it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from infodistill.compute import Policy, View
from infodistill.methods.dm import dm
from infodistill.nets.convnet import convnet
from infodistill.real import RealData
from infodistill.samplers.medoids import Clustering, FeatureMedoids, Medoids, embedded, representatives
from infodistill.seeding import stream
from infodistill.sources.rolling import Rolling
from infodistill.storage.initial import Mosaic, Stored, distinct_nearest
from infodistill.types import Net, Source, ValueSpace, pixel_space
from infodoubles import IdentityNet
from oracles import idc as oracle
from table import NET, tiny_real


def blobs(centres: int, width: int = 6, spread: float = 0.2) -> Tensor:
    """(centres * 5, width): points 0, 5, 10, ... are the means of the four that follow them."""
    generator = stream(0, "blobs")
    middle = 10 * torch.eye(centres, width, dtype=torch.float64)
    offset = spread * torch.rand(centres, 2, width, generator=generator, dtype=torch.float64) + 0.05
    around = torch.cat([torch.zeros(centres, 1, width, dtype=torch.float64), offset, -offset], 1)
    return (middle[:, None] + around).flatten(0, 1)


def one_class_each(images: Tensor, classes: int) -> RealData:
    labels = torch.arange(classes).repeat_interleave(len(images) // classes)
    return RealData(images, labels, [f"c{i}" for i in range(classes)], ValueSpace((0.4,), (0.25,)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_middles_of_separate_clusters_are_found(dtype: torch.dtype) -> None:
    points = blobs(5).to(dtype)
    for state in range(3):
        assert sorted(representatives(points, 5, state=state).tolist()) == [0, 5, 10, 15, 20]


def test_several_images_near_every_centre() -> None:
    rows = representatives(blobs(4), 12, each=3)
    assert len(set(rows.tolist())) == 12
    for group in rows.view(4, 3):
        assert len({int(row) // 5 for row in group}) == 1 and int(group[0]) % 5 == 0
    with pytest.raises(ValueError, match="7 rows in clusters of 2 were asked of 20 images"):
        representatives(blobs(4), 7, each=2)


@pytest.mark.parametrize("each", [1, 2])
def test_rows_choose_the_nearest_that_is_left(each: int) -> None:
    distance = torch.rand(4, 11, generator=stream(0, "distance"), dtype=torch.float64)
    distance[2] = distance[0]
    assert distinct_nearest(distance, each).tolist() == oracle.nearest_each(distance.tolist(), each)


def test_few_images_are_all_taken_and_cycled() -> None:
    assert representatives(torch.rand(3, 2), 7).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert representatives(torch.rand(3, 2), 3).tolist() == [0, 1, 2]
    real = tiny_real(per_class=4)
    rows = Clustering().choose(Rolling(NET, real.shape, 3, seed=0).draw(), real, 6, seed=0).view(3, 6)
    assert all(torch.equal(rows[c], real.class_rows[c][torch.arange(6) % 4]) for c in range(3))


def test_equal_images_give_distinct_rows_without_a_warning() -> None:
    rows = representatives(torch.ones(9, 4), 5)
    assert len(set(rows.tolist())) == 5


def test_a_class_without_images_and_wrong_counts_are_refused() -> None:
    real = one_class_each(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), 1)
    empty = real.replace(class_names=("c0", "none"))
    view = Rolling(NET, real.shape, 2, seed=0).draw()
    with pytest.raises(ValueError, match="class 'none' has no images"):
        Clustering().choose(view, empty, 2, seed=0)
    with pytest.raises(ValueError, match="must be at least 1, got 0, 1, 10"):
        Clustering(most=0)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Medoids(Rolling(NET, real.shape, 2, seed=0), 0)


def test_rows_are_class_major_distinct_and_keyed() -> None:
    real = tiny_real(per_class=30)
    view = Rolling(NET, real.shape, 3, seed=0).draw()
    rows = Clustering().choose(view, real, 5, seed=1)
    assert rows.dtype == torch.int64 and real.labels[rows].tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert len(set(rows.tolist())) == 15
    assert torch.equal(rows, Clustering().choose(view, real, 5, seed=1))
    others = [Clustering().choose(view, real, 5, seed=1, step=step) for step in range(1, 4)]
    assert any(set(rows.tolist()) != set(other.tolist()) for other in others)


def test_a_cap_looks_at_a_keyed_subset_never_smaller_than_what_is_asked_for() -> None:
    real = tiny_real(per_class=30)
    view = Rolling(NET, real.shape, 3, seed=0).draw()
    for label, rows in enumerate(Clustering(most=6).choose(view, real, 5, seed=1).view(3, 5)):
        members = real.class_rows[label]
        seen = members[torch.randperm(30, generator=stream(1, "real.medoids", 0, label))[:6]]
        assert set(rows.tolist()) < set(seen.tolist())
    few = Clustering(most=2).choose(view, real, 5, seed=1).view(3, 5)
    assert all(len(set(rows.tolist())) == 5 for rows in few)


class Recording(IdentityNet):
    """Remembers what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.shown: list[Tensor] = []

    def stages(self, x: Tensor) -> tuple[Tensor, ...]:
        self.shown.append(x)
        return super().stages(x)


@pytest.mark.parametrize("space", [None, pixel_space(1)])
def test_images_are_shown_plainly_in_the_space_that_is_asked_for(space: ValueSpace | None) -> None:
    real, net = tiny_real(), Recording()
    feature = embedded(View.own(net, policy=Policy(chunk=5)), real, torch.arange(7, 20), space)
    pixels = real.pixels(torch.arange(7, 20)).float() / 255
    wanted = pixels if space is not None else (pixels - 0.4) / 0.25
    torch.testing.assert_close(torch.cat(net.shown), wanted)
    assert torch.equal(feature, torch.cat(net.shown).flatten(1)) and not feature.requires_grad


class Fixed(Source[View]):
    """A source that counts how often it is asked."""

    def __init__(self, net: Net) -> None:
        self.view, self.asked = View.own(net), 0

    def draw(self) -> View:
        self.asked += 1
        return self.view


def test_clusters_stay_for_an_interval() -> None:
    real = tiny_real(per_class=30)
    nets = Fixed(convnet(depth=2, width=4)(real.shape, 3))
    sampler = Medoids(nets, 3)
    rows = [sampler(real, 0, step, 4) for step in range(7)]
    assert nets.asked == 3
    assert all(torch.equal(rows[step], rows[step - step % 3]) for step in range(7))
    assert not torch.equal(rows[0], rows[3])
    assert sampler(real, 0, 7, 2).shape == (6,)


def test_what_is_held_is_restored_exactly_and_stays_until_the_next_clustering() -> None:
    real = tiny_real(per_class=30)
    nets = Fixed(convnet(depth=2, width=4)(real.shape, 3))
    first, second = Medoids(nets, 3), Medoids(nets, 3)
    first(real, 0, 3, 4)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    with torch.no_grad():
        for value in nets.view.params.values():  # the weights it was found with are gone
            value.copy_(torch.randn(value.shape, generator=stream(0, "other weights")))
    asked = nets.asked
    assert torch.equal(second(real, 0, 4, 4), first(real, 0, 3, 4)) and nets.asked == asked
    assert torch.equal(second(real, 0, 6, 4), first(real, 0, 6, 4)) and nets.asked == asked + 2
    fresh: dict[str, Any] = Medoids(nets, 3).state_dict()
    assert fresh == {"block": -1, "rows": None}
    second.load_state_dict(fresh)
    second(real, 0, 6, 4)
    assert nets.asked == asked + 3


def test_a_set_starts_from_images_that_the_first_network_finds() -> None:
    real = tiny_real(per_class=30)
    images = FeatureMedoids(NET)(real, 8, 5)
    nets = dm(real, NET, ipc=1, seed=5).terms["match"].term.looks.nets  # type: ignore[attr-defined]
    rows = Clustering().choose(nets.draw(), real, 8, seed=5, owner="init.medoids")
    assert torch.equal(images, real.rows(rows).x)
    stored = Stored(Mosaic(2, FeatureMedoids(NET)))(real, 2, 5)
    assert stored.shape == (6, 1, 8, 8) and 0 <= float(stored.min()) <= float(stored.max()) <= 1
    torch.testing.assert_close(stored[0, :, :4, :4], real.space.to_pixels(images)[0, :, ::2, ::2])
