"""What a calibration tries, and in which order: nothing, the default, its neighbours; and never what the user fixed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from guided import ENCODED, MODEL, NONE, TEACHERS, drawn, truth
from infodistill.diffusion.estimators import CONTEXTUALS, PROTOTYPES, Tightest
from infodistill.diffusion.igds import IGDS, Fixed, contextual_push, igds
from infodistill.diffusion.running.calibration import BUDGET, Candidates
from infodistill.diffusion.running.candidates import (
    COUNT,
    around,
    igds_candidates,
    mgd3_candidates,
    plain_candidates,
    pull_candidates,
    with_setting,
)
from infodistill.diffusion.running.making import thinned
from infodistill.diffusion.samplers import ddim
from infodistill.diffusion.sampling import Plan

METHODS = {
    "plain": (plain_candidates(), 3),
    "igds-1": (igds_candidates(1), 1),
    "igds-3": (igds_candidates(3), 3),
    "mgd3": (mgd3_candidates(), 3),
    "pull": (pull_candidates(), 3),
}
DEFAULTS = {"s": 1.0, "h": 1.0, "push": contextual_push(10)}


def axes(ipc: int, **changes: object) -> dict[str, int]:
    """The numbers of IGDS that are tried, and how many values of each."""
    settings = igds_candidates(ipc, IGDS(**changes)).settings
    return {name: len({setting[name] for setting in settings}) for name in settings[0]}


def test_the_default_comes_first_then_one_number_then_several() -> None:
    told = around({"a": (2.0, (1.0, 4.0, 8.0, 2.01)), "b": (0.0, (0.0, 1.0))})
    pairs = [(one["a"], one["b"]) for one in told]
    assert pairs[:5] == [(2, 0), (1, 0), (2, 1), (4, 0), (8, 0)]  # 2.01 is the default's own place
    assert pairs[5:] == [(1, 1), (4, 1), (8, 1)]


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_can_do_nothing_and_tries_its_default_next(name: str) -> None:
    candidates, ipc = METHODS[name]
    assert 12 <= len(candidates.settings) <= COUNT <= BUDGET  # as many as `--budget`, by default
    assert len({json.dumps(setting) for setting in candidates.settings}) == len(candidates.settings)
    pushes = [candidates.push(setting) for setting in candidates.settings]
    assert pushes[0] == 0 == min(pushes) and pushes.count(0) == 1
    plan = Plan(ipc, 1, steps=12)
    for index, same in ((0, True), (-1, False)):
        how, steer = candidates.make(candidates.settings[index], MODEL, ENCODED, plan)
        x = drawn(steer, ipc, steps=how.steps, seed=how.seed, weight=how.weight, sampler=how.sampler)
        assert torch.equal(x, drawn(ipc=ipc)) == same


@pytest.mark.parametrize("ipc", [1, 3, 20, 50])
@pytest.mark.parametrize("prototype", ["p1", "p2", "p3", "none"])
def test_igds_as_it_is_by_default_is_tried_second(ipc: int, prototype: str) -> None:
    if (ipc, prototype) == (1, "none"):
        return
    how = IGDS(prototype=PROTOTYPES[prototype], noisy_classifier=truth, teachers=TEACHERS)
    candidates = igds_candidates(ipc, how)
    images = [
        drawn(candidates.make(candidates.settings[1], MODEL, ENCODED, Plan(ipc, 1))[1], ipc, steps=3),
        drawn(igds(MODEL, ENCODED, ipc, settings=how, seed=1), ipc, steps=3),
    ]
    torch.testing.assert_close(*images, rtol=0, atol=1e-6)


def test_a_budget_of_twelve_holds_the_default_and_all_its_nearest_neighbours() -> None:
    for ipc in (10, 50):
        settings = thinned(igds_candidates(ipc), 12).settings
        off, default, *others = [list(setting.values()) for setting in settings]
        assert len(settings) == 12 and off[0] == off[2] == 0 and (default == list(DEFAULTS.values()) or ipc == 50)
        one_off = [one for one in others if sum(a != b for a, b in zip(one, default, strict=True)) == 1]
        assert one_off == others[:5]
        for axis in range(3):
            assert {one[axis] for one in others[:5]} == {setting[axis] for setting in map(list, (default, *others))}
    assert thinned(igds_candidates(10), 2).settings[1] == DEFAULTS
    assert thinned(mgd3_candidates(), 12).settings[:2] == ({"pull": 0.0, "until": 0.5}, {"pull": 0.1, "until": 0.5})
    with pytest.raises(ValueError, match="at least 1 setting, got a budget of 0"):
        thinned(igds_candidates(10), 0)


def test_what_nothing_depends_on_is_not_tried() -> None:
    classifier, none = PROTOTYPES["p1"], PROTOTYPES["none"]
    assert set(axes(1)) == {"s", "h"} and set(axes(2)) == {"s", "h", "push"}
    assert set(axes(3, prototype=classifier)) == {"s", "push"} and set(axes(1, prototype=classifier)) == {"s"}
    assert set(axes(3, prototype=classifier, contextual=CONTEXTUALS["c7"])) == {"s", "h", "push"}
    assert set(axes(3, prototype=none)) == {"push"} and set(axes(3, contextual=NONE)) == {"s", "h"}
    assert set(axes(3, prototype=none, contextual=CONTEXTUALS["c7"])) == {"h", "push"}
    for ipc, idle in ((1, IGDS(prototype=none)), (3, IGDS(prototype=none, contextual=NONE)), (3, IGDS(scale=Fixed(0)))):
        with pytest.raises(ValueError, match=f"nothing is left to calibrate: no term that acts at {ipc} images"):
            igds_candidates(ipc, idle)


def test_what_the_user_fixed_stays() -> None:
    fixed = IGDS(bandwidth=Tightest(2.0), clip=0.7, window=(0.1, 0.5))
    for setting in igds_candidates(3, fixed).settings:
        how = with_setting(fixed, setting, 3)
        assert (how.bandwidth, how.clip, how.window) == (Tightest(2.0), 0.7, (0.1, 0.5)) and "h" not in setting
    assert set(axes(3, scale=Fixed(0.4))) == {"h", "push"} and set(axes(3, beta=Fixed(0.4))) == {"s", "h"}
    how = with_setting(IGDS(scale=Fixed(0.4)), {"push": 0.2}, 3)
    assert how.scale is not None and how.beta is not None and (how.scale(3), how.beta(3)) == (0.4, 0.5)
    mgd3 = mgd3_candidates(until=0.3, n_init=2)
    assert all(set(setting) == {"pull"} for setting in mgd3.settings) and mgd3.facts["until"] == 0.3
    assert mgd3_candidates(n_init=2).facts != mgd3_candidates().facts != mgd3_candidates(until=0.5).facts


def test_plain_sampling_keeps_the_sampler_and_begins_with_the_weight_it_has() -> None:
    plan = Plan(3, 1, weight=4.0, sampler=ddim)
    candidates = plain_candidates(plan.weight)
    assert candidates.make(candidates.settings[0], MODEL, ENCODED, plan)[0] == plan
    assert candidates.settings[0] == {"weight": 4.0} and candidates.push({"weight": 4.0}) == 0
    every = [candidates.make(setting, MODEL, ENCODED, plan)[0] for setting in candidates.settings]
    assert all(replace(one, weight=4.0) == plan for one in every) and len({one.weight for one in every}) == len(every)


@pytest.mark.parametrize("until", [None, 0.75])
def test_the_starts_of_k_means_reach_what_is_sampled(monkeypatch: pytest.MonkeyPatch, until: float | None) -> None:
    from infodistill.diffusion.running import candidates as module

    seen: list[dict[str, object]] = []
    monkeypatch.setattr(module, "mgd3", lambda model, encoded, ipc, **how: seen.append(how))
    tried: Candidates = mgd3_candidates(until=until, n_init=3)
    tried.make(tried.settings[1], MODEL, ENCODED, Plan(2, 7, steps=9))
    assert seen[0]["n_init"] == 3 and seen[0]["until"] == (until or 0.5) and seen[0]["pull"] == 0.1
    assert (seen[0]["steps"], seen[0]["seed"]) == (9, 7)


def test_a_chosen_setting_becomes_settings_of_igds() -> None:
    how = with_setting(IGDS(per_class=7), {"s": 0.5, "h": 3.0, "push": 0.1}, 3)
    facts, plainly = igds(MODEL, ENCODED, 3, settings=how).facts, igds(MODEL, ENCODED, 3).facts
    assert facts["s"] == 0.5 and facts["beta"] == pytest.approx(0.2) and how.per_class == 7
    assert facts["prototype"]["bandwidth"] == pytest.approx(3 * plainly["prototype"]["bandwidth"])
