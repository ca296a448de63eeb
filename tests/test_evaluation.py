"""The result of evaluate: the contract's JSON, determinism, plans, value spaces and the refusals."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

import pytest
import torch

from infodistill.compute import Policy
from infodistill.distilled import Distilled
from infodistill.evaluation import evaluating
from infodistill.evaluation.evaluating import evaluate, protocol_of, same_bytes_ipc
from infodistill.evaluation.result import Score
from infodistill.methods import selection
from infodistill.nets import by_name
from infodistill.real import RealData
from infodistill.types import pixel_space
from scoring import NET, PROTOCOL, count_trainings, run, values
from toys import NAMES, SPACE, Affine, artefact, real_data, soft_artefact


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return count_trainings(monkeypatch)


def test_json_is_the_contract() -> None:
    result = run(artefact(), real_data(), NET)
    printed = json.loads(json.dumps(result.as_dict()))
    assert set(printed) == {"protocol", "ipc", "nets", "images_bytes", "labels_bytes", "seconds", "device"}
    assert (printed["protocol"], printed["ipc"], printed["device"]) == ("quick", 2, "cpu")
    columns = printed["nets"]["small"]
    assert set(columns) == {"distilled", "random", "full", "full_reason"}
    assert columns["full"] is None and "--full" in columns["full_reason"]
    for name in ("distilled", "random"):
        assert set(columns[name]) == {"mean", "std", "n", "sets", "nets_per_set"}
        assert 0 <= columns[name]["mean"] <= 1
    assert [columns["distilled"][key] for key in ("n", "sets", "nets_per_set")] == [3, 1, 3]
    assert [columns["random"][key] for key in ("n", "sets", "nets_per_set")] == [5, 5, 1]
    assert printed["images_bytes"] == 6 * 64 * 4 and printed["labels_bytes"] == 48
    json.dumps(result.record(), allow_nan=False)


def test_score_is_mean_and_sample_deviation_over_sets_and_networks() -> None:
    score = Score((0.5, 0.7, 0.9, 0.4), sets=2)
    assert score.mean == fmean(score.values) and score.std == stdev(score.values)
    assert (score.n, score.sets, score.nets_per_set) == (4, 2, 2)
    assert Score((0.5,)).std == 0
    with pytest.raises(ValueError, match="5/2"):
        Score((0.1,) * 5, sets=2)


def test_same_call_same_numbers_and_the_global_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    first, second = (run(artefact(), real_data(), NET) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert first.record()["values"] == second.record()["values"]
    assert values(first, "distilled") != values(run(artefact(), real_data(), NET, seeds=(7, 8, 9)), "distilled")


def test_networks_depend_on_the_seed_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sets are compared from the same initial weights, and one seed's result does not depend on the others."""
    starts: list[float] = []
    original = evaluating.fit

    def recording(module: Any, *rest: Any, **options: Any) -> None:
        starts.append(float(sum(p.detach().double().sum() for p in module.parameters())))
        original(module, *rest, **options)

    monkeypatch.setattr(evaluating, "fit", recording)
    one, other = (run(artefact(seed=s), real_data(), NET, random_subsets=1) for s in (0, 1))
    assert starts[:4] == starts[4:] and len(set(starts[1:4])) == 3
    alone = run(artefact(seed=1), real_data(), NET, seeds=(2,), random_subsets=1)
    assert values(alone, "distilled") == values(other, "distilled")[2:]
    assert values(one, "random") == values(other, "random")


def test_better_sets_score_higher() -> None:
    """Sanity that the number measures the set: class means beat labels in disorder."""
    real, protocol = real_data(per_class=20), replace(PROTOCOL, epochs=40)
    good = artefact(ipc=8)
    bad = Distilled(good.images, good.y[torch.tensor([*range(8, 24), *range(8)])], SPACE, NAMES, meta=good.meta)
    high, low = (run(made, real, NET, protocol=protocol).nets["small"]["distilled"].mean for made in (good, bad))
    assert high > 0.8 > 0.3 > low


def test_soft_labels_add_their_columns(trained: list[int]) -> None:
    soft = soft_artefact()
    result = run(soft, real_data(), NET)
    assert set(result.nets["small"]) == {"random", "random_same_bytes", "distilled", "distilled_hard"}
    assert values(result, "distilled_hard") == values(run(artefact(), real_data(), NET), "distilled")
    total = soft.images_bytes + soft.labels_bytes
    assert same_bytes_ipc(soft, real_data()) == max(2, total // (3 * (64 * 4 + 8)))
    many = Distilled(soft.images, soft.y, SPACE, NAMES, scalars={"x": torch.zeros(400)})
    assert same_bytes_ipc(many, real_data()) == (6 * 256 + 48 + 1600) // (3 * 264)
    assert same_bytes_ipc(many, real_data(per_class=3)) == 3


def test_several_sets_share_the_columns() -> None:
    sets = [artefact(seed=s) for s in (0, 1)]
    together, apart = run(sets, real_data(), NET), [run(made, real_data(), NET) for made in sets]
    score = together.nets["small"]["distilled"]
    assert (score.n, score.sets, score.nets_per_set) == (6, 2, 3)
    assert score.values == values(apart[0], "distilled") + values(apart[1], "distilled")
    with pytest.raises(ValueError, match="2 and 3 images"):
        run([artefact(ipc=2), artefact(ipc=3)], real_data(), NET)


def test_networks_side_by_side() -> None:
    result = run(artefact(), real_data(), {**NET, "affine": Affine_factory})
    assert list(result.nets) == ["small", "affine"]
    table = result.table()
    assert [str(column.header) for column in table.columns] == ["network", "random", "distilled"]
    assert table.row_count == 2


def Affine_factory(shape: tuple[int, int, int], classes: int) -> Affine:
    return Affine(shape, classes)


def test_the_value_space_of_the_set_is_used_for_the_test_images() -> None:
    """The same images written as pixels: a network without augmentation must see the same problem, rescaled."""
    made, protocol = artefact(ipc=6), replace(PROTOCOL, augment="none", epochs=30)
    space = pixel_space(1)
    pixels = Distilled(SPACE.to_pixels(made.images), made.y, space, NAMES, meta=made.meta)
    lied = Distilled(pixels.images - 3, made.y, SPACE, NAMES, meta=made.meta)
    accuracies = [
        run(d, real_data(), NET, protocol=protocol).nets["small"]["distilled"].mean for d in (made, pixels, lied)
    ]
    assert accuracies[0] > 0.8 and accuracies[1] > 0.8
    assert accuracies[2] < accuracies[1] - 0.1


def test_the_artefacts_own_protocol_is_the_default() -> None:
    real = real_data()
    assert protocol_of(artefact(protocol="dc"), real).name == "dc"
    assert protocol_of(artefact(protocol=PROTOCOL.as_dict()), real) == PROTOCOL
    assert protocol_of(artefact(protocol="dsa", data="mnist"), real).augment.count("flip") == 0
    assert protocol_of(artefact(), real).name == "dsa"
    with pytest.raises(ValueError, match="unknown protocol 'nope'"):
        evaluate(artefact(protocol="nope"), real, NET)
    own = evaluate(artefact(protocol=PROTOCOL.as_dict()), real, NET, seeds=(0, 1, 2))
    assert own.record()["values"] == run(artefact(), real, NET).record()["values"]


def test_a_plan_is_replayed(trained: list[int]) -> None:
    made = artefact()
    plan = ({"rows": [0, 2, 4], "rates": None, "epochs": 2}, {"rows": None, "rates": [0.1], "steps": 3})
    run(replace(made, plan=plan), real_data(), NET, seeds=(0,), random_subsets=1)
    assert trained == [6, 3, 6]


def test_what_cannot_be_evaluated_is_refused_before_training(trained: list[int]) -> None:
    real = real_data()
    alone = RealData(real.images, real.labels, NAMES, SPACE, "alone")
    with pytest.raises(ValueError, match="'alone' has no test part"):
        run(artefact(), alone, NET)
    with pytest.raises(ValueError, match="another order"):
        run(artefact(), RealData(real.images, real.labels, NAMES[::-1], SPACE, "toys", test=real.test), NET)
    with pytest.raises(ValueError, match="at least one set"):
        run([], real, NET)
    with pytest.raises(ValueError, match="at least one set and one seed"):
        run(artefact(), real, NET, seeds=())
    assert trained == []


def test_chunked_evaluation_agrees() -> None:
    results = [run(artefact(), real_data(), NET, policy=Policy(chunk=chunk)) for chunk in (6, 2)]
    means = [result.nets["small"]["distilled"].mean for result in results]
    assert means[0] == pytest.approx(means[1], abs=0.09)


@pytest.mark.slow
def test_digits_random_and_full_reach_what_was_measured() -> None:
    """ConvNet depth 2 width 32, protocol quick, IPC 10: random about 0.93, full about 0.975."""
    from infodistill.data import load_data

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    real = load_data("digits")
    made = selection.random(real, 10, seed=0, protocol="quick")
    result = evaluate(made, real, {"convnet2-w32": by_name("convnet2-w32")}, full=True)
    columns = result.nets["convnet2-w32"]
    assert columns["random"].mean == pytest.approx(0.93, abs=0.02)
    assert columns["distilled"].mean == pytest.approx(0.93, abs=0.03)
    assert columns["full"].mean == pytest.approx(0.978, abs=0.012)
