"""The information terms inside a real job: no weight is the base method, any weight moves it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from infodistill.distillation import Distillation
from infodistill.information import CMI, MIM, CentroidCMI, RandomDirection, ShuffledLabels
from infodistill.looks import Looks
from infodistill.methods.dm import dm
from infodistill.nets.convnet import convnet
from infodistill.real import RealData
from infodistill.seeding import stream
from infodistill.sources.critic import TrainedHeads
from infodistill.sources.teachers import random_teachers
from infodistill.types import ValueSpace
from infodistill.weights import Ratio, Weighted
from infodoubles import Gain, PixelTeacher


def small_job(ipc: int = 3) -> Distillation:
    labels = torch.arange(3).repeat(10)
    images = torch.randint(0, 255, (30, 1, 8, 8), generator=stream(0, "images"), dtype=torch.uint8)
    real = RealData(images, labels, ("a", "b", "c"), ValueSpace((0.5,), (0.3,)))
    return dm(real, convnet(depth=2, width=8), ipc=ipc, real_per_class=6, augment=Gain())


def looks_of(job: Distillation) -> Looks:
    return job.terms["match"].term.looks  # type: ignore[attr-defined]


def after(job: Distillation, steps: int = 3) -> Tensor:
    for _ in job.run(steps):
        pass
    return job.syn.pixels.detach().clone()


@pytest.mark.parametrize("weight", [0.0, 1e-30])
def test_1_8_8_no_weight_is_the_base_method_bit_for_bit(weight: float) -> None:
    job = small_job()
    both = job.adding(mim=Weighted(weight, MIM(looks_of(job))), cmi=Weighted(weight, CMI(PixelTeacher())))
    assert torch.equal(after(both), after(job))


def test_every_information_term_moves_a_real_job() -> None:
    job = small_job()
    teachers, base = random_teachers(convnet(depth=2, width=8), job.real, count=2, seed=1), after(small_job())
    terms = [CMI(teachers), CentroidCMI(teachers), MIM(looks_of(job)), MIM(looks_of(job), heads=TrainedHeads(dim=4))]
    for term in [*terms, *(ShuffledLabels(inner) for inner in terms), RandomDirection()]:
        added = job.adding(extra=Weighted(Ratio(0.3), term))
        (progress,) = added.run(1)
        assert float(progress.norms["extra"]) == pytest.approx(
            0.3 * float(progress.norms["match"]) / progress.weights["extra"], rel=1e-4
        )
        assert not torch.equal(after(added, 2), base)


def test_a_job_with_one_image_per_class_refuses_cmi() -> None:
    job = small_job(ipc=1)
    for term in (CMI(PixelTeacher()), ShuffledLabels(CMI(PixelTeacher()))):
        with pytest.raises(ValueError, match="identically zero at one image per class"):
            job.adding(cmi=Weighted(8000.0, term))
    after(job.adding(cmi=Weighted(1.0, CentroidCMI(PixelTeacher())), mim=Weighted(0.8, MIM(looks_of(job)))), 1)
