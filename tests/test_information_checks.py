"""The numbered checks of the specification for MIM4DD (§1.8). All values in nats."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from infodistill.information import (
    infonce_lower_bound,
    label_restricted,
    marginal,
    nce_loss,
    nce_lower_bound,
    nwj_lower_bound,
    pair_loss,
)
from infodistill.information.bounds import cosine, critic_logits
from infodistill.information.ksg import ksg_mutual_information
from infodistill.seeding import stream
from infodoubles import gaussian
from oracles import information as oracle

normal = partial(gaussian, owner="test")

TABLE = {  # rho: (I, E6 at n = 1, 16, 256, 4096)
    0.5: (0.1438, -0.653, 0.066, 0.139, 0.144),
    0.9: (0.8304, -0.437, 0.650, 0.817, 0.829),
    0.99: (1.9585, -0.189, 1.503, 1.912, 1.955),
}
SIZES = (1, 16, 256, 4096)


def log_ratios(rho: float) -> tuple[Tensor, Tensor]:
    """Log density ratios of joint and of independent pairs, over a scrambled Sobol set."""
    uniform = torch.quasirandom.SobolEngine(2, scramble=True, seed=1).draw(2**17, dtype=torch.float64)
    rows = uniform.clamp(1e-12, 1 - 1e-12).numpy()
    joint = oracle.gaussian_log_ratio(*oracle.gaussian_pairs(rho, rows), rho)
    product = oracle.gaussian_log_ratio(*oracle.gaussian_pairs(0.0, rows), rho)
    return torch.from_numpy(joint), torch.from_numpy(product)


@pytest.mark.parametrize("rho", TABLE)
def test_1_8_1_bounds_against_the_gaussian_truth(rho: float) -> None:
    joint, product = log_ratios(rho)
    truth, *expected = TABLE[rho]
    assert truth == pytest.approx(-0.5 * math.log(1 - rho**2), abs=1e-4)
    e6 = [oracle.posterior_bound(joint.numpy(), n) for n in SIZES]
    assert e6 == pytest.approx(expected, abs=2e-3)
    assert all(a < b for a, b in pairwise(e6))
    assert all(value <= truth + 1e-3 for value in e6)
    e7 = [float(nce_lower_bound(joint - math.log(n), product - math.log(n), n=n)) for n in SIZES]
    assert all(a <= b + 1e-3 for a, b in zip(e7, e6, strict=True))
    nwj = [float(nwj_lower_bound(joint - math.log(n), product - math.log(n), n=n)) for n in SIZES]
    assert nwj == pytest.approx([truth] * 4, abs=0.03)  # tight at the best critic, for every n
    if rho == 0.9:
        assert e7 == pytest.approx([-0.957, -0.266, -0.177, -0.170], abs=0.01)


def test_1_8_1_nwj_is_below_the_truth_for_a_wrong_critic() -> None:
    joint, product = log_ratios(0.9)
    for scale, shift in ((0.5, 0.0), (0.8, 0.3), (1.0, -1.0)):
        critic = (joint * scale + shift - math.log(16), product * scale + shift - math.log(16))
        assert float(nwj_lower_bound(*critic, n=16)) < 0.83
        assert float(nce_lower_bound(*critic, n=16)) < 0.83


def test_1_8_2_caps() -> None:
    for n in (1, 16, 256):
        confident = torch.full((50,), 60.0), torch.full((50,), -60.0)
        assert float(nce_lower_bound(*confident, n=n)) <= math.log(n) + 1e-6
        assert float(nce_lower_bound(normal(50), normal(50, n), n=n)) <= math.log(n)
    assert float(infonce_lower_bound(torch.eye(256) * 1e4)) == pytest.approx(5.545, abs=1e-3)
    assert float(infonce_lower_bound(normal(256, 256))) <= math.log(256)
    assert float(nwj_lower_bound(torch.full((9,), 8.0), torch.full((9,), -60.0), n=16)) > math.log(16)  # not capped


@pytest.mark.parametrize(("n", "e6", "e7"), [(16, 1.8171, 1.040), (256, 2.2643, 1.283), (4096, 2.3001, 1.301)])
def test_1_8_3_label_only_dependence_with_marginal_negatives(n: int, e6: float, e7: float) -> None:
    classes = 10
    same = math.log(classes) - math.log(n)
    independent = torch.full((classes,), -1e4, dtype=torch.float64)
    independent[0] = same  # one pair in C shares its class
    joint = torch.full((classes,), same, dtype=torch.float64)
    assert oracle.posterior_bound(np.full(3, math.log(classes)), n) == pytest.approx(e6, abs=1e-4)
    assert e6 == pytest.approx(math.log(classes * n / (classes + n)), abs=1e-4)
    assert float(nce_lower_bound(joint, independent, n=n)) == pytest.approx(e7, abs=1e-3)
    assert float(nwj_lower_bound(joint, independent, n=n)) == pytest.approx(math.log(classes), abs=1e-9)
    positive = torch.eye(classes, dtype=torch.bool)
    scores = torch.where(positive, same, -1e4).double()
    assert math.log(n) - float(nce_loss(scores, positive, marginal(positive), n=n)) == pytest.approx(e7, abs=1e-3)


def test_1_8_4_label_restricted_negatives_are_no_estimate() -> None:
    positive = torch.arange(10)[:, None] == torch.arange(10).repeat(100)
    perfect = torch.where(positive, 40.0, -40.0).double()
    loss = float(nce_loss(perfect, positive, label_restricted(positive)))
    assert loss == pytest.approx(0, abs=1e-12)
    assert math.log(900) - loss > math.log(10) + 4  # "information" of 6.8 nats where there are 2.3
    assert math.log(1000) - float(nce_loss(perfect, positive, marginal(positive))) < math.log(10)


@pytest.mark.parametrize(("n", "expected"), [(1, 1.3863), (16, 3.8032), (255, 6.5432)])
def test_1_8_5_constant_critic(n: int, expected: float) -> None:
    scores = torch.full((4, 6), -math.log(n), dtype=torch.float64)
    positive = torch.arange(4)[:, None] == torch.arange(6)
    for negatives in (marginal, label_restricted):
        assert float(nce_loss(scores, positive, negatives(positive), n=n)) == pytest.approx(expected, abs=1e-4)


def test_1_8_6_invariance_under_invertible_maps_only() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((8, 8))
    covariance = root @ root.T + np.eye(8)
    truth = oracle.gaussian_information(covariance, 4)

    def mapped(a: np.ndarray, b: np.ndarray) -> float:
        both = np.block([[a, np.zeros((len(a), 4))], [np.zeros((len(b), 4)), b]])
        return oracle.gaussian_information(both @ covariance @ both.T, len(a))

    square = rng.standard_normal((4, 4)) + 3 * np.eye(4)
    assert mapped(square, np.eye(4)) == pytest.approx(truth, rel=1e-10)
    assert mapped(np.eye(4), square) == pytest.approx(truth, rel=1e-10)
    pool = np.kron(np.eye(2), [[0.5, 0.5]])
    assert mapped(pool, np.eye(4)) < truth
    assert mapped(pool, pool) < mapped(pool, np.eye(4))
    x, y = oracle.gaussian_pairs(0.9, rng.uniform(size=(4000, 2)))
    assert oracle.copula_information(np.exp(x), y**3) == oracle.copula_information(x, y)
    raw = oracle.gaussian_information(np.cov(np.exp(x), y**3), 1)
    assert abs(raw - oracle.gaussian_information(np.cov(x, y), 1)) > 0.1


def test_1_8_6_the_neighbour_estimate_sees_the_gaussian_value() -> None:
    x, y = (
        torch.from_numpy(side) for side in oracle.gaussian_pairs(0.9, np.random.default_rng(1).uniform(size=(3000, 2)))
    )
    assert ksg_mutual_information(x, y) == pytest.approx(0.8304, abs=0.05)
    assert ksg_mutual_information(x.exp(), 3 * y) == pytest.approx(0.8304, abs=0.05)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_the_neighbour_estimate_equals_brute_force(k: int) -> None:
    x, e = normal(150, 2), normal(150, 3, key=4)
    y = x[:, :1] + e
    assert ksg_mutual_information(x, y, k) == pytest.approx(oracle.ksg(x.numpy(), y.numpy(), k), abs=1e-10)
    assert abs(ksg_mutual_information(normal(2000), normal(2000, key=5), k)) < 0.1
    with pytest.raises((ValueError, TypeError), match=r"as many rows|Type-check"):
        ksg_mutual_information(x, y[1:])
    with pytest.raises(ValueError, match="between 1 and"):
        ksg_mutual_information(x, y, 150)


@pytest.mark.parametrize(("n", "h"), [(4096, 0.924), (16384, 0.753), (50000, 0.5)])
def test_1_8_7_the_critic_is_saturated_without_a_normaliser(n: int, h: float) -> None:
    similarity = torch.zeros(1, 1) / 0.1
    assert torch.sigmoid(critic_logits(similarity, log_noise=math.log(n / 50000))).item() == pytest.approx(h, abs=1e-3)
    assert torch.sigmoid(critic_logits(similarity, log_noise=math.log(n))).item() == pytest.approx(
        1 / (n + 1), rel=1e-4
    )


def test_1_8_9_direction_of_the_nce_term_alone() -> None:
    syn, real = normal(12, 16, key=1).requires_grad_(), normal(40, 16, key=2)
    positive = torch.arange(4).repeat_interleave(3)[:, None] == torch.arange(4).repeat(10)
    real = real + 2 * normal(4, 16, key=3)[torch.arange(4).repeat(10)]
    optimiser = torch.optim.SGD([syn], 1.0)

    def means() -> tuple[float, float]:
        c = cosine(syn.detach(), real)
        return float(c[positive].mean()), float(c[~positive].mean())

    for negatives in (marginal, label_restricted):
        before = means()
        for _ in range(200):
            optimiser.zero_grad()
            pair_loss(syn, real, positive, negatives=negatives).backward()
            optimiser.step()
        after = means()
        assert after[0] > before[0] + 0.01
        assert after[1] < before[1] - 0.01
        with torch.no_grad():
            syn.copy_(normal(12, 16, key=1))


def test_1_8_10_joint_permutation_of_either_stream() -> None:
    syn, real, y, t = normal(6, 5), normal(9, 5, key=1), torch.arange(3).repeat(2), torch.arange(3).repeat(3)
    value = pair_loss(syn, real, y[:, None] == t)
    a, b = torch.tensor([3, 1, 5, 0, 2, 4]), torch.randperm(9, generator=stream(0, "order"))
    torch.testing.assert_close(pair_loss(syn[a], real[b], y[a][:, None] == t[b]), value)
    assert not torch.isclose(pair_loss(syn[a], real, y[:, None] == t), value)
