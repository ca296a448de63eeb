"""The critics of MIM: random and trained heads and normalisers, which learn and resume exactly."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch

from infodistill.information import pair_loss
from infodistill.information.bounds import cosine
from infodistill.sources.critic import (
    FrozenNormaliser,
    SharedRandomHead,
    TrainedHeads,
    TrainedNormaliser,
    gaussian_head,
)
from infodoubles import class_clusters, gaussian

normal = partial(gaussian, owner="mim")


def test_a_random_head_is_one_map_for_both_streams_keyed_by_width() -> None:
    head = SharedRandomHead(dim=4000, seed=3).draw()
    a, b = normal(6, 50), normal(9, 50, key=1)
    assert torch.equal(head.syn(0, a), head.real(1, a))
    similar = cosine(head.syn(0, a), head.real(0, b))
    assert float((similar - cosine(a, b)).abs().max()) < 0.06  # Johnson-Lindenstrauss
    again = SharedRandomHead(dim=4000, seed=3).draw()
    assert torch.equal(again.syn(0, a), head.syn(0, a))
    assert not torch.equal(SharedRandomHead(dim=4000, seed=4).draw().syn(0, a), head.syn(0, a))


def test_heads_of_two_streams_start_equal_so_untrained_pairs_cannot_differ() -> None:
    pairs, shared = TrainedHeads(dim=5, seed=1, streams=2), TrainedHeads(dim=5, seed=1)
    a = normal(6, 50).float()
    assert torch.equal(pairs.draw().syn(0, a), pairs.draw().real(0, a))
    assert torch.equal(shared.draw().syn(0, a), pairs.draw().syn(0, a))
    assert (len(shared.trainable()), len(pairs.trainable())) == (1, 2)
    pairs.update([torch.ones_like(pairs.trainable()[0]), -torch.ones_like(pairs.trainable()[1])])
    assert not torch.equal(pairs.draw().syn(0, a), pairs.draw().real(0, a))


def trained(heads: TrainedHeads, normaliser: TrainedNormaliser, steps: int) -> list[float]:
    syn, y = class_clusters(1, 10, 8)
    real, t = class_clusters(2, 30, 8)
    values = []
    for _ in range(steps):
        h, z = heads.draw(), normaliser.draw()
        value = pair_loss(h.syn(0, syn), h.real(0, real), y[:, None] == t, log_z=partial(z, 0))
        critics = (heads, normaliser)
        grads = torch.autograd.grad(value, [p for critic in critics for p in critic.trainable()])
        heads.update(grads[:-1])
        normaliser.update(grads[-1:])
        values.append(value.item())
    return values


@pytest.mark.parametrize("streams", [1, 2])
def test_trained_critics_learn_and_resume_exactly(streams: int) -> None:
    def fresh() -> tuple[TrainedHeads, TrainedNormaliser]:
        return TrainedHeads(dim=4, seed=1, lr=0.02, streams=streams), TrainedNormaliser(lr=0.02)  # type: ignore[arg-type]

    straight = fresh()
    values = trained(*straight, 60)
    assert values[-1] < values[0] - 0.1
    first, second = fresh(), fresh()
    trained(*first, 25)
    for source, copied in zip(first, second, strict=True):
        copied.load_state_dict(source.state_dict())
    trained(*first, 3)  # the copy owns its tensors
    assert trained(*second, 35) == values[25:]
    for a, b in zip(straight, second, strict=True):
        assert all(torch.equal(p, q) for p, q in zip(a.trainable(), b.trainable(), strict=True))
    twin = copy.deepcopy(first[0])
    kept = [p.clone() for p in twin.trainable()]
    trained(*first, 1)
    assert all(torch.equal(p, q) for p, q in zip(twin.trainable(), kept, strict=True))


def test_loading_replaces_in_place_and_drops_what_the_state_does_not_know() -> None:
    heads = TrainedHeads(dim=4)
    heads.prepare({0: 6}, torch.zeros(1))
    held = heads.trainable()[0]
    state = heads.state_dict()
    heads.prepare({1: 9}, torch.zeros(1))
    with torch.no_grad():
        held.zero_()
    heads.load_state_dict(state)
    assert heads.trainable()[0] is held
    assert len(heads.trainable()) == 1
    assert torch.equal(held, gaussian_head(6, 4, 0, "mim.heads", 0))


def test_a_frozen_normaliser_keeps_its_first_batch() -> None:
    source = FrozenNormaliser()
    similarity, negative = 3 * normal(5, 7), torch.ones(5, 7, dtype=torch.bool)
    first = source.draw()(0, similarity, negative)
    torch.testing.assert_close(first, similarity.exp().mean().log())
    assert torch.equal(source.draw()(0, 2 * similarity, negative), first)
    assert not torch.equal(source.draw()(1, 2 * similarity, negative), first)
    other = FrozenNormaliser()
    other.load_state_dict(source.state_dict())
    assert torch.equal(other.draw()(0, 5 * similarity, negative), first)
