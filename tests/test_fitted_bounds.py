"""DV and CLUB of known critics, and what fitted ones say of rows they never saw."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from infodistill.diffusion.fitting.generative_fit import GenerativeFit
from infodistill.information import (
    GaussianConditional,
    Joint,
    Separable,
    club_upper_bound,
    donsker_varadhan_lower_bound,
    fitted_bounds,
    nwj_lower_bound,
)
from infodistill.information.fitted import split_samples
from infodoubles import gaussian

normal = partial(gaussian, owner="fitted")
SHORT = GenerativeFit(steps=120, lr=4e-3, ema=0.95, validate_every=30, patience=None)


def test_dv_of_a_table_is_the_divergence_to_the_tilted_law() -> None:
    """Pairs in proportion to p(x, y) = TABLE / 20 and p(x) p(y), so the reading is the population's."""
    p = torch.tensor([[6.0, 2, 2], [1, 4, 5]], dtype=torch.float64) / 20
    product = p.sum(1, keepdim=True) * p.sum(0)
    ratio, critic = (p / product).log(), normal(2, 3)
    joint = critic.flatten().repeat_interleave((20 * p).flatten().round().long())
    independent = critic.flatten().repeat_interleave((400 * product).flatten().round().long())
    tilted = product * critic.exp() / (product * critic.exp()).sum()
    expected = float((p * ratio).sum() - (p * (p / tilted).log()).sum())
    assert float(donsker_varadhan_lower_bound(joint, independent)) == pytest.approx(expected, abs=1e-12)
    assert float(donsker_varadhan_lower_bound(joint + 3, independent + 3)) == pytest.approx(expected, abs=1e-12)
    assert expected < float((p * ratio).sum())
    assert float(nwj_lower_bound(joint, independent, n=1)) < expected


def test_dv_reads_high_on_few_independent_pairs_and_nwj_does_not() -> None:
    """A critic of nothing: both truths are at most 0. The logarithm's bias is about var(e^s) / (2 m mean^2)."""
    scores = normal(4000, 9)
    joint, product = scores[:, :1], scores[:, 1:]
    dv, nwj = (
        torch.stack([reading(a, b) for a, b in zip(joint, product, strict=True)]).mean()
        for reading in (donsker_varadhan_lower_bound, partial(nwj_lower_bound, n=1))
    )
    assert -0.5 + 0.05 < float(dv) < -0.5 + (math.e - 1) / 16 + 0.05
    assert float(nwj) == pytest.approx(1 - math.exp(0.5), abs=0.07)


@pytest.mark.parametrize("rho", [0.3, 0.9])
def test_club_is_above_with_the_true_conditional_and_anywhere_with_another(rho: float) -> None:
    x, e = normal(100_000), normal(100_000, key=1)
    y, variance = rho * x + math.sqrt(1 - rho**2) * e, 1 - rho**2
    other = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))]
    truth = -0.5 * math.log(variance)

    def club(slope: float) -> float:
        return float(club_upper_bound(*(-((side - slope * x) ** 2) / (2 * variance) for side in (y, other))))

    assert club(rho) == pytest.approx(rho**2 / variance, rel=0.03)
    assert club(rho) > truth
    assert club(0.0) < truth / 10  # ignores x: no bound
    assert club(-rho) < 0
    with pytest.raises(ValueError, match="got 3 and 0"):
        club_upper_bound(x[:3], x[:0])
    with pytest.raises(ValueError, match="got 0 and 3"):
        donsker_varadhan_lower_bound(x[:0], x[:3])


@pytest.mark.parametrize("make", [Separable, Joint, GaussianConditional])
def test_modules_give_every_pair_what_the_pair_alone_gets(make: type[nn.Module]) -> None:
    module = make(3, 2).double()
    x, y = normal(4, 3), normal(5, 2, key=1)
    every = module(x, y)
    assert every.shape == (4, 5)
    torch.testing.assert_close(every[2:3, 3:4], module(x[2:3], y[3:4]))


def test_the_conditional_is_a_density() -> None:
    module = GaussianConditional(3, 2).double()
    x, y = normal(1, 3), normal(1, 2, key=1)
    mean, variance = module.mean(x), module.log_variance(x).exp()
    law = torch.distributions.Normal(mean, variance.sqrt())
    torch.testing.assert_close(module(x, y)[0, 0], law.log_prob(y).sum())


def linked(n: int, columns: int = 2) -> tuple[Tensor, Tensor]:
    x = normal(n, columns, key=3)
    return x, 0.9 * x + math.sqrt(0.19) * normal(n, columns, key=4)


def test_a_fit_is_keyed_and_finds_something() -> None:
    x, y = linked(800)
    found = fitted_bounds(x, y, hyper=SHORT)
    assert found == fitted_bounds(x, y, hyper=SHORT)
    assert found != fitted_bounds(x, y, seed=1, hyper=SHORT)
    truth = -math.log(0.19)
    assert set(found) == {"dv", "nwj", "infonce", "club"}
    for name in ("dv", "nwj", "infonce"):
        assert 0.5 < found[name] < truth + 0.1, name
    assert found["nwj"] <= found["dv"]
    assert found["club"] > truth


def test_scale_and_empty_columns_do_not_matter() -> None:
    x, y = linked(400, 1)
    padded = torch.cat([1e4 * x + 7, torch.ones(400, 1).double()], 1)
    found = fitted_bounds(padded, y, hyper=SHORT)
    assert all(map(math.isfinite, found.values()))
    assert found["infonce"] > 0.3


def test_independent_samples_read_nothing_however_wide_the_critic() -> None:
    """On the rows it was fitted on, this critic would reach its ceiling of log n."""
    x, y = normal(200, 30), normal(200, 30, key=5)
    critic, hyper = partial(Separable, width=256), GenerativeFit(steps=200, lr=1e-2, ema=0.9, validate_every=200)
    found = fitted_bounds(x, y, critic=critic, hyper=hyper)
    for name in ("dv", "nwj", "infonce"):
        assert found[name] < 0.1, name


def test_the_rows_that_are_read_are_never_fitted() -> None:
    x, y = linked(100)
    parts = split_samples(x, y, 0)
    assert [len(parts.fit), len(parts.stop), len(parts.read)] == [40, 10, 50]
    assert sorted(torch.cat([parts.fit, parts.stop, parts.read]).tolist()) == list(range(100))
    known = torch.cat([parts.fit, parts.stop])
    torch.testing.assert_close(parts.x[known].mean(0), torch.zeros(2, dtype=torch.float64), atol=1e-9, rtol=0)
    x[parts.read] = 1e6  # would show, had the reading half any part in the scaling
    again = split_samples(x, y, 0)
    assert torch.equal(again.x[known], parts.x[known])
    with pytest.raises((ValueError, TypeError), match=r"at least 20|Type-check"):
        fitted_bounds(x[:19], y[:19])


def test_the_joint_critic_fits_too() -> None:
    x, y = linked(600, 1)
    found = fitted_bounds(x, y, critic=partial(Joint, width=32), hyper=SHORT, block=32)
    assert 0.3 < found["nwj"] < 0.83 + 0.15
