"""The queue of semi-trained networks: who is in it, who is trained, what it knows of them, and resuming."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from infodistill.compute import Policy, View
from infodistill.descent import cross_entropy_rows
from infodistill.nets.initialise import initialise
from infodistill.running.checkpoint import load_checkpoint, save_checkpoint
from infodistill.running.state import find_parts
from infodistill.seeding import stream
from infodistill.sources.queue import Counted, Meter, Queue, RealBatches
from infodistill.training import Fit, accuracy
from infodistill.types import Batch
from oracles import idm as oracle
from table import NET, tiny_real
from toys import Affine

REAL = tiny_real()
SYN = REAL.rows(torch.arange(6))
TRAIN = Fit(1, 8, 0.01, momentum=0.9, weight_decay=5e-4)


def queue(**changes: object) -> Queue:
    settings: dict[str, object] = {"seed": 3, "train": TRAIN, "lesson": RealBatches(2, 8), "nets": 4}
    given = {"start": 2, "interval": 3, **settings, **changes}
    return Queue(NET, (1, 8, 8), 3, **given)  # type: ignore[arg-type]


def live(source: Queue, steps: int) -> list[torch.Tensor]:
    """Every number the queue holds after some steps."""
    for _ in range(steps):
        source.draw()
        source.advance(SYN, REAL)
    held = source.places[: source.held]
    counts = [torch.tensor([p.birth, p.age, int(p.meter.hits), p.meter.seen]) for p in held]
    return [*counts, *(w.detach().clone() for p in held for w in p.module.parameters())]


def same(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def test_who_is_in_the_queue_is_what_a_list_says() -> None:
    source = queue(trained=0)
    for step in range(20):
        births = sorted(place.birth for place in source.places[: source.held])
        assert births == oracle.members(step, 2, 4, 3)
        assert source.draw() is source.draw()
        source.advance(SYN, REAL)


def test_a_network_that_joins_is_fresh_and_takes_the_place_of_the_oldest() -> None:
    source = queue()
    modules = [place.module for place in source.places]
    live(source, 6)  # births 0 to 4 so far: the fifth has just replaced the first
    place = source.places[0]
    assert place.module is modules[0]
    assert (place.birth, place.age, place.meter.seen, place.meter.accuracy) == (4, 0, 0, 0.0)
    assert not place.optimiser.state
    twin = NET((1, 8, 8), 3)
    initialise(twin, stream(3, "match.queue", 4))
    assert same(list(place.module.parameters()), list(twin.parameters()))


def test_only_the_chosen_networks_are_trained_and_they_are_distinct() -> None:
    source = queue(interval=1000)  # 3 networks all along
    for _ in range(12):
        chosen = source.to_train
        assert len(set(chosen)) == 2
        before = [next(place.module.parameters()).detach().clone() for place in source.places[:3]]
        ages = [place.age for place in source.places[:3]]
        source.advance(SYN, REAL)
        for i, place in enumerate(source.places[:3]):
            assert torch.equal(before[i], next(place.module.parameters())) == (i not in chosen)
            assert place.age == ages[i] + 2 * (i in chosen)


def test_picks_are_keyed_and_reach_every_network() -> None:
    source, picks, trained = queue(interval=1000, trained=1), [], []
    for step in range(300):
        source.step = step
        source._view = None  # pyright: ignore[reportPrivateUsage]
        picks.append(source.seen_through)
        trained += source.to_train
    assert np.bincount(picks).min() > 70 and np.bincount(trained).min() > 70  # 100 expected, standard deviation 8
    assert np.mean(np.array(picks) == np.array(trained)) < 0.5  # drawn apart
    source.step = 17
    assert source.seen_through == picks[17]


def test_training_and_accuracy_are_those_of_softmax_regression_written_out() -> None:
    source = Queue(Affine, (1, 8, 8), 3, seed=3, train=TRAIN, lesson=RealBatches(3, 8), nets=2, start=1)
    starts = [[p.detach().double().numpy().copy() for p in place.module.parameters()] for place in source.places]
    batches: list[list[tuple[np.ndarray, np.ndarray]]] = [[], []]
    for step in range(4):
        for index in source.to_train:
            generator = stream(3, "match.queue.train", step, index)
            rows = RealBatches(3, 8)(SYN, REAL, generator)
            for part in torch.randperm(len(rows), generator=generator).split(8):
                batch = rows.rows(part)
                batches[index].append((batch.x.flatten(1).double().numpy(), batch.target.double().numpy()))
        source.advance(SYN, REAL)
    for place, (weight, bias), pieces in zip(source.places, starts, batches, strict=True):
        wanted, hits, seen = oracle.correct(weight, bias, pieces, lr=0.01, momentum=0.9, decay=5e-4)
        assert (int(place.meter.hits), place.meter.seen, place.age) == (hits, seen, 12)
        np.testing.assert_allclose(next(place.module.parameters()).numpy(), wanted, rtol=1e-4, atol=1e-6)
    source.step, source._view = 0, None  # pyright: ignore[reportPrivateUsage]
    assert source.draw().accuracy == source.places[source.seen_through].meter.accuracy > 0


def test_an_untrained_network_has_accuracy_0_and_networks_are_shown_in_eval_mode() -> None:
    source = queue()
    view = source.draw()
    assert view.accuracy == 0.0 and view.age == 0
    live(source, 5)
    assert not any(place.module.training for place in source.places)
    assert not any(p.requires_grad for place in source.places for p in place.module.parameters())


def test_the_running_accuracy_comes_to_agree_with_the_networks() -> None:
    source = queue(train=Fit(1, 12, 0.05, momentum=0.9), nets=2, start=1, interval=1000, reset_every=15)
    live(source, 29)
    for place in source.places:
        now = accuracy(View.own(place.module), REAL)
        assert now > 0.9 and abs(place.meter.accuracy - now) < 0.1


def test_accuracies_start_anew_where_that_is_asked_for() -> None:
    source = queue(reset_every=4, interval=1000)
    live(source, 3)
    assert any(place.meter.seen for place in source.places)
    live(source, 1)
    assert not any(place.meter.seen or int(place.meter.hits) for place in source.places)
    assert any(place.age for place in source.places)
    live(source, 1)
    assert sum(place.meter.seen for place in source.places) == 2 * 16


def test_counting_does_not_change_the_loss() -> None:
    z = torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]], requires_grad=True)
    target = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    meter = Meter(torch.zeros((), dtype=torch.int64))
    counted = Counted(cross_entropy_rows, meter)
    assert torch.equal(counted(z, target), cross_entropy_rows(z, target))
    assert (int(meter.hits), meter.seen) == (2, 3)
    assert meter.accuracy == pytest.approx(2 / 3)


def test_lessons_are_passes_without_replacement() -> None:
    lesson = RealBatches(5, 16)(SYN, REAL, torch.Generator().manual_seed(0))
    assert len(lesson) == 80  # of 36 images
    batch = lesson.rows(torch.arange(36))
    assert isinstance(batch, Batch)
    assert torch.equal(batch.x.flatten(1).sort(0).values, REAL.rows(torch.arange(36)).x.flatten(1).sort(0).values)
    with pytest.raises(ValueError, match="at least 1 batch of 1 image, got 0 of 8"):
        RealBatches(0, 8)


@pytest.mark.parametrize("cut", [2, 5, 11])
def test_a_queue_resumes_exactly(cut: int, tmp_path: Path) -> None:
    straight, first, second = live(queue(reset_every=7), 15), queue(reset_every=7), queue(reset_every=7)
    live(first, cut)
    live(second, 13)  # what it has lived through leaves no trace
    parts = find_parts({"queue": first})
    assert len(parts) == 5  # the queue and an optimiser for each place, born or not
    save_checkpoint(tmp_path / "c", {path: part.state_dict() for path, part in parts.items()})
    state = load_checkpoint(tmp_path / "c")
    for path, part in find_parts({"queue": second}).items():
        part.load_state_dict(state[path])
    assert same(live(second, 15 - cut), straight)


def test_a_copy_lives_its_own_life() -> None:
    source = queue()
    live(source, 4)
    straight = live(copy.deepcopy(source), 6)
    live(source, 3)
    assert same(live(source, 3), straight)


def test_impossible_queues_are_refused() -> None:
    for wrong in ({"start": 5}, {"start": 0}, {"interval": 0}, {"trained": -1}, {"reset_every": 0}):
        with pytest.raises(ValueError, match="a queue needs 1 <= start <= nets"):
            queue(**wrong)
    with pytest.raises(ValueError, match="holds up to 5 networks, this one 4"):
        queue().load_state_dict(queue(nets=5).state_dict())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs a C++ compiler")
def test_compiled_networks_of_the_queue_share_their_graphs() -> None:
    """Seventy networks are more than the graphs PyTorch would keep: past those it raises."""
    source = queue(lesson=RealBatches(1, 8), nets=70, start=69, trained=70)
    source.use(Policy(compile=True, chunk=8, threads=1))
    live(source, 1)
    assert all(place.age == 1 for place in source.places)
