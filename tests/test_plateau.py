"""Networks that live until their accuracy stands still and train until it moves."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from infodistill.compute import View
from infodistill.running.checkpoint import load_checkpoint, save_checkpoint
from infodistill.running.state import find_parts
from infodistill.seeding import stream
from infodistill.sources import plateau
from infodistill.sources.plateau import HalvedByLife, Plateau, Watch
from infodistill.training import Fit, accuracy
from infodistill.types import Rows
from oracles.cafe import lives
from table import NET, tiny_real

REAL = tiny_real()
SYN = REAL.rows(REAL.sample(0, 2))
TRAIN = Fit(1, 4, 0.05, 0.9)


def source(**changes: Any) -> Plateau:
    watch = Watch(
        **{"window": 3, "calm": 0.1, "moved": 0.05, "probe": 4, "most_updates": 6, "most_epochs": 8, **changes}
    )
    return Plateau(NET, (1, 8, 8), 3, seed=3, train=TRAIN, watch=watch)


def weights(nets: Plateau) -> Tensor:
    return torch.cat([p.detach().flatten().clone() for p in nets.module.parameters()])


def live(nets: Plateau, steps: int) -> Tensor:
    for _ in range(steps):
        nets.draw()
        nets.advance(SYN, REAL)
    return weights(nets)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Accuracies are taken from this list, and training only counts."""
    script: list[float] = []
    monkeypatch.setattr(plateau, "accuracy", lambda view, rows: script.pop(0))
    monkeypatch.setattr(plateau, "fit", lambda *args, **keywords: None)
    yield script


def test_a_training_lasts_until_the_window_has_moved(scripted: list[float]) -> None:
    nets = source()
    scripted += [0.3]  # after the update
    scripted += [0.30, 0.31, 0.32, 0.34, 0.36]  # spans of three: .02, .03, .04
    scripted += [0.41]  # .07: it has moved
    nets.advance(SYN, REAL)
    assert not scripted
    assert (nets.life, nets.age, nets.readings) == (0, 6, [0.3])
    assert nets.draw().accuracy == 0.3
    assert nets.draw().age == 6


def test_a_life_ends_when_the_readings_after_updates_stand_still(scripted: list[float]) -> None:
    nets, moving = source(), [0.1, 0.2, 0.3]
    for reading in (0.1, 0.5, 0.6, 0.65):  # spans of three: .5, .15
        scripted += [reading, *moving]
        nets.advance(SYN, REAL)
        assert nets.life == 0
    old = weights(nets)
    scripted += [0.68]  # .08: calm; no training follows
    nets.advance(SYN, REAL)
    assert not scripted
    assert (nets.life, nets.age, nets.readings, nets.step) == (1, 0, [], 5)
    assert nets.draw().accuracy is None
    assert not torch.equal(old, weights(nets))


def test_a_span_equal_to_its_limit_neither_ends_a_life_nor_a_training() -> None:
    watch = Watch(window=2, calm=0.25, moved=0.25)
    assert not watch.finished([0.5, 0.75])
    assert not watch.enough([0.5, 0.75])
    assert watch.finished([0.5, 0.625])
    assert watch.enough([0.25, 0.75])
    assert not watch.finished([0.5])


def test_caps_end_what_would_never_end(scripted: list[float]) -> None:
    nets = source(most_updates=4, most_epochs=5)
    for update in range(4):
        scripted += [0.9 * (update % 2)]  # never calm
        scripted += [0.4] * 5 * (update < 3)  # never moves
        nets.advance(SYN, REAL)
        assert not scripted
    assert nets.life == 1


def test_lives_and_trainings_are_those_of_the_plain_loops(scripted: list[float]) -> None:
    generator = stream(0, "script")
    for round_ in range(0, 20, 2):
        readings = (torch.rand(400, generator=generator) * (0.05 + 0.01 * round_)).tolist()
        nets, wanted = source(), lives(readings, window=3, calm=0.1, moved=0.05, updates=6, epochs=8)
        scripted[:] = list(readings)
        for life, used in wanted:
            assert nets.life == life
            nets.advance(SYN, REAL)
            assert len(readings) - len(scripted) == used


def test_readings_are_accuracies_on_fresh_balanced_images_of_the_training_data(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, Tensor]] = []

    def watched(view: View, rows: Rows) -> float:
        whole = rows.rows(torch.arange(len(rows)))
        assert whole.y.bincount().tolist() == [4, 4, 4]
        asked.append((accuracy(view, rows), whole.x))
        return asked[-1][0]

    monkeypatch.setattr(plateau, "accuracy", watched)
    nets = source()
    nets.advance(SYN, REAL)
    assert nets.readings == [asked[0][0]]
    assert nets.readings[0] * 12 == pytest.approx(round(nets.readings[0] * 12))  # a fraction, nothing added to it
    assert len(asked) == 1 + nets.age >= 4
    assert not any(torch.equal(a[1], b[1]) for i, a in enumerate(asked) for b in asked[:i])


def test_the_network_learns_the_set_and_starts_as_any_network_of_its_key() -> None:
    nets = source(most_updates=9, calm=0.0)
    assert torch.equal(weights(nets), weights(source()))
    assert not torch.equal(weights(nets), weights(Plateau(NET, (1, 8, 8), 3, seed=4, train=TRAIN)))
    live(nets, 6)
    assert nets.life == 0
    assert accuracy(nets.draw(), SYN) == 1.0
    assert nets.optimiser.state
    assert not any(p.requires_grad for p in nets.module.parameters())


def test_a_fresh_network_has_no_moments() -> None:
    nets = source(most_updates=2)
    live(nets, 2)
    assert nets.life == 1
    assert not nets.optimiser.state


def test_it_resumes_exactly_in_the_middle_of_a_life(tmp_path: Path) -> None:
    straight = [live(nets := source(calm=0.0), 5), live(nets, 4)]
    first, second = source(calm=0.0), source(calm=0.0)
    live(first, 5)
    parts = find_parts({"nets": first})
    assert len(parts) == 2  # the source and the optimiser
    save_checkpoint(tmp_path / "c", {path: part.state_dict() for path, part in parts.items()})
    live(second, 2)
    state = load_checkpoint(tmp_path / "c")
    for path, part in find_parts({"nets": second}).items():
        part.load_state_dict(state[path])
    assert (second.life, second.age, second.readings) == (first.life, first.age, first.readings)
    assert len(second.readings) > 0
    assert torch.equal(weights(second), straight[0])
    assert torch.equal(live(second, 4), straight[1])
    assert second.life == 1


def test_a_copy_lives_its_own_life_and_keeps_its_schedule() -> None:
    nets = source()
    schedule = HalvedByLife(nets, (1, 2))
    live(nets, 2)
    twin, halved = copy.deepcopy((nets, schedule))
    straight = live(twin, 7)
    assert halved.nets is twin
    assert (schedule(0), halved(0)) == (1.0, 0.5 ** min(twin.life, 2))
    assert twin.life >= 1
    assert torch.equal(live(nets, 7), straight)


def test_impossible_watches_and_other_data_are_refused() -> None:
    with pytest.raises(ValueError, match="window must be >= 2"):
        Watch(window=1)
    with pytest.raises(ValueError, match="got 10, 128, 0 and 50"):
        Watch(most_updates=0)
    with pytest.raises(ValueError, match=r"spans >= 0, got -0\.1 and 0\.03"):
        Watch(calm=-0.1)
    with pytest.raises(ValueError, match="wanted RealData, got Batch"):
        source().advance(SYN, SYN)
