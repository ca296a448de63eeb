"""The mixed-age pool, and the optimiser that FRePo moves its set with."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from infodistill.descent import adam
from infodistill.optimisers import Cosine, Lamb, trust_ratio
from infodistill.running.checkpoint import load_checkpoint, save_checkpoint
from infodistill.running.state import find_parts
from infodistill.seeding import stream
from infodistill.sources.lessons import RealRows, SyntheticRows
from infodistill.sources.pool import Pool, staggered
from infodistill.training import Fit
from oracles import krr
from table import NET, tiny_real
from toys import Affine

REAL = tiny_real()
SYN = REAL.rows(torch.arange(6))
TRAIN = Fit(1, 1000, 3e-3, optimiser=adam)


def pool(**changes: object) -> Pool:
    settings: dict[str, object] = {"seed": 3, "train": TRAIN, "members": 3, "life": 4}
    return Pool(NET, (1, 8, 8), 3, **{**settings, **changes})  # type: ignore[arg-type]


def weights(source: Pool) -> list[torch.Tensor]:
    return [p.detach().clone() for m in source.members for p in m.module.parameters()]


def live(source: Pool, steps: int) -> list[torch.Tensor]:
    for _ in range(steps):
        source.draw()
        source.advance(SYN, REAL)
    return weights(source)


def test_counters_are_staggered_and_weights_are_fresh_and_distinct() -> None:
    assert staggered(10, 100) == (0, 10, 20, 30, 40, 50, 60, 70, 80, 90)
    source = pool(members=10, life=100)
    assert [m.age for m in source.members] == list(staggered(10, 100))
    first = [next(m.module.parameters()) for m in source.members]
    assert not any(torch.equal(a, b) for i, a in enumerate(first) for b in first[:i])


def test_only_the_drawn_network_changes_and_one_past_its_life_is_replaced() -> None:
    source, renewed = pool(), 0
    for _ in range(60):
        place, ages = source.place, [m.age for m in source.members]
        before = [next(m.module.parameters()).detach().clone() for m in source.members]
        births = source.members[place].births
        assert source.draw() is source.draw()
        assert source.draw().age == ages[place]
        source.advance(SYN, REAL)
        for i, member in enumerate(source.members):
            same = torch.equal(before[i], next(member.module.parameters()))
            assert same == (i != place)
            if i != place:
                assert member.age == ages[i]
        if ages[place] > source.life:
            renewed += 1
            assert source.members[place].age == 0
            assert source.members[place].births == births + 1
            assert not source.members[place].optimiser.state
        else:
            assert source.members[place].age == ages[place] + 1
    assert renewed >= 6


def test_picks_are_keyed_and_reach_every_member() -> None:
    source = pool(members=4)
    picks = []
    for step in range(200):
        source.step = step
        picks.append(source.place)
    counts = np.bincount(picks, minlength=4)
    assert counts.min() > 30  # 50 expected, standard deviation 6
    source.step = 17
    assert source.place == picks[17]


def test_the_step_of_a_member_is_one_adam_step_on_the_given_rows() -> None:
    source = Pool(Affine, (1, 8, 8), 3, seed=3, train=TRAIN, members=1, lesson=SyntheticRows(4))
    twin = copy.deepcopy(source.members[0].module).requires_grad_(True)
    optimiser = torch.optim.Adam(twin.parameters(), 3e-3)
    for step in range(3):
        rows = SyntheticRows(4)(SYN, REAL, stream(3, "match.pool.train", step))
        batch = rows.rows(torch.arange(len(rows)))
        assert len(rows) == 4
        loss = -(batch.target * twin(batch.x).log_softmax(1)).sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        source.advance(SYN, REAL)
    for mine, theirs in zip(source.members[0].module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_lessons_can_be_real_images() -> None:
    rows = RealRows(5)(SYN, REAL, torch.Generator().manual_seed(0))
    assert len(rows) == 5
    live(pool(lesson=RealRows(5)), 3)


def test_a_pool_resumes_exactly(tmp_path: Path) -> None:
    straight, first, second = live(pool(), 15), pool(), pool()
    live(first, 8)
    parts = find_parts({"pool": first})
    assert len(parts) == 4  # the pool and its three optimisers
    save_checkpoint(tmp_path / "c", {path: part.state_dict() for path, part in parts.items()})
    state = load_checkpoint(tmp_path / "c")
    for path, part in find_parts({"pool": second}).items():
        part.load_state_dict(state[path])
    assert all(torch.equal(a, b) for a, b in zip(live(second, 7), straight, strict=True))


def test_a_copy_lives_its_own_life() -> None:
    source = pool()
    live(source, 4)
    straight = live(copy.deepcopy(source), 6)
    live(source, 3)
    assert all(torch.equal(a, b) for a, b in zip(live(source, 3), straight, strict=True))


def test_impossible_pools_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 member"):
        pool(members=0)
    with pytest.raises(ValueError, match="3 members need as many counters, got 1"):
        pool(counters=lambda members, life: (0,))
    with pytest.raises(ValueError, match="saved pool has 2 networks, this one has 3"):
        pool().load_state_dict(pool(members=2).state_dict())


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_lamb_is_the_published_update(decay: float) -> None:
    generator = torch.Generator().manual_seed(1)
    starts = [torch.randn(4, 3, generator=generator, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)]
    grads = [[torch.randn(s.shape, generator=generator, dtype=torch.float64) for _ in range(6)] for s in starts]
    tensors = [s.clone().requires_grad_() for s in starts]
    optimiser = Lamb(tensors, 0.02, weight_decay=decay)
    for step in range(6):
        for tensor, rows in zip(tensors, grads, strict=True):
            tensor.grad = rows[step]
        optimiser.step()
    for tensor, start, rows in zip(tensors, starts, grads, strict=True):
        wanted = krr.lamb(start.numpy(), [g.numpy() for g in rows], 0.02, decay)
        np.testing.assert_allclose(tensor.detach().numpy(), wanted, rtol=1e-10, atol=1e-12)


def test_lamb_skips_what_has_no_gradient_and_takes_a_closure() -> None:
    still, moving = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    optimiser = Lamb([still, moving], 0.1)

    def closure() -> float:
        moving.grad = torch.ones(2)
        return 3.0

    assert optimiser.step(closure) == 3.0
    assert still.tolist() == [1, 1]
    torch.testing.assert_close(moving.detach(), torch.full((2,), 0.9), rtol=1e-5, atol=1e-6)
    assert float(trust_ratio(torch.zeros(3), torch.ones(3))) == 1.0
    with pytest.raises(ValueError, match="betas in"):
        Lamb([still], betas=(1.0, 0.9))


def test_the_cosine_falls_to_its_end_and_stays() -> None:
    rate = Cosine(100, 0.1)
    assert [round(rate(step), 6) for step in (0, 50, 100, 1000)] == [1.0, 0.55, 0.1, 0.1]
    with pytest.raises(ValueError, match="steps >= 1"):
        Cosine(0)
