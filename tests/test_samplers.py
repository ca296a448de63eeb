"""Samplers: passes without replacement, keyed steps, and a driver that uses and saves them."""

from __future__ import annotations

import copy
from typing import Any

import torch

from infodistill.methods.dm import dm
from infodistill.real import RealData
from infodistill.samplers import Cyclic, uniform
from table import NET, tiny_real


def test_a_pass_shows_every_image_once() -> None:
    real = tiny_real(per_class=12)
    steps = [Cyclic()(real, 0, step, 4).view(3, 4) for step in range(6)]
    for first in (0, 3):
        seen = torch.cat(steps[first : first + 3], 1)
        for label in range(3):
            assert sorted(seen[label].tolist()) == real.class_rows[label].tolist()
    assert not torch.equal(torch.cat(steps[:3], 1), torch.cat(steps[3:], 1))
    assert torch.equal(steps[4], Cyclic()(real, 0, 4, 4).view(3, 4))


def test_the_rest_of_a_pass_is_dropped_and_small_classes_are_cycled() -> None:
    real = tiny_real(per_class=12)
    rows = Cyclic()(real, 0, 0, 5).view(3, 5)
    again = Cyclic()(real, 0, 2, 5).view(3, 5)  # two batches of 5 make a pass of 12
    assert len(set(rows[0].tolist())) == 5
    assert not torch.equal(rows, again)
    many = Cyclic()(real, 0, 1, 30).view(3, 30)
    counts = torch.bincount(many[1], minlength=len(real))[real.class_rows[1]]
    assert set(counts.tolist()) == {2, 3}


class Counted:
    """A sampler with a state of its own."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, real: RealData, seed: int, step: int, per_class: int) -> torch.Tensor:
        self.calls += 1
        return uniform(real, seed, step + self.calls % 2, per_class)

    def state_dict(self) -> dict[str, Any]:
        return {"calls": self.calls}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.calls = int(state["calls"])


def test_the_driver_asks_once_a_round_saves_the_state_and_keeps_jobs_apart() -> None:
    real = tiny_real()
    job = dm(real, NET, ipc=2, real_per_class=4)
    job.sampler = Counted()
    other = job.adding()
    assert other.sampler is not job.sampler
    for _ in job.run(3):
        pass
    assert job.sampler.calls == 3
    assert other.sampler.calls == 0  # type: ignore[attr-defined]
    other.load_state_dict(copy.deepcopy(job.state_dict()))
    assert other.sampler.calls == 3  # type: ignore[attr-defined]
    for one in (job, other):
        for _ in one.run(2):
            pass
    assert torch.equal(job.syn.pixels, other.syn.pixels)
