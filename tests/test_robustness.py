"""Label- and augmentation-robust scores: closed numbers, errors, and the cells against single evaluations."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import pytest

from compared import evaluation
from infodistill.artefact import record_result
from infodistill.comparison.robustness import (
    Cells,
    augmentation_robust_score,
    hard_label_recovery,
    improvement_over_random,
    label_robust_score,
    normalised,
    robustness,
    with_and_without,
)
from infodistill.evaluation.evaluating import evaluate, scored
from infodistill.evaluation.protocols import PROTOCOLS
from infodistill.report import report
from infodistill.scale.fanout import one_by_one
from scoring import NET, PROTOCOL
from test_report import checked
from toys import artefact, real_data, soft_artefact


@pytest.mark.parametrize(("value", "score"), [(-1, 0.0), (1, 1.0), (0, 0.2689414214), (0.5, 0.5449457661)])
def test_the_scale_in_closed_numbers(value: float, score: float) -> None:
    assert normalised(value) == pytest.approx(score, abs=1e-9)


def test_zero_is_the_logistic_of_minus_one() -> None:
    assert normalised(0) == pytest.approx(1 / (1 + math.e))


@pytest.mark.parametrize("value", [-1.01, 1.5, 30])
def test_per_cents_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="fractions"):
        normalised(value)


def test_lrs_and_ars_of_given_accuracies() -> None:
    # full 0.9, the set 0.6 hard, 0.7 with its own labels, random 0.4: alpha = (0.3 - 0.3) / 2 = 0
    assert (hard_label_recovery(0.9, 0.6), improvement_over_random(0.7, 0.4)) == pytest.approx((0.3, 0.3))
    assert label_robust_score(0.3, 0.3) == pytest.approx(1 / (1 + math.e))
    assert label_robust_score(1, -1) == pytest.approx(1) and label_robust_score(-1, 1) == pytest.approx(0)
    # beta = (0.2 + 0.4) / 2 = 0.3: (e^0.3 - e^-1) / (e - e^-1) = (1.3498588 - 0.3678794) / 2.3504024
    assert augmentation_robust_score(0.2, 0.4) == pytest.approx(0.4177920, abs=1e-6)
    assert label_robust_score(0.3, 0.1, weight=1.0) == pytest.approx(normalised(0.3))


def cells(augmented: bool = True) -> Cells:
    return Cells(
        full=(0.9, 0.92),
        hard=(0.6, 0.66),
        own=(0.7, 0.74),
        random=(0.4, 0.48),
        own_other=(0.5, 0.56),
        random_other=(0.3, 0.32),
        augmented=augmented,
    )


def test_scores_and_errors_of_cells() -> None:
    found = cells().scores()
    assert found["hlr"] == pytest.approx(0.28) and found["ior"] == pytest.approx(0.28)
    assert found["ior_augmented"] == pytest.approx(0.28) and found["ior_plain"] == pytest.approx(0.22)
    # per network alpha = (0.30 - 0.30) / 2 and (0.26 - 0.26) / 2: no spread at all
    assert found["lrs"] == pytest.approx(normalised(0)) and found["lrs_error"] == pytest.approx(0, abs=1e-12)
    betas = [(0.30 + 0.20) / 2, (0.26 + 0.24) / 2]
    assert found["ars"] == pytest.approx(normalised(fmean(betas)))
    step = 1e-6
    slope = (normalised(0.25 + step) - normalised(0.25 - step)) / (2 * step)
    assert found["ars_error"] == pytest.approx(slope * stdev(betas) / math.sqrt(2), abs=1e-9)
    assert found["hlr_error"] == pytest.approx(stdev([0.30, 0.26]) / math.sqrt(2))
    swapped = cells(augmented=False).scores()
    assert swapped["ior_augmented"] == found["ior_plain"] and swapped["ars"] == found["ars"]
    one = replace(cells(), **{name: (0.5,) for name in ("full", "hard", "own", "random", "own_other", "random_other")})
    assert one.scores()["lrs_error"] is None


def test_the_other_protocol_differs_in_augmentation_alone() -> None:
    augmented, other = with_and_without(PROTOCOLS["idc"], "cifar10")
    assert augmented and (other.augment, other.mix, other.name, other.epochs) == ("none", "none", "idc", 1000)
    augmented, other = with_and_without(PROTOCOLS["dc"], "digits")
    assert not augmented and other.augment.startswith("per-image:") and "flip" not in other.augment
    assert "flip" in with_and_without(PROTOCOLS["dc"], "cifar10")[1].augment


def test_cells_are_those_of_single_evaluations(tmp_path: Path) -> None:
    distilled, real, plain = artefact(), real_data(), replace(PROTOCOL, augment="none")
    found = robustness(distilled, real, ("small", NET["small"]), protocol=PROTOCOL, seeds=(0, 1), cache=tmp_path)
    table = {(c["data"], c["labels"], c["augmented"]): c["mean"] for c in found["cells"]}
    with_it = evaluate(distilled, real, NET, protocol=PROTOCOL, seeds=(0, 1), full=True).nets["small"]
    without = evaluate(distilled, real, NET, protocol=plain, seeds=(0, 1)).nets["small"]
    assert table == {
        ("distilled", "hard", True): with_it["distilled"].mean,
        ("random", "hard", True): with_it["random"].mean,
        ("full", "hard", True): with_it["full"].mean,
        ("distilled", "hard", False): without["distilled"].mean,
        ("random", "hard", False): without["random"].mean,
    }
    assert found["hlr"] == pytest.approx(with_it["full"].mean - with_it["distilled"].mean)
    assert found["lrs"] == pytest.approx(label_robust_score(found["ior"], found["hlr"]))
    assert (found["labels"], found["augmentation"]) == ("hard", "shift1")
    by = robustness(distilled, real, ("small", NET["small"]), protocol=PROTOCOL, seeds=(0, 1), workers=one_by_one)
    assert by == found


def test_soft_labels_meet_random_images_with_a_teachers_labels() -> None:
    distilled, real = soft_artefact(), real_data()
    found = robustness(distilled, real, ("small", NET["small"]), protocol=PROTOCOL, seeds=(0, 1))
    table = {(c["data"], c["labels"], c["augmented"]): c for c in found["cells"]}
    assert {(data, labels) for data, labels, _ in table} == {
        *((data, labels) for data in ("distilled", "random") for labels in ("hard", "soft")),
        ("full", "hard"),
    }
    assert table["random", "soft", True]["n"] == 5
    assert found["ior"] == table["distilled", "soft", True]["mean"] - table["random", "soft", True]["mean"]
    assert found["hlr"] == table["full", "hard", True]["mean"] - table["distilled", "hard", True]["mean"]
    own = scored(distilled, real, NET["small"], protocol=PROTOCOL, seeds=(0, 1))
    assert table["distilled", "soft", True]["mean"] == own.mean


def test_the_report_shows_scores_and_cells(tmp_path: Path) -> None:
    folder = artefact().save(tmp_path / "set")
    record = {**cells().scores(), "labels": "hard", "augmentation": "shift1", "seeds": [0, 1], "weight": 0.5}
    rows = [{"data": "full", "labels": "hard", "augmented": False, "mean": 0.91, "std": 0.01, "n": 2}]
    record_result(folder, {**evaluation({"small": [0.7, 0.74]}), "robust": {"small": {**record, "cells": rows}}})
    text, _ = checked(report([folder], tmp_path))
    assert "Labels, augmentation or images?" in text and ">0.269 <small>" in text and "91.0 ± 1.0" in text
    assert text.count("+28.0") == 3
