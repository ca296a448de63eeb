"""CMI and pair bounds of large samples: the numbers of the small differentiable forms, in blocks."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch

from infodistill.information import (
    channel_class_bounds,
    code_bound,
    conditional_mutual_information,
    empirical_cmi,
    kolchinsky_tracey,
    neighbours,
    pairwise_kl_upper_bound,
    row_information_bounds,
    sample_cmi,
    sample_cmi_about,
)
from infodoubles import gaussian
from oracles import information as oracle

normal = partial(gaussian, owner="samples")
LABELS = torch.tensor([2, 5, 5, 9, 2, 5, 9, 9, 9, 2])


@pytest.mark.parametrize("block", [4096, 3])
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_own_centroids_are_the_terms_value(block: int, temperature: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(empirical_cmi, "BLOCK", block)
    z = normal(10, 4)
    expected = conditional_mutual_information((z / temperature).softmax(1), LABELS)
    assert sample_cmi(z, LABELS, temperature) == pytest.approx(float(expected), abs=1e-12)
    assert sample_cmi(z.float(), LABELS, temperature) == pytest.approx(float(expected), abs=1e-6)


def test_real_centroids_are_the_oracles_and_never_below_the_own() -> None:
    z, real, real_y = normal(10, 4), normal(30, 4, key=1), torch.tensor([2, 5, 9]).repeat(10)
    found = sample_cmi_about(z, LABELS, real, real_y)
    p, q = (oracle.softmax(side.numpy()) for side in (z, real))
    assert found == pytest.approx(oracle.centroid_divergence(p, LABELS.numpy(), q, real_y.numpy()), abs=1e-12)
    assert found > sample_cmi(z, LABELS)
    extra = torch.cat([real, normal(3, 4, key=2)])
    assert sample_cmi_about(z, LABELS, extra, torch.cat([real_y, torch.full((3,), 7)])) == pytest.approx(
        found, abs=1e-12
    )


def test_the_hand_value_and_the_ranges() -> None:
    z = torch.tensor([[0, math.log(3)], [math.log(3), 0]], dtype=torch.float64)
    assert sample_cmi(z, torch.zeros(2, dtype=torch.int64)) == pytest.approx(0.130812, abs=1e-6)
    assert sample_cmi(z, torch.arange(2)) == 0
    assert sample_cmi(800 * torch.eye(6).double(), torch.zeros(6, dtype=torch.int64)) == pytest.approx(math.log(6))
    with pytest.raises(ValueError, match="have none"):
        sample_cmi_about(z, torch.arange(2), z, torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        sample_cmi(z, torch.arange(2), 0.0)
    with pytest.raises((ValueError, TypeError), match=r"as many rows|Type-check"):
        sample_cmi(z, torch.arange(3))


@pytest.mark.parametrize("pairs", [neighbours.PAIRS, 100])
@pytest.mark.parametrize("variance", [0.01, 0.3, 10.0])
def test_row_bounds_are_those_of_the_differentiable_forms(
    pairs: int, variance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "PAIRS", pairs)
    f = normal(40, 3) + 5
    bounds = row_information_bounds(f, variance)
    assert bounds.lower == pytest.approx(float(kolchinsky_tracey(f, variance)), abs=1e-9)
    assert bounds.upper == pytest.approx(float(pairwise_kl_upper_bound(f, variance)), abs=1e-9)
    assert -1e-9 <= bounds.lower <= bounds.upper <= math.log(40) + 1e-9


@pytest.mark.parametrize("gap", [0.0, 1.0, 3.0, 30.0])
def test_the_class_bounds_enclose_the_class_information_of_the_mixture(gap: float) -> None:
    """I(C; Z) by sampling: I(J; Z) less the mean of the classes' own, each by its own mixture."""
    labels = torch.tensor([0] * 12 + [1] * 8)
    f = 0.5 * normal(20, 2) + gap * labels[:, None]
    z = f + normal(4000, 20, 2, key=1)
    truth = float(code_bound(z, f, 1.0).mean())
    for label in range(2):
        own = labels == label
        truth -= float(own.double().mean() * code_bound(z[:, own], f[own], 1.0).mean())
    bounds = channel_class_bounds(f, labels, 1.0)
    assert bounds.lower - 0.01 <= truth <= bounds.upper + 0.01
    assert 0 <= bounds.lower <= bounds.upper <= float(-np.dot([0.6, 0.4], np.log([0.6, 0.4]))) + 1e-12
    if gap == 30.0:
        assert bounds.upper == pytest.approx(0.6730, abs=1e-4)


def test_a_narrow_channel_tells_nothing_about_the_law() -> None:
    """As its docstring warns: labels of no meaning read H(C) where no two rows overlap, nothing where many do."""
    f, labels = normal(200, 2), torch.arange(200) % 2
    assert channel_class_bounds(f.double(), labels, 1e-9).lower == pytest.approx(math.log(2), abs=1e-6)
    wide = channel_class_bounds(f, labels, 50.0)
    assert wide.upper < 0.15


def test_mistakes_say_what_was_wanted() -> None:
    with pytest.raises(ValueError, match="variance must be positive, got 0"):
        row_information_bounds(normal(5, 2), 0.0)
    with pytest.raises((ValueError, TypeError), match=r"as many rows|Type-check"):
        channel_class_bounds(normal(5, 2), torch.arange(4), 1.0)
