"""Teachers, experts and the cells of a study by workers: the files of one process. Ray where it is installed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from compared import made
from infodistill.cli import app
from infodistill.comparison.comparing import compare
from infodistill.evaluation import assessing
from infodistill.evaluation.evaluating import evaluate
from infodistill.evaluation.protocols import PROTOCOLS
from infodistill.evaluation.result import Result
from infodistill.nets.convnet import convnet
from infodistill.scale.fanout import one_by_one
from infodistill.scale.ray_workers import RayWorkers
from infodistill.scale.recording import record_by
from infodistill.scale.studying import Seat, study_by
from infodistill.sources.expert_recording import record_experts, recording_of
from infodistill.sources.teachers import train_teachers
from infodistill.studies.running import Runner, records_of
from infodistill.training import Fit
from test_study import bare, few
from toys import real_data

NET, FIT = convnet(depth=1, width=4), Fit(2, 16, 0.05)


@pytest.fixture(scope="module")
def two() -> Iterator[RayWorkers]:
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:  # worker processes find the test modules where this one does
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        yield RayWorkers(2)
        ray.shutdown()


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_teachers_by_ray_are_those_of_one_process(two: RayWorkers, tmp_path: Path) -> None:
    told = list[tuple[str, int, int]]()
    how: dict[str, Any] = {"fit": FIT, "seed": 3}
    train_teachers(real_data(), NET, count=1, cache=tmp_path / "ray", **how)  # the pool is continued
    alone = train_teachers(real_data(), NET, count=3, cache=tmp_path / "alone", **how, workers=one_by_one)
    pool = train_teachers(
        real_data(), NET, count=3, cache=tmp_path / "ray", **how, workers=two, progress=lambda *a: told.append(a)
    )
    assert pool.fingerprint == alone.fingerprint and pool.accuracies == alone.accuracies
    assert told[:2] == [("teachers", 2, 3), ("teachers", 3, 3)]
    assert files(tmp_path / "ray") == files(tmp_path / "alone")


def test_experts_by_ray_are_those_of_one_process(two: RayWorkers, tmp_path: Path) -> None:
    recording, done = recording_of(real_data(), NET, fit=FIT, keep=(0, 2), seed=1), list[int]()
    folder = recording.folder(tmp_path / "ray")
    record_by(two, recording, folder, 3, done.append)
    record_by(two, recording, folder, 3, done.append)  # nothing is missing
    record_experts(real_data(), NET, count=3, fit=FIT, keep=(0, 2), seed=1, cache=tmp_path / "alone")
    assert files(tmp_path / "ray") == files(tmp_path / "alone")
    assert done == [1, 2, 3]


@pytest.mark.slow
def test_a_study_by_workers_is_the_study_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stage by stage, and after a stop; the workers are this process, whose study can be made small."""
    monkeypatch.setitem(PROTOCOLS, "quick", replace(PROTOCOLS["quick"], epochs=1))
    study = few()
    monkeypatch.setattr("infodistill.scale.studying.by_name", lambda name: study)
    assert Runner(study, tmp_path / "once").run()
    seat, told = Seat("few", tmp_path / "by", device="cpu"), list[tuple[int, int]]()
    assert not study_by(one_by_one, seat, deadline=0.0)
    assert not records_of(tmp_path / "by")
    assert study_by(one_by_one, seat, tell=lambda what, done, total: told.append((done, total)))
    assert bare(records_of(tmp_path / "by")) == bare(records_of(tmp_path / "once"))
    assert told[-1] == (len(told), len(told))


@pytest.mark.slow
def test_infodistill_teachers_by_ray(two: RayWorkers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    threads, found = torch.get_num_threads(), list[list[float]]()
    small = ["--set", "teachers.epochs=1", "--set", "teachers.count=2", "--set", "teachers.net=convnet1-w2"]
    for workers in ("1", "ray:2"):
        monkeypatch.setenv("INFODISTILL_CACHE", str(tmp_path / workers[:3]))
        done = CliRunner().invoke(app, ["teachers", "--data", "digits", *small, "--workers", workers, "--json"])
        found.append(json.loads(done.stdout)["accuracies"])
    torch.set_num_threads(threads)
    assert len(found[0]) == 2 and found[0] == found[1]
    assert files(tmp_path / "1") == files(tmp_path / "ray")


def test_workers_train_what_a_comparison_misses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders, used = [made(tmp_path / name, method=name, net="convnet1-w4") for name in ("dm", "idm")], list[object]()
    monkeypatch.setattr(assessing, "data_of", lambda *_: real_data())

    def counted(*arguments: Any, workers: object, **options: Any) -> Result:
        used.append(workers)
        return evaluate(*arguments, **options)

    monkeypatch.setattr(assessing, "evaluate", counted)
    asked = assessing.asked_for(
        data=None, protocol=None, device="cpu", precision="float32", seeds=2, workers=one_by_one
    )
    found = compare(folders, seeds=2, asked=asked)
    assert used == [one_by_one] * 2 and found.record["groups"][0]["nets"] == ["convnet1-w4"]


@pytest.mark.parametrize("command", ["experts --data digits", "reproduce igds-digits", "compare one two"])
def test_workers_nobody_knows_are_a_mistake(command: str) -> None:
    done = CliRunner().invoke(app, [*command.split(), "--workers", "dask"])
    assert done.exit_code == 2
    assert "Error: --workers is a number from 1, ray or ray:N, got 'dask'" in done.stderr
