"""What a family can extract: a lower bound for every family and fit, read on rows that chose nothing."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import one_hot

from infodistill.information import (
    as_given,
    calibrated,
    label_entropy,
    linear,
    network,
    scaled_together,
    standardised,
    usable_information,
)
from infodistill.information.usable import Predictor, log_likelihood, temperature
from infodistill.nets import by_name
from infodistill.training import Fit
from infodoubles import gaussian

normal = partial(gaussian, owner="usable")
IMAGES = normal(10, 2, 3, 3) * torch.tensor([2.0, 5]).view(-1, 1, 1)
MLP = network(by_name("mlp"), Fit(epochs=20, batch=16, lr=0.02, momentum=0.9))


def told(log_q: Tensor) -> Predictor:
    """The predictor that says the same of everything."""
    return lambda x: log_q.expand(len(x), -1)


def test_it_is_the_entropy_of_the_test_labels_less_their_cross_entropy() -> None:
    labels = torch.tensor([0, 0, 0, 1, 2, 2])
    q = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    x = torch.zeros(6, 1, dtype=torch.float64)
    found = usable_information(x, labels, x, labels, lambda a, target: told(q.log()))
    p = torch.tensor([3, 1, 2], dtype=torch.float64) / 6
    assert found == pytest.approx(float(-(p * (p / q).log()).sum()), abs=1e-12)
    best = usable_information(x, labels, x, labels, lambda a, target: told(p.log()))
    assert best == pytest.approx(0, abs=1e-12)
    assert label_entropy(labels) == pytest.approx(float(-(p * p.log()).sum()), abs=1e-12)


def test_the_reading_is_at_most_the_information_on_average_over_test_sets() -> None:
    """The best predictor of independent labels: I = 0, and the mean reading of 5 rows is below it."""
    y = torch.randint(2, (3000, 5), generator=torch.Generator().manual_seed(0))
    half = torch.full((2,), -math.log(2), dtype=torch.float64)
    x, both = torch.zeros(5, 1), torch.tensor([0, 1])
    values = [usable_information(x[:2], both, x, row, lambda a, target: told(half)) for row in y]
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
    log_q = linear()(x, one_hot(y))(x).log_softmax(1)
    odds = log_q[:, 1] - log_q[:, 0]
    slope = (odds[1] - odds[0]) / (x[1, 0] - x[0, 0])
    assert float(slope) == pytest.approx(1.0, abs=0.3)  # N(0, 1) against N(1, 1)
    torch.testing.assert_close(log_q.exp().sum(1), torch.ones(400, dtype=torch.float64))


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("l2", [None, 0.01])
def test_the_linear_family_is_scikit_learns_logistic_regression(classes: int, l2: float | None) -> None:
    """The same penalty (with two classes scikit-learn has half of our weights), and log q within 1e-4 of a row."""
    n, y = 60 * classes, torch.arange(60 * classes) % classes
    x = (normal(n, 6) + 1.5 * one_hot(y, 6)) * torch.linspace(1, 4, 6) + 2
    ours = linear(l2, tolerance=1e-12)(x, one_hot(y, classes))(x).log_softmax(1)
    rows = ((x - x.mean(0)) / x.std(0)).numpy()
    strength = (2 if classes == 2 else 1) / (1 if l2 is None else l2 * n)
    model = LogisticRegression(C=strength, max_iter=1000, tol=1e-8).fit(rows, y.numpy())
    torch.testing.assert_close(ours, torch.from_numpy(model.predict_log_proba(rows)), atol=1e-4, rtol=0)
    usual = linear(l2)(x, one_hot(y, classes))(x).log_softmax(1)
    torch.testing.assert_close(usual, ours, atol=2e-3, rtol=0)


def test_a_soft_label_is_a_share_of_hard_rows() -> None:
    """Targets of quarters: the same optimum as four rows with one hard label each."""
    target = torch.tensor([[4, 0, 0], [1, 3, 0], [0, 2, 2], [1, 1, 2]]).repeat(5, 1)
    x = normal(20, 3) + target
    hard = torch.cat([torch.arange(3).repeat_interleave(row) for row in target])
    soft = linear(0.1, tolerance=1e-12, scaling=as_given)(x, target / 4)(x)
    again = linear(0.1, tolerance=1e-12, scaling=as_given)(x.repeat_interleave(4, 0), one_hot(hard))(x)
    torch.testing.assert_close(soft, again, atol=1e-4, rtol=0)


def test_scalings_are_fixed_by_the_training_rows() -> None:
    rows = normal(50, 3) * torch.tensor([1, 10, 0]) + 5
    each, together, image = (s(r) for s, r in ((standardised, rows), (scaled_together, rows), (standardised, IMAGES)))
    torch.testing.assert_close(each(rows).var(0), torch.tensor([1, 1, 0]).double())
    assert float(together(rows).square().mean()) == pytest.approx(1)
    moved = together(rows + 1) - together(rows)
    torch.testing.assert_close(moved, moved[:1, :1].expand_as(moved))  # one scale, and the training rows' centre
    torch.testing.assert_close(image(IMAGES).var((0, 2, 3)), torch.ones(2).double())


def test_the_temperature_is_the_likeliest_and_the_least_sure_of_equals() -> None:
    right = torch.eye(3)
    assert temperature(right, right.roll(1, 0)) == math.inf  # always wrong: it claims nothing
    assert temperature(1e9 * right, right) == 100  # log q is 0 at every temperature
    target = torch.tensor([[0.7, 0.3]])
    assert temperature(3 * target.log(), target) == pytest.approx(3, rel=0.06)  # the grid's step is 12 %


def test_the_likelihood_of_soft_and_impossible_classes() -> None:
    target = torch.tensor([[0.5, 0.5, 0], [1, 0, 0]])
    scores = torch.tensor([[0.25, 0.75, 0], [0.5, 0.5, 0]]).log() + 7
    expected = torch.tensor([(math.log(0.25) + math.log(0.75)) / 2, math.log(0.5)], dtype=torch.float64)
    torch.testing.assert_close(log_likelihood(scores, target), expected, atol=1e-6, rtol=0)
    assert log_likelihood(scores, target.flip(1)).tolist()[0] == -math.inf


def test_a_temperature_mends_confidence_and_only_from_training_rows() -> None:
    y = torch.arange(300) % 2
    x = (normal(300, 1) + 0.5 * (2 * y[:, None] - 1)).double()

    def sure(train_x: Tensor, target: Tensor) -> Predictor:
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

    def family(train_x: Tensor, target: Tensor) -> Predictor:
        seen.append(target.argmax(1))
        return linear()(train_x, target)

    assert math.isfinite(usable_information(x, y, x, y, calibrated(family, 0.5, seed)))
    assert sorted(set(seen[0].tolist())) == [0, 1, 2, 3]
    assert len(seen[0]) == len(y) - min(round(0.5 * len(y)), len(y) - 4)


def test_nothing_held_back_is_no_temperature() -> None:
    x, target = normal(10, 3), torch.eye(10)
    torch.testing.assert_close(calibrated(linear())(x, target)(x), linear()(x, target)(x))


@pytest.mark.parametrize("name", ["train_x", "test_x"])
def test_rows_that_are_not_finite_are_refused_with_the_argument(name: str) -> None:
    y = torch.arange(12) % 3
    rows = {"train_x": normal(12, 2), "test_x": normal(12, 2)}
    rows[name] = rows[name].clone()
    rows[name][5] = math.nan
    with pytest.raises(ValueError, match=f"^{name} must be finite, got NaN or infinite values in 1 of 12 rows$"):
        usable_information(rows["train_x"], y, rows["test_x"], y, linear())


def test_the_network_is_keyed() -> None:
    target = one_hot(torch.arange(60) % 3)
    x = normal(60, 4)
    one, same = (MLP(x, target)(x) for _ in range(2))
    assert torch.equal(one, same)
    assert not torch.equal(one, network(MLP.factory, MLP.hyper, seed=1)(x, target)(x))


def test_mistakes_say_what_was_wanted() -> None:
    x, y = normal(6, 2), torch.tensor([0, 0, 1, 1, 2, 2])
    with pytest.raises(ValueError, match=r"classes \[2\] of the test rows have no training rows"):
        usable_information(x[:4], y[:4], x, y, linear())
    with pytest.raises((ValueError, TypeError), match=r"equally many|Type-check"):
        usable_information(x, y[:5], x, y, linear())
    with pytest.raises(FloatingPointError, match="not numbers"):
        usable_information(x, y, x, y, lambda a, target: told(torch.full((3,), math.nan)))
