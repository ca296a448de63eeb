"""The tables of noise levels, the levels samplers visit, and the way back from sigma to a place in the table."""

from __future__ import annotations

import pytest
import torch

from infodistill.diffusion.schedules import (
    cosine_alphas_bar,
    level_of,
    linear_alphas_bar,
    respaced,
    sigma_at,
    sigmas_of,
)


def test_the_tables_are_those_of_the_papers() -> None:
    linear, cosine = linear_alphas_bar(), cosine_alphas_bar()
    assert float(linear[0]) == pytest.approx(1 - 1e-4) and float(linear[-1]) == pytest.approx(4.0358e-5, rel=1e-4)
    curve = torch.cos((torch.arange(1, 1000).double() / 1000 + 0.008) / 1.008 * torch.pi / 2).square()
    start = torch.cos(torch.tensor(0.008 / 1.008 * torch.pi / 2, dtype=torch.float64)).square()
    assert torch.allclose(cosine[:-1], curve / start, rtol=1e-9)
    assert float(cosine[-1] / cosine[-2]) == pytest.approx(1e-3)  # beta is cut at 0.999
    for table in (linear, cosine):
        assert table.dtype == torch.float64 and bool((table.diff() < 0).all())
        assert torch.allclose(1 / (1 + sigmas_of(table).square()), table, rtol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 3, 999, 1000])
def test_any_number_of_steps_walks_from_the_noisiest_level_to_nothing(steps: int) -> None:
    sigmas = respaced(linear_alphas_bar(), steps)
    assert sigmas.shape == (steps + 1,) and bool((sigmas.diff() < 0).all()) and float(sigmas[-1]) == 0
    assert float(sigmas[0]) == float(sigmas_of(linear_alphas_bar())[-1])
    if steps > 1:
        assert float(sigmas[-2]) == float(sigmas_of(linear_alphas_bar())[0])


def test_steps_and_times_outside_the_table_are_refused() -> None:
    for steps in (0, 1001):
        with pytest.raises(ValueError, match=rf"1\.\.1000 steps, got {steps}"):
            respaced(linear_alphas_bar(), steps)
    for fraction in (-0.1, 1.1):
        with pytest.raises(ValueError, match=f"between 0 and 1, got {fraction}"):
            sigma_at(linear_alphas_bar(), fraction)


@pytest.mark.parametrize("make", [linear_alphas_bar, cosine_alphas_bar])
def test_times_and_sigmas_are_inverse(make) -> None:
    table = make()
    known = sigmas_of(table)
    assert sigma_at(table, 0) == 0 and sigma_at(table, 1) == pytest.approx(float(known[-1]), rel=1e-12)
    for t in (1, 17, 500, 1000):
        assert sigma_at(table, t / 1000) == pytest.approx(float(known[t - 1]), rel=1e-9)
    between = sigma_at(table, 0.5005)
    assert float(known[499]) < between < float(known[500])
    places = level_of(torch.cat([known, torch.tensor([between, 0.0, 1e9], dtype=torch.float64)]), table)
    assert torch.allclose(places[:1000], torch.arange(1000.0, dtype=torch.float64), atol=1e-6)
    assert places[1000:].tolist() == pytest.approx([499.5, 0, 999])
    assert torch.allclose(level_of(known.float(), table).round(), torch.arange(1000.0, dtype=torch.float64))
