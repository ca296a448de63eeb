"""Recipes of methods that learn their set in stages: every stage of a run is reached, or the recipe says so."""

from __future__ import annotations

import pytest

from infodistill import recipe
from infodistill.settings import Progressive, Staged
from infodistill.sources.staged import Stages


def test_stages_of_pdd_are_whole_lives_of_networks() -> None:
    read = recipe.parse({**recipe.read("quick/pdd"), "ipc": 5, "stages": 2, "steps": 90, "inner": 20})
    assert isinstance(read, Progressive)
    assert (read.split, read.stage_steps) == ((3, 2), 40)  # and the last stage takes the other 10
    assert recipe.parse({**read.as_dict(), "steps": 500}).as_dict()["stage_steps"] == 40  # fixed when first read


@pytest.mark.parametrize("name", [name for name in recipe.names() if "pdd" in name or "seqmatch" in name])
@pytest.mark.parametrize("share", [1, 2, 7, 500])
def test_shorter_runs_of_shipped_recipes_reach_every_stage(name: str, share: int) -> None:
    content = recipe.read(name)
    steps = content["steps"] // share
    read = recipe.parse({**content, "steps": steps})
    assert isinstance(read, Progressive | Staged)
    stages, life = Stages(read.split, read.stage_steps), getattr(read, "inner", 1)
    assert read.stage_steps % life == 0
    assert "stage_steps" not in content
    if steps >= life * len(read.split):
        assert {stages.at(step) for step in range(0, steps, life)} == set(range(len(read.split)))
        assert read.warning is None
    else:
        assert read.warning is not None


def test_the_published_stages_are_those_of_the_whole_run() -> None:
    published = {"cifar10/pdd-ipc10": 200_000, "cifar100/pdd-ipc50": 100_000, "cifar10/seqmatch-ipc50": 5000}
    assert {name: recipe.parse(recipe.read(name)).as_dict()["stage_steps"] for name in published} == published
