"""Studies: settings chosen by validation alone, equal budgets, the same numbers after any stop, and what is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from typer.testing import CliRunner

import infodistill
from analytic import around
from infodistill import studies
from infodistill.cli import app
from infodistill.compute import Policy
from infodistill.distilled import Distilled
from infodistill.information.bandwidths import tightest_bandwidth
from infodistill.information.set_decoder import set_decoder_information
from infodistill.methods.selection import random
from infodistill.studies import finding, running
from infodistill.studies.bench import Bench
from infodistill.studies.guided import by, columns
from infodistill.studies.plots import samples_png
from infodistill.studies.running import Runner, open_folder, records_of
from infodistill.studies.study import FRESH, Budget, Contender, Job, Study, chosen, due, shares, total

ACROSS = ("random", "nearest", "plain", "k-means pull", "P3", "C2", "P3+C2")
"""Columns that need no trained classifier."""


def tiny(**changes: Any) -> Study:
    """The real study of the digits around an exact generator, with two settings, one network and one epoch each."""
    full = studies.by_name("igds-digits")
    kept = tuple(
        replace(one, settings=(lambda n, one=one: one.settings(n)[:2])) for one in columns() if one.name in ACROSS
    )
    small = replace(
        full,
        net="convnet1-w2",
        sizes={1: Budget((1, 1), (2, 1)), 2: Budget((1, 1), (2, 1))},
        contenders=kept,
        prepare=({"nothing": lambda bench: None},),
        generator=lambda bench: around(bench.train, 4),
    )
    return replace(small, **changes)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are trained for one epoch."""
    from infodistill.evaluation.protocols import PROTOCOLS

    monkeypatch.setitem(PROTOCOLS, "quick", replace(PROTOCOLS["quick"], epochs=1))


def few() -> Study:
    """One that is run several times."""
    kept = tuple(one for one in tiny().contenders if one.name in ("random", "plain", "P3"))
    return tiny(contenders=kept, sizes={2: Budget((1, 1), (2, 1))}, against=("plain",), claims=("P3",))


def bare(records: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Without times."""
    return {name: {k: v for k, v in told.items() if "seconds" not in k} for name, told in records.items()}


def test_a_study_in_pieces_and_by_two_processes_is_the_study_at_once(tmp_path: Path) -> None:
    study = few()
    assert Runner(study, tmp_path / "once").run()
    once = records_of(tmp_path / "once")
    assert len(once) == total(study)
    pieces = tmp_path / "pieces"
    assert not Runner(study, pieces, deadline=0.0).run()
    assert not records_of(pieces)
    for _ in range(3):  # two processes that take turns: each does its part of a stage, then its time is over
        for part in range(2):
            _turn(study, pieces, part)
    assert bare(records_of(pieces)) == bare(once)


def _turn(study: Study, folder: Path, part: int) -> None:
    """One process's part of the stage that is due."""

    class Leaving(Runner):
        def _wait(self, stage: Any) -> bool:
            return False

    Leaving(study, folder, part=(part, 2)).run()


def test_the_record_holds_every_accuracy_and_pairs_seeds(tmp_path: Path) -> None:
    study = tiny()
    Runner(study, tmp_path).run()
    found = finding.concluded(study, tmp_path)
    assert found is not None
    assert json.loads((tmp_path / finding.RECORD).read_text()) == found
    assert found["definition"]["fingerprint"] == infodistill.load_data("digits").fingerprint
    assert {(one["contender"], one["ipc"]) for one in found["cells"]} == {(name, n) for name in ACROSS for n in (1, 2)}
    for one in found["cells"]:
        assert one["seeds"] == [0, 1]
        assert one["net_seeds"] == [[0], [1]]
        assert one["mean"] == pytest.approx(sum(map(sum, one["accuracies"])) / 2)
        assert one["setting"] in ([tried["setting"] for tried in one["tried"]] or [{}])
    cells = {(one["contender"], one["ipc"]): one for one in found["cells"]}
    gap = next(one for one in found["paired"] if (one["contender"], one["against"], one["ipc"]) == ("P3", "plain", 2))
    mine, plain = (cells[name, 2]["accuracies"] for name in ("P3", "plain"))
    assert gap["mean"] == pytest.approx(sum(a[0] - b[0] for a, b in zip(mine, plain, strict=True)) / 2)
    assert all(one["seed"] >= FRESH for one in found["validation"])
    assert {path.name for path in tmp_path.glob("*.png")} >= {"accuracy.png", "differences.png", "validation.png"}
    assert samples_png(tmp_path, found, ipc=2, label=3, most=2).startswith(b"\x89PNG")
    text = "\n".join(finding.page(found))
    assert text.count("P3+C2 is") == 2 * len(study.against)
    assert "| nearest |" in text


def test_c2_is_exactly_inert_at_one_image_per_class(tmp_path: Path) -> None:
    study = tiny()
    bench = Bench(study, tmp_path)
    plain = study.contender("plain").make(bench, 1, {"w": 1.0}, 3)
    assert torch.equal(study.contender("C2").make(bench, 1, {"c": 0.5}, 3).images, plain.images)
    assert not torch.equal(study.contender("C2").make(bench, 2, {"c": 0.5}, 3).images[0], plain.images[0])


def test_validation_images_are_shown_to_nobody(tmp_path: Path) -> None:
    bench = Bench(tiny(), tmp_path)
    train, held, test = (
        {bytes(image.numpy().tobytes()) for image in part.pixels(torch.arange(len(part)))}
        for part in (bench.train, bench.held, bench.train.test)  # type: ignore[arg-type]
    )
    assert (len(bench.train), len(bench.held)) == (1001, 296)
    assert not train & held
    assert not (train | held) & test
    assert len(bench.encoded) == len(bench.train)
    job = Job("validation", "random", 1, 0, FRESH, 1)
    assert bench.judged(random(bench.train, 1), job) != bench.judged(random(bench.train, 1), replace(job, phase="test"))


def test_a_set_is_read_on_held_out_images_at_a_bandwidth_of_training_images(tmp_path: Path) -> None:
    bench = Bench(tiny(), tmp_path)
    made = random(bench.train, 2)
    f, y = bench.feature(2 * made.space.to_pixels(made.images) - 1), made.y
    known, held = bench.known_features, bench.held_features
    blurred = (held[0] + 3 * torch.randn(held[0].shape, generator=torch.Generator().manual_seed(0)), held[1])
    bench.__dict__["held_features"] = blurred
    h, wrong = (tightest_bandwidth(*part, f, y, classes=10)[0] for part in (known, blurred))
    told, greedy = (float(set_decoder_information(*blurred, f, y, bandwidth=b, classes=10)) for b in (h, wrong))
    assert h != wrong and bench.measured(made)["prototype"] == pytest.approx(told, abs=1e-5) and told < greedy - 0.01


def test_the_best_on_validation_is_tested_and_ties_go_to_the_mildest() -> None:
    study = tiny()
    scores = {0: 0.5, 1: 0.5}

    def records() -> dict[str, dict[str, Any]]:
        done = {"prepare-nothing": {}}
        stage = due(study, done)
        return done | {job.name: {"accuracies": [scores[job.number]]} for job in stage}

    assert chosen(study, "P3", 2, records()) == 0
    scores[1] = 0.6
    assert chosen(study, "P3", 2, records()) == 1
    tests = due(study, records())
    assert {job.number for job in tests if job.contender == "P3"} == {1}
    assert {job.seed for job in tests} == {0, 1}


def test_every_tuned_contender_has_the_same_budget_in_every_study() -> None:
    for name in studies.TITLES:
        study = studies.by_name(name)
        for ipc in study.sizes:
            counts = {len(one.settings(ipc)) for one in study.contenders} - {1}
            assert len(counts) == 1
            assert max(counts) <= 24
        assert set(study.against) | set(study.claims) <= {one.name for one in study.contenders}
    uneven = (Contender("a", "", by(lambda *given: None), lambda n: ({}, {})), *tiny().contenders[2:])  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match="equally many settings"):
        tiny(contenders=(*uneven, replace(uneven[0], name="b", settings=lambda n: ({}, {}, {}))))


def test_work_is_shared_whole_and_evenly() -> None:
    jobs = [Job("test", "random", ipc, 0, seed, 3) for ipc in (1, 10, 50) for seed in range(5)]
    parts = shares(jobs, 2)
    assert sorted(job.name for part in parts for job in part) == sorted(job.name for job in jobs)
    costs = [sum(job.cost for job in part) for part in parts]
    assert max(costs) < 1.2 * min(costs)


def test_another_definition_is_refused_and_says_what_differs(tmp_path: Path) -> None:
    real, policy = infodistill.load_data("digits"), Policy()
    open_folder(tiny(), tmp_path, real, policy)
    open_folder(tiny(), tmp_path, real, policy)
    told = json.loads((tmp_path / "definition.json").read_text())
    assert (told["data"], told["fingerprint"]) == ("digits", real.fingerprint)
    assert (told["device"], told["precision"]) == ("cpu", "float32")
    with pytest.raises(ValueError, match=r"another definition \(net convnet1-w2, now convnet1-w4\)"):
        open_folder(tiny(net="convnet1-w4"), tmp_path, real, policy)
    with pytest.raises(ValueError, match=r"definition \(precision float32, now bf16\): give another --out"):
        open_folder(tiny(), tmp_path, real, replace(policy, precision="bf16"))
    with pytest.raises(ValueError, match=r"definition \(device cpu, now cuda\)"):
        open_folder(tiny(), tmp_path, real, replace(policy, device="cuda"))
    with pytest.raises(ValueError, match=r"definition \(fingerprint \w{12}, now \w{12}\)"):
        open_folder(tiny(), tmp_path, real.split(0.5, 0)[0].replace(name="digits"), policy)


def test_data_in_a_folder_are_known_by_what_they_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the record nor the definition names a path, and a folder may be moved."""
    real = infodistill.load_data("digits")
    assert real.test is not None
    held = {"images": real.images, "labels": real.labels, "test_images": real.test.images}
    arrays = {name: value.numpy() for name, value in {**held, "test_labels": real.test.labels}.items()}
    monkeypatch.setattr(running, "due", lambda study, records: [])
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        numpy.savez(tmp_path / place / "mine.npz", **arrays)
        assert Runner(few(), tmp_path / "run", data=str(tmp_path / place / "mine.npz")).run()
    text = (tmp_path / "run" / "definition.json").read_text()
    assert json.loads(text)["data"] == "mine" and str(tmp_path) not in text


def test_the_command_stops_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infodistill.studies.finding.by_name", lambda name: few())
    args = ("reproduce", "igds-digits", "--out", str(tmp_path), "--workers", "1")
    stopped = CliRunner().invoke(app, [*args, "--minutes", "0"], catch_exceptions=False)
    assert f"stopped after 0 of {total(few())} jobs" in stopped.stderr
    done = CliRunner().invoke(app, [*args, "--json"], catch_exceptions=False)
    assert json.loads(done.stdout)["study"] == "igds-digits"
    listed = CliRunner().invoke(app, ["reproduce", "--out", str(tmp_path), "--only", "igds-digits", "--json"])
    (row,) = json.loads(listed.stdout)
    assert row["ours"] == {"cells": 3}
    assert "not run" in CliRunner().invoke(app, ["reproduce", "--only", "igds-mnist"]).stdout


def test_a_contender_makes_what_it_says(tmp_path: Path) -> None:
    study, bench = tiny(), Bench(tiny(), tmp_path)
    for one in study.contenders:
        made = one.make(bench, 2, one.settings(2)[0], 0)
        assert isinstance(made, Distilled)
        assert made.y.tolist() == torch.arange(10).repeat_interleave(2).tolist()
        assert torch.equal(made.images, one.make(bench, 2, one.settings(2)[0], 0).images)
        if one.name != "nearest":  # k-means finds the same centres from most seeds
            assert not torch.equal(made.images, one.make(bench, 2, one.settings(2)[0], 1).images)
