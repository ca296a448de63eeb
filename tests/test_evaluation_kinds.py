"""Evaluating sets with learned labels, factors and scalars: the columns, the targets, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from infodistill.evaluation import evaluating
from infodistill.evaluation.evaluating import same_bytes_ipc
from infodistill.evaluation.protocols import PROTOCOLS, EvaluationProtocol
from infodistill.evaluation.references import random_ipc
from infodistill.types import LabelKind
from scoring import NET, PROTOCOL, count_trainings, run, values
from test_distilled_kinds import factored, scored
from toys import artefact, real_data, soft_artefact

SQUARED = replace(PROTOCOLS["frepo"], epochs=4, updates=4, full_epochs=2, augment="none")


@pytest.fixture
def targets(monkeypatch: pytest.MonkeyPatch) -> list[tuple[LabelKind, torch.Tensor]]:
    """The kind and the first target of every network training that really happens from now on."""
    seen: list[tuple[LabelKind, torch.Tensor]] = []
    original = evaluating.fit

    def recording(module: Any, data: Any, *rest: Any, **options: Any) -> None:
        batch = data.rows(torch.arange(1))
        seen.append((batch.kind, batch.target[0]))
        original(module, data, *rest, **options)

    monkeypatch.setattr(evaluating, "fit", recording)
    return seen


def test_scores_have_every_column_and_hard_labels_are_centred(targets: list[Any]) -> None:
    made = scored()
    result = run(made, real_data(), NET, protocol=SQUARED, seeds=(0,), random_subsets=1, full=True)
    assert set(result.nets["small"]) == {"random", "random_same_bytes", "distilled", "distilled_hard", "full"}
    assert {kind for kind, _ in targets} == {LabelKind.SCORES}
    random, own, *others = [target for _, target in targets]  # random_same_bytes is the same column here
    assert torch.equal(own, made.target()[0])
    for target in (random, *others):
        assert sorted(target.tolist()) == pytest.approx([-1 / 3, -1 / 3, 2 / 3])


def test_hard_sets_may_be_trained_by_squared_error(targets: list[Any]) -> None:
    run(artefact(), real_data(), NET, protocol=SQUARED, seeds=(0,), random_subsets=1)
    assert [kind for kind, _ in targets] == [LabelKind.SCORES] * 2


def test_probabilities_are_trained_on_as_they_are(targets: list[Any]) -> None:
    made = soft_artefact()
    run(made, real_data(), NET, seeds=(0,), random_subsets=1)
    assert torch.equal(targets[1][1], made.target()[0])


def test_a_loss_that_does_not_fit_the_labels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = count_trainings(monkeypatch)
    with pytest.raises(ValueError, match=r"'quick' trains by cross_entropy, which wants probabilities.*are scores"):
        run(scored(), real_data(), NET)
    with pytest.raises(ValueError, match=r"'frepo' trains by squared_error, which wants scores.*are probabilities"):
        run(soft_artefact(), real_data(), NET, protocol=SQUARED)
    assert trained == []
    run(scored().hard(), real_data(), NET, seeds=(0,), random_subsets=1)


def test_factors_and_scalars_add_the_same_bytes_column() -> None:
    result = run(factored(), real_data(), NET)
    assert set(result.nets["small"]) == {"random", "random_same_bytes", "distilled"}
    assert values(result, "distilled") == values(run(artefact(), real_data(), NET), "distilled")
    assert result.images_bytes == 176 and result.labels_bytes == 48


def test_how_many_real_images_the_bytes_of_a_set_buy() -> None:
    real, one = real_data(), 64 * 4 + 8
    made = factored()
    assert same_bytes_ipc(made, real) == max(1, (176 + 48 + 4) // (3 * one)) == 1
    big = replace(made, factors={"rows": torch.zeros(6, 500)})
    assert (12000 + 48 + 4) // (3 * one) == 15 and same_bytes_ipc(big, real) == int(real.counts.min()) == 12
    rates = replace(artefact(), scalars={"rates": torch.zeros(300)})
    assert same_bytes_ipc(rates, real) == (6 * 256 + 48 + 1200) // (3 * one) == 3
    assert same_bytes_ipc(scored(), real) == 2


def test_decoded_images_may_outnumber_the_smallest_class() -> None:
    real, made = real_data(per_class=3), artefact(ipc=5)
    many = replace(made, factors={"rows": torch.zeros(15, 2)})
    assert random_ipc(many, real) == 3 and random_ipc(made, real) == 5
    result = run(many, real, NET, seeds=(0,), random_subsets=1)
    assert result.ipc == 5 and "random_same_bytes" in result.nets["small"]


def test_tiles_count_as_the_images_they_are_stored_in() -> None:
    """Random subsets have the stored number of images: the field's IPC, and the bytes of the set."""
    real = real_data()
    tiled = artefact(ipc=4)
    tiled = replace(tiled, factors={"rows": torch.zeros(3, *tiled.shape)})
    assert (tiled.ipc, tiled.stored_ipc, random_ipc(tiled, real)) == (4, 1, 1)
    assert run(tiled, real, NET, seeds=(0,), random_subsets=1).ipc == 1
    with pytest.raises(ValueError, match="sets of 1 and 4 images per class"):
        run([tiled, artefact(ipc=4)], real, NET, seeds=(0,), random_subsets=1)


def test_fewer_images_than_classes_are_compared_with_one_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, trained = soft_artefact(ipc=1), count_trainings(monkeypatch)
    assert whole.soft_labels is not None
    two = replace(whole, images=whole.images[:2], y=whole.y[:2], soft_labels=whole.soft_labels[:2])
    result = run(two, real_data(), NET, seeds=(0,), random_subsets=1)
    assert trained == [3, 2, 2] and result.ipc == 1


def test_updates_are_made_up_by_whole_passes() -> None:
    protocol = PROTOCOLS["frepo"]
    assert [protocol.passes(rows) for rows in (None, 10, 500, 501, 1000, 5000)] == [1000, 1000, 1000, 500, 500, 100]
    assert protocol.fit(rows=501).epochs == 500 and protocol.fit(7, rows=501).epochs == 7
    assert PROTOCOLS["dsa"].passes(5000) == 1000


def test_the_plan_of_a_squared_error_training_keeps_its_loss(targets: list[Any]) -> None:
    plan = ({"rows": None, "rates": [0.1], "steps": 1}, {"rows": None, "rates": None, "epochs": 2})
    run(replace(scored(), plan=plan), real_data(), NET, protocol=SQUARED, seeds=(0,), random_subsets=1)
    from infodistill.descent import squared_error_rows
    from infodistill.evaluation.protocols import phases

    assert [how.loss for _, how in phases(plan, SQUARED, scored().batch())] == [squared_error_rows] * 2
    assert len(targets) == 1 + 2 + 2


def test_old_keys_of_references_and_old_stored_protocols_stay_valid() -> None:
    old = {
        "name": "quick", "epochs": 6, "full_epochs": 3, "batch": 256, "lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4,
        "drop": 0.1, "drop_offset": 0, "extra_passes": 0, "augment": "shift1", "note": PROTOCOL.note,
    }  # fmt: skip
    assert PROTOCOL.as_dict() == old and EvaluationProtocol.from_dict(old) == PROTOCOL
    for bad in ({"loss": "hinge"}, {"optimiser": "lamb"}, {"updates": 0}):
        with pytest.raises(ValueError, match="a protocol"):
            EvaluationProtocol.from_dict({**old, **bad})
