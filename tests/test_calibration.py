"""Calibration: what is held out, who is chosen, what it costs, and that it can be continued."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from guided import MODEL, REAL, TEACHERS, drawn
from infodistill.diffusion.estimators import CONTEXTUALS, PROTOTYPES, Tightest
from infodistill.diffusion.features import Pooled
from infodistill.diffusion.igds import IGDS, Fixed, through_denoiser
from infodistill.diffusion.model import DiffusionModel
from infodistill.diffusion.rules import bayes
from infodistill.diffusion.running.calibration import (
    BUDGET,
    FRESH,
    Calibration,
    Candidates,
    Cell,
    calibrate,
    chosen,
    held_out_accuracy,
)
from infodistill.diffusion.running.candidates import grid, igds_candidates
from infodistill.diffusion.running.describing import described
from infodistill.diffusion.samplers import ddim
from infodistill.diffusion.sampling import Plan, plain
from infodistill.distilled import Distilled
from infodistill.evaluation.protocols import EvaluationProtocol
from infodistill.real import RealData
from toys import Affine

PLAN = Plan(ipc=2, seed=3, steps=4)


def weights(*values: float) -> Candidates:
    """Plain sampling at other weights; the push is the weight."""
    return Candidates(
        "weights",
        grid(weight=values),
        lambda setting, model, encoded, plan: (replace(plan, weight=setting["weight"]), plain),
        lambda setting: setting["weight"],
    )


class Fake:
    """A judge that gives planned accuracies, and keeps what it was shown."""

    def __init__(self, *accuracies: float) -> None:
        self.accuracies, self.seen = list(accuracies), list[tuple[Distilled, RealData]]()

    def __call__(self, made: Distilled, rest: RealData) -> Sequence[float]:
        self.seen.append((made, rest))
        return [self.accuracies[len(self.seen) - 1]]


def cell(mean: float, push: float) -> Cell:
    return Cell({"push": push}, push, (0,), (mean,), 1.0)


def test_the_best_is_chosen_and_ties_go_to_the_smaller_push() -> None:
    cells = [cell(0.8, 0.3), cell(0.9, 2.0), cell(0.9, 1.0), cell(0.89, 0.1)]
    assert chosen(cells) is cells[2]
    assert chosen(cells, tolerance=0.011) is cells[3]
    assert chosen([cells[0], replace(cells[0], seconds=2.0)]) is cells[0]


def test_held_out_images_judge_and_do_not_guide() -> None:
    judge = Fake(0.1, 0.3, 0.9, 0.2, 0.5, 0.6)
    told = calibrate(MODEL, REAL, PLAN, weights(1.0, 2.0, 3.0), judge, seeds=(0, 1), fraction=0.2)
    rest = judge.seen[0][1]
    assert len(rest) == 120 and rest.test is not None and len(rest.test) == told.held_out_images == 30
    assert (rest.counts == 24).all() and rest.test.fingerprint != rest.fingerprint
    assert [c.accuracies for c in told.cells] == [(0.1, 0.3), (0.9, 0.2), (0.5, 0.6)]
    assert told.chosen.setting == {"weight": 2.0} and told.chosen.mean == pytest.approx(0.55)
    sets = [made for made, _ in judge.seen]
    assert torch.equal(
        sets[0].images, REAL.space.from_pixels(((drawn(ipc=2, seed=3 + FRESH, steps=4) + 1) / 2).clamp(0, 1))
    )
    assert [made.meta["seed"] for made in sets] == [FRESH + 3, FRESH + 4] * 3
    assert not torch.equal(sets[0].images, sets[1].images) and not torch.equal(sets[0].images, sets[2].images)


def test_the_record_is_json_with_every_cell() -> None:
    told = calibrate(MODEL, REAL, PLAN, weights(1.0, 2.0), Fake(0.4, 0.4), fraction=0.1)
    record = json.loads(json.dumps(told.as_dict()))
    assert [entry["mean"] for entry in record["cells"]] == [0.4, 0.4] and record["chosen"]["setting"] == {"weight": 1.0}
    assert record["method"] == "weights" and record["held_out_images"] == 15 and record["seconds"] >= 0
    assert record["cells"][0]["seeds"] == [0] and record["budget"] == BUDGET


def test_a_record_is_continued_under_the_same_circumstances(tmp_path: Path) -> None:
    path, candidates = tmp_path / "cells.json", weights(1.0, 2.0, 3.0)

    def run(judge: Fake, **changes: object) -> Calibration:
        return calibrate(MODEL, REAL, PLAN, candidates, judge, **{"record": path, "facts": {"nets": 1}, **changes})

    with pytest.raises(IndexError):
        run(Fake(0.5, 0.7))  # stopped at the third
    judge = Fake(0.6)
    told = run(judge)
    assert len(judge.seen) == 1 and [c.mean for c in told.cells] == [0.5, 0.7, 0.6]
    assert run(Fake()).chosen.setting == {"weight": 2.0}
    other = Fake(0.1, 0.2, 0.3)
    assert run(other, facts={"nets": 2}).chosen.setting == {"weight": 3.0} and len(other.seen) == 3


OTHERS = {
    "sampler": replace(PLAN, sampler=ddim),
    "noise of the sampler": replace(PLAN, sampler=partial(ddim, eta=0.5)),
    "limit": replace(PLAN, limit=1.0),
    "together": replace(PLAN, together=1),
    "channels": replace(PLAN, channels=1),
    "pieces": replace(PLAN, most=2),
    "model": replace(MODEL, denoise=replace(MODEL.denoise, variance=0.04)),  # type: ignore[type-var]
    "settings": replace(weights(1.0), facts={"settings": described(IGDS(clip=None))}),
}


@pytest.mark.parametrize("name", list(OTHERS))
def test_a_record_of_other_circumstances_is_not_reused(tmp_path: Path, name: str) -> None:
    def run(judge: Fake, other: Plan | DiffusionModel | Candidates | None) -> None:
        model, plan = (other if isinstance(other, kind) else usual for kind, usual in USUAL)
        one = other if isinstance(other, Candidates) else replace(weights(1.0), facts={"settings": described(IGDS())})
        calibrate(model, REAL, plan, one, judge, record=tmp_path / "cells.json")

    for other in (None, OTHERS[name]):
        judge = Fake(0.5)
        run(judge, other)
        assert len(judge.seen) == 1
        run(Fake(), other)  # nothing is judged: the same circumstances


def test_the_settings_of_igds_are_in_its_circumstances() -> None:
    """Whatever changes the images a candidate means changes what a record has to agree with; equal ones do not."""
    teachers = IGDS(teachers=TEACHERS, noisy_classifier=nn.Linear(2, 2))
    other = IGDS(teachers=TEACHERS, noisy_classifier=nn.Linear(2, 2))
    whole = [teachers, other, *(replace(IGDS(), **change) for change in CHANGES)]
    told = [json.dumps(igds_candidates(3, how).facts) for how in (IGDS(), *whole)]
    assert len(set(told)) == len(told)
    assert told[0] == json.dumps(igds_candidates(3, IGDS()).facts)
    assert json.dumps(igds_candidates(3).facts) == told[0] != json.dumps(igds_candidates(2).facts)


CHANGES: list[dict[str, object]] = [
    {"clip": None}, {"clip": 2.0}, {"window": (0.0, 0.5)}, {"per_class": 7}, {"rule": bayes}, {"feature": Pooled(4)},
    {"route": through_denoiser}, {"prototype": PROTOTYPES["p1"]}, {"contextual": CONTEXTUALS["c7"]},
    {"bandwidth": Tightest(2.0)}, {"scale": Fixed(0.5)}, {"scale": lambda n: 0.5}, {"scale": lambda n: 0.7},
]  # fmt: skip
USUAL = ((DiffusionModel, MODEL), (Plan, PLAN))


def test_the_budget_is_kept() -> None:
    with pytest.raises(ValueError, match=r"1\.\.2 settings with 1 seed or more, got 3 and 1"):
        calibrate(MODEL, REAL, PLAN, weights(1.0, 2.0, 3.0), Fake(), budget=2)
    for settings, seeds in (((1.0,), ()), ((), (0,))):
        with pytest.raises(ValueError, match="calibration tries"):
            calibrate(MODEL, REAL, PLAN, weights(*settings), Fake(), seeds=seeds)


def test_real_networks_judge(tmp_path: Path) -> None:
    """Two networks a set; test images are never looked at: there are none."""
    judge = held_out_accuracy(Affine, EvaluationProtocol("brief", 8, 8, batch=16, lr=0.1), nets=2, cache=tmp_path)
    told = calibrate(MODEL, REAL, replace(PLAN, steps=10), weights(1.0, 1.5), judge)
    assert all(len(c.accuracies) == 2 and 0.5 < c.mean <= 1 for c in told.cells)
    assert told.chosen.mean == max(c.mean for c in told.cells)
