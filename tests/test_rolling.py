"""Rolling networks that are trained on real images between updates, or prepared before the first one."""

from __future__ import annotations

from dataclasses import replace

import torch

from infodistill.compute import View
from infodistill.nets.initialise import initialise
from infodistill.seeding import stream
from infodistill.sources.lessons import RealRows
from infodistill.sources.rolling import Rolling
from infodistill.training import Fit, fit
from infodistill.types import Net
from table import NET, tiny_real
from test_sources import SHAPE, rolled, weights


def test_a_network_trained_on_real_images_keeps_its_momentum_for_a_life() -> None:
    """Two trainings of one epoch on the same rows equal one of two epochs: the moments are not forgotten in between."""
    real = tiny_real()
    everything = RealRows(len(real))
    train = Fit(1, len(real), 0.05, 0.9)
    seen = rolled(Rolling(NET, SHAPE, 3, seed=0, inner=3, train=train, lesson=everything), 5, real)
    net = NET(SHAPE, 3)
    initialise(net, stream(0, "match.nets", 0))
    fit(net, real, replace(train, epochs=2), stream(9, "any order"))
    torch.testing.assert_close(seen[2], weights(View.own(net)), rtol=1e-4, atol=1e-6)
    assert not torch.equal(seen[3], seen[0])
    assert torch.equal(seen[3], weights(View.own(_drawn(1))))


def _drawn(life: int) -> Net:
    net = NET(SHAPE, 3)
    initialise(net, stream(0, "match.nets", life))
    return net


def test_a_fresh_network_is_prepared_once_and_saved_as_it_is() -> None:
    real, lives = tiny_real(), list[int]()

    def warm(net: Net, life: int) -> None:
        lives.append(life)
        fit(net, real, Fit(1, 12, 0.05), stream(0, "warm", life))

    source = Rolling(NET, SHAPE, 3, seed=0, inner=2, prepare=warm)
    seen = rolled(source, 3, real)
    assert lives == [0, 1]
    assert not torch.equal(seen[0], weights(View.own(_drawn(0))))
    assert torch.equal(seen[0], seen[1])
    other = Rolling(NET, SHAPE, 3, seed=0, inner=2, prepare=warm)
    other.load_state_dict(source.state_dict())
    assert torch.equal(weights(other.draw()), weights(source.draw()))
    assert lives == [0, 1]
