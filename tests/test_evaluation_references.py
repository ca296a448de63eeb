"""The reference columns of evaluate: random subsets and full data, computed once per key and resumed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from infodistill.evaluation import evaluating
from infodistill.nets.convnet import convnet
from infodistill.real import RealData
from scoring import NET, PROTOCOL, count_trainings, run, values
from toys import NAMES, SPACE, artefact, images, real_data


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return count_trainings(monkeypatch)


def test_random_subsets_are_distinct_balanced_and_not_the_artefacts(trained: list[int]) -> None:
    real = real_data()
    rows = {tuple(real.sample(evaluating.key(s, "evaluate.random"), 2).tolist()) for s in range(5)}
    assert len(rows) == 5
    run(artefact(), real, NET)
    assert trained == [6] * 8


def test_references_are_computed_once_per_key(tmp_path: Path, trained: list[int]) -> None:
    real, go = real_data(), partial(run, cache=tmp_path)
    first = go(artefact(), real, NET)
    assert len(trained) == 3 + 5
    second = go(artefact(seed=1), real, NET)
    assert len(trained) == 8 + 3 and values(first, "random") == values(second, "random")
    changes: list[dict[str, Any]] = [
        {"distilled": artefact(ipc=3)},
        {"real": RealData(*images(12, 7), NAMES, SPACE, "toys", test=real.test)},
        {"nets": {"small": convnet(depth=1, width=5)}},
        {"nets": {"renamed": NET["small"]}},
        {"protocol": replace(PROTOCOL, epochs=5)},
    ]
    for change in changes:
        trained.clear()
        go(**{"distilled": artefact(), "real": real, "nets": NET, **change})
        assert len(trained) == 8, change
    trained.clear()
    go(artefact(), real, NET, protocol=replace(PROTOCOL, note="other words"))
    assert len(trained) == 3


def test_an_interrupted_reference_continues(
    tmp_path: Path, trained: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(artefact(), real_data(), NET)
    trained.clear()
    counting = evaluating.fit

    def stopping(*arguments: Any, **options: Any) -> None:
        if len(trained) == 3:
            raise KeyboardInterrupt
        counting(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(evaluating, "fit", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(artefact(), real_data(), NET, cache=tmp_path)
    trained.clear()
    resumed = run(artefact(), real_data(), NET, cache=tmp_path)
    assert len(trained) == 2 + 3
    assert values(resumed, "random") == values(whole, "random")


def test_a_damaged_cache_counts_as_empty(tmp_path: Path, trained: list[int]) -> None:
    run(artefact(), real_data(), NET, cache=tmp_path)
    [entry] = tmp_path.iterdir()
    for content in (entry.read_text()[:50], entry.read_text().replace("toys", "x").replace('"ipc', '"'), "[1]"):
        entry.write_text(content if content != entry.read_text() else '{"key": {}, "accuracies": [1.0]}')
        trained.clear()
        run(artefact(), real_data(), NET, cache=tmp_path)
        assert len(trained) == 8


def test_full_data_only_when_asked_or_cached(tmp_path: Path, trained: list[int]) -> None:
    real = real_data()
    asked = run(artefact(), real, NET, cache=tmp_path, full=True)
    assert trained.count(len(real)) == 3 and asked.nets["small"]["full"].n == 3
    assert asked.as_dict()["nets"]["small"]["full_reason"] is None
    trained.clear()
    later = run(artefact(seed=1), real, NET, cache=tmp_path)
    assert trained == [6] * 3 and values(later, "full") == values(asked, "full")


def test_full_data_trains_for_full_epochs() -> None:
    seen: dict[str, int] = {}
    run(artefact(), real_data(), NET, full=True, progress=lambda what, done, total: seen.update({what: total}))
    assert seen == {"small: random 2/class": 6, "small: distilled": 6, "small: full data": 3}
