"""RTP: the decoder, the byte budget, and the gradient through momentum SGD over the decoded images."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from infodistill.augment import dsa_per_image
from infodistill.distillation import Distillation
from infodistill.information.cmi import CMI
from infodistill.information.mim import MIM
from infodistill.methods.rtp import BASES, RATE, BalancedRows, rtp, rtp_rates_only
from infodistill.running.checkpoint import load_checkpoint, save_checkpoint
from infodistill.sources.students import positive
from infodistill.storage.bases import combine, noise_factors, principal_factors, rows_per_class
from infodistill.unrolling.unroll import unrolled
from infodistill.weights import Weighted, whole_set
from oracles import rtp as oracle
from table import NET, teachers, tiny_real
from unrolling import assert_same, by_oracle, double_net, doubled, sources

tiny = partial(rtp, ipc=2, seed=5, bases=6, scale=2, steps=4, rate=0.1, rows=3, real_per_class=6)


def after(job: Distillation, steps: int) -> list[torch.Tensor]:
    for _ in job.run(steps):
        pass
    return [t.detach().clone() for t in job.syn.trainable()]


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_the_decoder_is_the_bilinear_mix_of_the_combined_bases(scale: int) -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(5, 3, dtype=torch.float64, generator=generator)
    b = torch.randn(3, 2, 4, 3, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(combine(a, b, scale), oracle.combine(a, b, scale), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "classes", "ipc", "k", "s"),
    [((3, 32, 32), 10, 1, 16, 2), ((1, 28, 28), 10, 1, 16, 2), ((3, 32, 32), 100, 10, 64, 2), ((1, 8, 8), 3, 2, 6, 2)],
)
def test_the_budget_is_spent_and_not_exceeded(
    shape: tuple[int, int, int], classes: int, ipc: int, k: int, s: int
) -> None:
    found = rows_per_class(shape, classes, ipc=ipc, bases=k, scale=s)
    assert found == oracle.affordable(shape, classes, ipc, k, s)


def test_the_published_budget_of_cifar10() -> None:
    """(3072 * 10 - 16 * 768) / (10 * 16) = 115.2."""
    assert rows_per_class((3, 32, 32), 10, ipc=1, bases=16, scale=2) == 115


def test_budgets_that_buy_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="more than the 640 of 1 image"):
        rows_per_class((1, 8, 8), 10, ipc=1, bases=30, scale=1)
    with pytest.raises(ValueError, match="sides that 3 divides, got k = 4 and 8 x 8"):
        rows_per_class((1, 8, 8), 10, ipc=1, bases=4, scale=3)
    with pytest.raises(ValueError, match="span at most 16 bases, got 17"):
        principal_factors(tiny_real(), 12, 17, 2, 0)


def test_the_set_costs_what_plain_images_cost() -> None:
    job = tiny(tiny_real(), NET)
    syn = job.syn
    numbers, budget = syn.pixels.numel() + syn.scalars[BASES].numel(), 2 * 3 * 64
    assert budget - 3 * 6 < numbers <= budget
    assert syn.batch().x.shape == (3 * rows_per_class((1, 8, 8), 3, ipc=2, bases=6, scale=2), 1, 8, 8)


def test_noise_gives_values_of_variance_one() -> None:
    start = noise_factors(tiny_real(), 60, 12, 2, 3)
    assert float(combine(start.coefficients, start.bases, 1).var()) == pytest.approx(1, rel=0.2)


def test_principal_factors_are_the_best_approximation_of_real_images() -> None:
    real = tiny_real()
    full, few = (principal_factors(real, 12, k, 2, 3) for k in (16, 4))
    small = torch.nn.functional.avg_pool2d(real.rows(real.draw(3, 0, 12, owner="init.bases")).x, 2)
    torch.testing.assert_close(combine(full.coefficients, full.bases, 1), small, rtol=1e-4, atol=1e-4)
    missed = (combine(few.coefficients, few.bases, 1) - small).square().sum()
    wanted = torch.linalg.svdvals(small.flatten(1))[4:].square().sum()
    torch.testing.assert_close(missed, wanted, rtol=1e-3, atol=1e-3)


def test_every_step_sees_distinct_rows_of_every_class() -> None:
    steps = BalancedRows(3, 2)(torch.Generator().manual_seed(0), 15, 40)
    assert len(steps) == 40
    assert all((rows // 5).tolist() == [0, 0, 1, 1, 2, 2] and len(set(rows.tolist())) == 6 for rows in steps)
    assert torch.cat(steps).unique().numel() == 15
    assert [len(rows) for rows in BalancedRows(3, 9)(torch.Generator(), 15, 2)] == [15, 15]


@pytest.mark.parametrize("augment", [None, dsa_per_image("flip_rotate")], ids=["plain", "flip_rotate"])
def test_the_gradient_runs_through_momentum_to_bases_and_coefficients(augment: object) -> None:
    job = tiny(tiny_real(), double_net, augment=augment)
    syn, real = doubled(job)
    value = job.terms["match"].term(syn, real)
    assert_same(value, by_oracle(job, syn, real, momentum=0.9), [job.syn.pixels, job.syn.scalars[BASES]])
    other = by_oracle(job, syn, real, momentum=0.5)
    assert float((value - other).detach().abs()) > 1e-6  # the oracle tells momenta apart


def test_the_gradient_with_two_terms_at_the_same_student() -> None:
    job = tiny(tiny_real(), double_net)
    syn, real = doubled(job)
    mim = MIM(job.terms["match"].term.looks)  # type: ignore[attr-defined]
    value = job.terms["match"].term(syn, real) + 0.5 * mim(syn, real)
    sources(job)[0].unroll = unrolled
    wanted = by_oracle(job, syn, real, momentum=0.9) + 0.5 * mim(syn, real)
    assert_same(value, wanted, [job.syn.pixels, job.syn.scalars[BASES]])


def test_the_gradient_of_the_control_reaches_its_rate() -> None:
    job = rtp_rates_only(tiny_real(), double_net, ipc=2, seed=5, steps=4, rate=0.1, rows=1, real_per_class=6)
    syn, real = doubled(job)
    value = job.terms["match"].term(syn, real)
    assert_same(value, by_oracle(job, syn, real, momentum=0.9), [job.syn.scalars[RATE]])


def test_the_control_keeps_its_images_and_exports_its_rate() -> None:
    job = rtp_rates_only(tiny_real(), NET, ipc=2, seed=5, steps=4, rate=0.1, rows=1, real_per_class=6)
    images = job.syn.pixels.clone()
    (rate,) = after(job, 3)
    assert torch.equal(images, job.syn.pixels)
    assert float(positive(rate)) != pytest.approx(0.1, rel=1e-3)
    (phase,) = job.export().plan
    assert phase == {"rows": None, "rates": pytest.approx(float(positive(rate))), "epochs": None}


def test_the_plan_trains_on_all_images_at_the_fixed_rate() -> None:
    distilled = tiny(tiny_real(), NET, rate=0.03).export()
    assert dict(distilled.plan[0]) == {"rows": None, "rates": 0.03, "epochs": None}


def test_resume_is_exact(tmp_path: Path) -> None:
    make = partial(tiny, tiny_real(), NET, augment=dsa_per_image("flip_rotate"), nets=2)
    straight = after(make(), 5)
    first, second = make(), make()
    after(first, 3)
    save_checkpoint(tmp_path / "c", first.state_dict())
    second.load_state_dict(load_checkpoint(tmp_path / "c"))
    assert all(torch.equal(a, b) for a, b in zip(after(second, 2), straight, strict=True))


def test_an_independent_job_trains_its_own_bases() -> None:
    base = tiny(tiny_real(), NET)
    looks = base.terms["match"].term.looks  # type: ignore[attr-defined]
    faint = {"cmi": CMI(teachers(base.real)), "mim": MIM(looks)}
    together = base.adding(**{name: Weighted(1e-30, term, whole_set) for name, term in faint.items()})
    assert together.syn.decode.bases is together.syn.scalars[BASES]  # type: ignore[attr-defined]
    assert together.syn.scalars[BASES] is not base.syn.scalars[BASES]
    assert all(float(progress.norms[name]) > 0 for progress in together.run(3) for name in faint)
    mine = [t.detach() for t in together.syn.trainable()]
    assert all(torch.equal(a, b) for a, b in zip(mine, after(base, 3), strict=True))
