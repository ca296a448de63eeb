"""Networks on the line between the ends of a segment: where they lie, what moves them, and what does not."""

from __future__ import annotations

import copy

import pytest
import torch

from infodistill.compute import Policy, View
from infodistill.seeding import stream
from infodistill.sources.interpolated import Interpolated, fill
from infodistill.sources.segments import FreshStarts, Segment
from infodistill.types import pixel_space
from table import tiny_real
from trajectories import NET, Walks

SYN = tiny_real().batch(0, 0, 2)


def between(seed: int = 3) -> Interpolated:
    return Interpolated(Walks(), seed)


def forward(source: Interpolated, steps: int) -> None:
    """As the driver does it: every source it finds goes on, the segments by themselves."""
    for _ in range(steps):
        source.advance(SYN, tiny_real())
        source.segments.advance(SYN, tiny_real())


def weights(view: View) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in view.params.values()]).clone()


def ends(segment: Segment) -> tuple[torch.Tensor, torch.Tensor]:
    assert segment.end is not None
    flat = (torch.cat([value.flatten() for value in side.values()]) for side in (segment.start, segment.end))
    return next(flat), next(flat)


def test_parameters_are_l_start_plus_the_rest_of_the_end() -> None:
    source = between()
    start, end = ends(source.segments.draw())
    share = float(torch.rand((), generator=stream(3, "match.interpolated", 0), dtype=torch.float64))
    assert source.share == share
    torch.testing.assert_close(weights(source.draw()), share * start + (1 - share) * end, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_ends_of_the_line_are_the_ends_of_the_segment(share: float) -> None:
    segment = Walks().draw()
    assert segment.end is not None
    module = NET((1, 8, 8), 3)
    fill(module, segment.start, segment.end, share)
    assert torch.equal(weights(View.own(module)), ends(segment)[0 if share else 1])


def test_the_outputs_are_those_of_a_functional_call() -> None:
    source = between()
    segment, share, x = source.segments.draw(), source.share, SYN.x
    assert segment.end is not None
    theta = {name: share * segment.start[name] + (1 - share) * segment.end[name] for name in segment.start}
    wanted = View(segment.module, theta).features(x)[0]
    torch.testing.assert_close(source.draw().features(x)[0], wanted, rtol=1e-5, atol=1e-6)
    end = View(segment.module, segment.end).logits(x)
    torch.testing.assert_close(source.final().logits(x), end, rtol=0, atol=0)


def test_one_module_in_place_serves_all_steps_and_the_experts_stay_as_they_are() -> None:
    source = between()
    first = source.draw()
    assert source.draw() is first
    before, theirs = weights(first), weights(View.own(source.segments.draw().module))
    forward(source, 1)
    second = source.draw()
    assert second.module is first.module and second is not first
    assert not torch.equal(weights(second), before)
    assert torch.equal(weights(View.own(source.segments.draw().module)), theirs)
    assert not any(value.requires_grad for value in second.params.values())


def test_a_step_does_not_depend_on_those_before() -> None:
    straight, jumped = between(), between()
    for _ in range(4):
        straight.draw()
        forward(straight, 1)
    jumped.load_state_dict({"step": 4})
    jumped.segments.load_state_dict({"step": 4})
    assert torch.equal(weights(straight.draw()), weights(jumped.draw()))
    assert not torch.equal(weights(straight.draw()), weights(between().draw()))


def test_loading_forgets_the_network_that_was_drawn() -> None:
    source = between()
    first = weights(source.draw())
    forward(source, 2)
    source.draw()
    source.load_state_dict({"step": 0})
    source.segments.load_state_dict({"step": 0})
    assert torch.equal(weights(source.draw()), first)


def test_shares_are_uniform_and_keyed_by_seed() -> None:
    source, shares = between(), []
    for step in range(2000):
        source.step = step
        shares.append(source.share)
    found = torch.tensor(shares)
    assert abs(float(found.mean()) - 0.5) < 0.03
    assert abs(float(found.var()) - 1 / 12) < 0.01
    assert between(4).share != between(3).share


def test_a_copy_is_filled_apart() -> None:
    source = between()
    mine = source.draw()
    copied = copy.deepcopy(source)
    forward(copied, 1)
    before = weights(mine)
    copied.draw()
    assert torch.equal(weights(mine), before)


def test_the_view_carries_policy_space_and_age() -> None:
    source = between()
    source.use(Policy(chunk=2))
    segment = source.segments.draw()
    view = source.draw()
    assert (view.policy.chunk, view.age, view.space) == (2, segment.age, segment.space)
    source.use(Policy(chunk=3))
    assert source.draw().policy.chunk == source.final().policy.chunk == 3


def test_the_space_of_the_experts_is_kept() -> None:
    class Spaced(Walks):
        def draw(self) -> Segment:
            plain = super().draw()
            return Segment(plain.module, plain.start, plain.end, plain.age, pixel_space(1))

    source = Interpolated(Spaced(), 0)
    assert source.draw().space == source.final().space == pixel_space(1)


def test_segments_without_an_end_are_refused() -> None:
    with pytest.raises(ValueError, match="need segments of experts with an end, not fresh networks"):
        Interpolated(FreshStarts(NET, (1, 8, 8), 3, seed=0), 0).draw()
