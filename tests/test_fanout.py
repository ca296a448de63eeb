"""Fan-out: the results of one process bitwise, in order; a worker that is killed loses nothing."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fanning import always_killed, failing, killed_once, spread
from infodistill.evaluation.evaluating import evaluate
from infodistill.nets.convnet import convnet
from infodistill.scale.asked import asked_workers, fan_of
from infodistill.scale.fanout import one_by_one
from infodistill.scale.ray_workers import RayWorkers
from scoring import PROTOCOL
from toys import Affine, artefact, real_data, soft_artefact


@pytest.fixture(scope="module")
def two() -> Iterator[RayWorkers]:
    """Two workers of a Ray of its own."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:  # worker processes find `fanning` where this one does
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        yield RayWorkers(2)
        ray.shutdown()


def test_one_by_one_is_lazy_ordered_and_on_one_thread() -> None:
    begun, done, threads = list[int](), list[int](), torch.get_num_threads()

    def jobs() -> Iterator[int]:
        for job in range(3):
            begun.append(job)
            yield job

    results = one_by_one(spread, torch.ones(9), jobs(), done.append)
    assert next(results)[1] == 1 and begun == [0] and done == [1]
    assert len(list(results)) == 2 and done == [1, 2, 3]
    assert torch.get_num_threads() == threads


def test_workers_are_asked_for_in_words() -> None:
    assert asked_workers("3") == 3
    assert fan_of(None) is None and fan_of("1") is one_by_one
    for wrong in ("0", "-1", "two", "ray:", "ray:0", "ray:x", "dask:2", ""):
        with pytest.raises(ValueError, match=r"--workers is a number from 1, ray or ray:N"):
            asked_workers(wrong)
    with pytest.raises(ValueError, match="1, ray or ray:N here, got '2'"):
        fan_of("2")


def test_ray_is_asked_for_in_words() -> None:
    pytest.importorskip("ray")
    assert asked_workers("ray") == RayWorkers() and asked_workers("ray:4") == RayWorkers(4)


def test_without_ray_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "infodistill\[ray\]"'):
        asked_workers("ray:2")


def test_two_ray_workers_give_the_bits_of_one_process(two: RayWorkers) -> None:
    values, done = torch.linspace(-1, 1, 100_003), list[int]()
    alone = list(one_by_one(spread, values, range(7)))
    together = list(two(spread, values, range(7), done.append))
    assert len(alone) == len(together) == 7
    for (one, threads), (other, there) in zip(alone, together, strict=True):
        assert torch.equal(one, other) and threads == there == 1
    assert done == list(range(1, 8))


def test_killing_workers_mid_job_loses_nothing(two: RayWorkers, tmp_path: Path) -> None:
    values = torch.linspace(-1, 1, 10_007)
    together = list(two(killed_once, (tmp_path, values), range(5)))
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["1", "3"]  # both were killed
    for (one, _), (other, _) in zip(one_by_one(spread, values, range(5)), together, strict=True):
        assert torch.equal(one, other)


def test_a_job_that_kills_every_worker_ends_in_one_sentence(two: RayWorkers) -> None:
    with pytest.raises(ChildProcessError, match="died 1 times"):
        list(RayWorkers(2, retries=0)(always_killed, None, [0]))


def test_an_error_of_a_job_comes_in_its_place_as_it_was_raised(two: RayWorkers) -> None:
    results = two(failing, None, range(4))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match=r"^job 2 cannot be done$"):
        next(results)


def test_an_evaluation_by_two_workers_is_that_of_one_process(two: RayWorkers, tmp_path: Path) -> None:
    """Every column, several sets and networks, and what is left in the cache."""
    nets = {"small": convnet(depth=1, width=4), "affine": Affine}
    sets, real = [soft_artefact(), replace(soft_artefact(), scalars={})], real_data()
    told = list[tuple[str, int, int]]()
    how: dict[str, Any] = {"protocol": PROTOCOL, "seeds": (0, 1), "random_subsets": 3, "full": True}
    alone = evaluate(sets, real, nets, **how, cache=tmp_path / "alone", workers=one_by_one)
    plain = evaluate(sets, real, nets, **how)
    both = evaluate(sets, real, nets, **how, cache=tmp_path / "both", workers=two, progress=lambda *a: told.append(a))
    assert both.record()["values"] == alone.record()["values"] == plain.record()["values"]
    left = [{path.name: path.read_text() for path in (tmp_path / name).iterdir()} for name in ("alone", "both")]
    assert left[0] == left[1]
    count = 2 * (3 + 4 + 4 + 2)  # the subset of the same bytes is the random one here, and trained once
    assert told == [("networks", done, count) for done in range(1, count + 1)]


def test_workers_train_only_what_the_cache_lacks(tmp_path: Path) -> None:
    asked = list[Any]()

    def counting(work: Any, shared: Any, jobs: Any, done: Any) -> Any:
        asked.append([job.what for job in jobs])
        return one_by_one(work, shared, jobs, done)

    how: dict[str, Any] = {"protocol": PROTOCOL, "seeds": (0, 1), "cache": tmp_path, "workers": counting}
    first, second = (evaluate(artefact(), real_data(), {"affine": Affine}, random_subsets=n, **how) for n in (2, 4))
    assert asked == [["random"] * 2 + ["distilled"] * 2, ["random"] * 2 + ["distilled"] * 2]
    assert second.nets["affine"]["random"].values[:2] == first.nets["affine"]["random"].values
