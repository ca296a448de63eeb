"""What a family can extract: a lower bound for every family and fit, read on rows that chose nothing."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from infodistill.information import calibrated, label_entropy, linear, network, usable_information
from infodistill.information.usable import Predictor
from infodistill.nets import by_name
from infodistill.training import Fit
from infodoubles import gaussian

normal = partial(gaussian, owner="usable")
MLP = network(by_name("mlp"), Fit(epochs=20, batch=16, lr=0.02, momentum=0.9))


def told(log_q: Tensor) -> Predictor:
    """The predictor that says the same of everything."""
    return lambda x: log_q.expand(len(x), -1)


def test_it_is_the_entropy_of_the_test_labels_less_their_cross_entropy() -> None:
    labels = torch.tensor([0, 0, 0, 1, 2, 2])
    q = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    x = torch.zeros(6, 1, dtype=torch.float64)
    found = usable_information(x, labels, x, labels, lambda a, b, classes: told(q.log()))
    p = torch.tensor([3, 1, 2], dtype=torch.float64) / 6
    assert found == pytest.approx(float(-(p * (p / q).log()).sum()), abs=1e-12)
    best = usable_information(x, labels, x, labels, lambda a, b, classes: told(p.log()))
    assert best == pytest.approx(0, abs=1e-12)
    assert label_entropy(labels) == pytest.approx(float(-(p * p.log()).sum()), abs=1e-12)


def test_the_reading_is_at_most_the_information_on_average_over_test_sets() -> None:
    """The best predictor of independent labels: I = 0, and the mean reading of 5 rows is below it."""
    y = torch.randint(2, (3000, 5), generator=torch.Generator().manual_seed(0))
    half = torch.full((2,), -math.log(2), dtype=torch.float64)
    x, both = torch.zeros(5, 1), torch.tensor([0, 1])
    values = [usable_information(x[:2], both, x, row, lambda a, b, classes: told(half)) for row in y]
    mean = sum(values) / len(values)
    assert mean < 0
    assert mean == pytest.approx(-1 / 10, abs=0.03)  # -(classes - 1) / 2m to first order
    assert max(values) <= 1e-12


@pytest.mark.parametrize("name", ["linear", "network"])
def test_labels_of_any_names_and_images_or_features(name: str) -> None:
    y = torch.tensor([3, 7, 9]).repeat(40)
    x = normal(120, 4)
    x[torch.arange(120), (y > 3).long() + (y > 7).long()] += 6
    family = {"linear": linear(), "network": MLP}[name]
    flat = usable_information(x[:60], y[:60], x[60:], y[60:], family)
    assert 0.8 < flat <= math.log(3)
    image = x.view(120, 1, 2, 2).float()
    assert 0.8 < usable_information(image[:60], y[:60], image[60:], y[60:], family) <= math.log(3)


def test_a_wider_family_extracts_what_a_linear_one_cannot() -> None:
    x = torch.rand(1200, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1
    y = (x[:, 0] * x[:, 1] > 0).long()  # exclusive or: one bit, none of it linear
    halves = (x[:600], y[:600], x[600:], y[600:])
    wide = network(by_name("mlp"), Fit(epochs=15, batch=32, lr=0.1, momentum=0.9))
    assert usable_information(*halves, linear()) < 0.02
    assert 0.4 < usable_information(*halves, wide) <= math.log(2)


def test_two_classes_are_one_logistic_function() -> None:
    x, y = normal(400, 1), torch.arange(400) % 2
    x = x + y[:, None]
    predictor = linear()(x, y, 2)
    log_q = predictor(x)
    odds = log_q[:, 1] - log_q[:, 0]
    slope = (odds[1] - odds[0]) / (x[1, 0] - x[0, 0])
    assert float(slope) == pytest.approx(1.0, abs=0.3)  # N(0, 1) against N(1, 1)
    torch.testing.assert_close(log_q.exp().sum(1), torch.ones(400, dtype=torch.float64))


def test_a_temperature_mends_confidence_and_only_from_training_rows() -> None:
    y = torch.arange(300) % 2
    x = (normal(300, 1) + 0.5 * (2 * y[:, None] - 1)).double()

    def sure(train_x: Tensor, train_y: Tensor, classes: int) -> Predictor:
        return lambda rows: (50 * torch.cat([-rows, rows], 1)).log_softmax(1)

    halves = (x[:200], y[:200], x[200:], y[200:])
    assert usable_information(*halves, sure) < -1
    assert 0 < usable_information(*halves, calibrated(sure)) < 0.25
    assert usable_information(*halves, calibrated(sure)) == usable_information(*halves, calibrated(sure))


@pytest.mark.parametrize("counts", [(1, 1, 1, 1), (9, 1, 1, 2), (3, 3, 3, 3), (1, 40, 1, 1)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_row_of_every_class_is_never_held_back(counts: tuple[int, ...], seed: int) -> None:
    y = torch.arange(4).repeat_interleave(torch.tensor(counts))
    x = normal(len(y), 2) + y[:, None]
    seen: list[Tensor] = []

    def family(train_x: Tensor, train_y: Tensor, classes: int) -> Predictor:
        seen.append(train_y)
        return linear()(train_x, train_y, classes)

    assert math.isfinite(usable_information(x, y, x, y, calibrated(family, 0.5, seed)))
    assert sorted(set(seen[0].tolist())) == [0, 1, 2, 3]
    assert len(seen[0]) == len(y) - min(round(0.5 * len(y)), len(y) - 4)


def test_nothing_held_back_is_no_temperature() -> None:
    x, y = normal(10, 3), torch.arange(10)
    torch.testing.assert_close(calibrated(linear())(x, y, 10)(x), linear()(x, y, 10)(x))


@pytest.mark.parametrize("name", ["train_x", "test_x"])
def test_rows_that_are_not_finite_are_refused_with_the_argument(name: str) -> None:
    y = torch.arange(12) % 3
    rows = {"train_x": normal(12, 2), "test_x": normal(12, 2)}
    rows[name] = rows[name].clone()
    rows[name][5] = math.nan
    with pytest.raises(ValueError, match=f"^{name} must be finite, got NaN or infinite values in 1 of 12 rows$"):
        usable_information(rows["train_x"], y, rows["test_x"], y, linear())


def test_the_network_is_keyed() -> None:
    y = torch.arange(60) % 3
    x = normal(60, 4)
    one, same = (MLP(x, y, 3)(x) for _ in range(2))
    assert torch.equal(one, same)
    assert not torch.equal(one, network(MLP.factory, MLP.hyper, seed=1)(x, y, 3)(x))


def test_mistakes_say_what_was_wanted() -> None:
    x, y = normal(6, 2), torch.tensor([0, 0, 1, 1, 2, 2])
    with pytest.raises(ValueError, match=r"classes \[2\] of the test rows have no training rows"):
        usable_information(x[:4], y[:4], x, y, linear())
    with pytest.raises((ValueError, TypeError), match=r"equally many|Type-check"):
        usable_information(x, y[:5], x, y, linear())
    with pytest.raises(FloatingPointError, match="not numbers"):
        usable_information(x, y, x, y, lambda a, b, classes: told(torch.full((3,), math.nan)))
