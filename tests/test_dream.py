"""DREAM and DREAM+: representatives drive the job, mean features against the class loop, one shared forward."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from infodistill.compute import View
from infodistill.information.mim import MIM
from infodistill.looks import Looks
from infodistill.methods.dm import MeanFeature, squared
from infodistill.methods.dream import dream
from infodistill.methods.idc import absolute, idc
from infodistill.running.checkpoint import load_checkpoint, save_checkpoint
from infodistill.samplers.medoids import Clustering, FeatureMedoids, Medoids
from infodistill.weights import Weighted, whole_set
from oracles import idc as oracle
from table import NET, tiny_real
from test_idc import SMALL, double_job, match, steps


def selection(job: Any) -> Medoids:
    assert isinstance(job.sampler, Medoids)
    return job.sampler


@pytest.mark.parametrize(("distance", "power"), [(squared, 2), (absolute, 1)])
def test_mean_features_equal_the_class_loop(distance: Callable[[Tensor, Tensor], Tensor], power: int) -> None:
    job, real = double_job()
    looks = match(job).looks
    value = MeanFeature(looks, distance)(job.syn.batch(), real)
    (gradient,) = torch.autograd.grad(value, job.syn.pixels)

    look = looks.look(job.syn.batch(), real)
    pixels, syn, true = job.syn.pixels.detach().requires_grad_(), [], []
    for c in range(3):
        both = torch.cat([oracle.decoded(pixels[2 * c : 2 * c + 2], 2, 0.4, 0.25), real.x[4 * c : 4 * c + 4]])
        both = look.augment.apply(both, look.record[c : c + 1], torch.zeros(len(both), dtype=torch.long))
        syn.append(both[:8])
        true.append(both[8:])
    expected = oracle.mean_feature_loss(look.view.module, syn, true, power)
    (wanted,) = torch.autograd.grad(expected, pixels)
    assert wanted.abs().max() > 1e-4
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient, wanted, rtol=1e-8, atol=1e-10)


def test_images_are_embedded_by_the_network_that_is_matched() -> None:
    job = dream(tiny_real(), NET, interval=2, **SMALL)
    for one in (job, job.adding(mim=Weighted(0.8, MIM(match(job).looks), whole_set))):
        assert selection(one).nets is match(one).looks.nets
        steps(one, 2)
        rows = selection(one)(one.real, one.seed, one.step, one.real_per_class)
        wanted = Clustering().choose(match(one).looks.nets.draw(), one.real, 4, seed=5, step=2)
        assert torch.equal(rows, wanted)
    assert "sampler" in job.parts()


def test_the_representatives_are_the_real_batch_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    job, seen = dream(tiny_real(), NET, interval=3, **SMALL), list[Tensor]()
    plain = Looks.look
    monkeypatch.setattr(Looks, "look", lambda self, syn, real: seen.append(real.x) or plain(self, syn, real))
    steps(job, 4)
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[1], seen[2])
    assert not torch.equal(seen[2], seen[3])
    held = selection(job)(job.real, job.seed, 3, 4)
    assert torch.equal(seen[3], job.real.rows(held).x)


def test_it_is_idc_but_for_the_real_images_and_the_start() -> None:
    real = tiny_real()
    ours = dream(real, NET, **SMALL)
    init = ours.syn.pixels.detach().clone()
    plain = idc(real, NET, **SMALL, init=lambda *_: init)
    sampled = replace(plain, sampler=Medoids(match(plain).looks.nets, 10))
    assert torch.equal(steps(ours, 3).syn.pixels, steps(sampled, 3).syn.pixels)
    assert list(ours.terms) == ["match"]


def test_the_published_defaults() -> None:
    job = dream(tiny_real(), NET, ipc=1)
    nets = match(job).looks.nets
    assert (job.real_per_class, nets.train.batch, selection(job).interval) == (128, 128, 10)  # type: ignore[attr-defined]
    second = job.real.space.to_pixels(FeatureMedoids(NET)(job.real, 4, 0)[1:2]).clamp(0, 1)
    assert torch.equal(job.syn.pixels.detach()[:1, :, :4, 4:], second[:, :, ::2, ::2])


def test_dream_plus_shares_the_forward_of_the_real_images(monkeypatch: pytest.MonkeyPatch) -> None:
    job = dream(tiny_real(), NET, features=0.5, **{**SMALL, "real_per_class": 5})
    both = job.adding(mim=Weighted(0.8, MIM(match(job).looks), whole_set))
    assert list(both.terms) == ["match", "features", "mim"] and both.terms["features"].weight == 0.5
    steps(both, 1)
    rows: list[int] = []
    plain = View.features

    def counted(self: View, x: Tensor, *args: Any, **keywords: Any) -> tuple[Tensor, ...]:
        rows.append(len(x))
        return plain(self, x, *args, **keywords)

    monkeypatch.setattr(View, "features", counted)
    (progress,) = both.run(1)
    assert rows.count(3 * 5) == 1  # real; clusters are kept from the step before
    assert rows.count(3 * 8) == 1  # decoded
    assert all(float(norm) > 0 for norm in progress.norms.values())


def test_resume_within_an_interval_is_exact(tmp_path: Path) -> None:
    def job() -> Any:
        return dream(tiny_real(), NET, interval=4, features=1.0, early=1, most=5, **SMALL)

    straight, first, second = steps(job(), 7), steps(job(), 5), job()
    save_checkpoint(tmp_path / "checkpoint", copy.deepcopy(first.state_dict()))
    second.load_state_dict(load_checkpoint(tmp_path / "checkpoint"))
    assert torch.equal(steps(second, 2).syn.pixels, straight.syn.pixels)


def test_a_sampler_of_ones_own_is_refused() -> None:
    with pytest.raises(ValueError, match="DREAM chooses the real images itself"):
        dream(tiny_real(), NET, sampler=None, **SMALL)
