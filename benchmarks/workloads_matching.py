"""Distribution and gradient matching without network training: DM's step, and DSA's update of the images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import oracle
import torch
from differences import CLASSES, NET, SHAPE, cosine, paired_difference, trained
from torch import Tensor
from workloads import IPC, REAL, Workload, named, preloaded, slope

from infodistill.compute import Policy
from infodistill.distillation import Distillation
from infodistill.methods.dm import dm
from infodistill.methods.dsa import dsa
from infodistill.nets import by_name, initialise
from infodistill.real import RealData
from infodistill.seeding import stream
from infodistill.types import Batch


class Matching(Workload):
    """A whole update for DM; for DSA the matching alone (training between updates is the row `evaluate`)."""

    def __init__(
        self,
        real: RealData,
        method: Callable[..., Distillation],
        loss: Callable[..., Tensor],
        *,
        frozen: bool,
        steps: int,
    ) -> None:
        super().__init__(real)
        self.method, self.loss, self.frozen, self.steps = method, loss, frozen, steps
        self.preloaded = preloaded(real, REAL)
        self.jobs = dict[Policy, Distillation]()
        self.syn = self._job(Policy()).syn.pixels.detach().clone().requires_grad_()
        self.optimiser = torch.optim.SGD([self.syn], 1.0, momentum=0.5)
        self.count = 0

    def _job(self, policy: Policy) -> Distillation:
        if policy not in self.jobs:
            self.jobs[policy] = self.method(self.real, by_name(NET), ipc=IPC, real_per_class=REAL, policy=policy)
        return self.jobs[policy]

    def shipped(self, policy: Policy) -> None:
        next(iter(self._job(policy).run(1)))

    def oracle(self) -> None:
        net = by_name(NET)(SHAPE, CLASSES)
        net.requires_grad_(not self.frozen)
        augment, generator = self._look(self._job(Policy())).augment, stream(0, "oracle", self.count)
        real = [images[torch.randperm(len(images), generator=generator)[:REAL]] for images in self.preloaded]
        loss = self.loss(net, real, self.syn, augment, augment.draw(generator, CLASSES, SHAPE))
        self.optimiser.zero_grad()
        (self.syn.grad,) = torch.autograd.grad(loss, self.syn)
        self.optimiser.step()
        self.count += 1

    def compare(self, policies: Sequence[Policy]) -> dict[str, float]:
        job = self.method(self.real, by_name(NET), ipc=IPC, real_per_class=REAL, seed=1)
        real, syn = self.real.batch(1, 0, REAL), job.syn.batch()
        look = self._look(job).look(syn, real)
        net = by_name(NET)(SHAPE, CLASSES)
        initialise(net, stream(1, "match.nets", 0))
        assert all(torch.equal(a, b) for a, b in zip(net.parameters(), look.view.params.values(), strict=True))
        loss = self.loss(net, list(real.x.split(REAL)), job.syn.pixels, look.augment, look.record)
        expected = torch.autograd.grad(loss, job.syn.pixels)[0]
        return {named(policy): cosine(slope(job, real, policy), expected) for policy in policies}

    def accuracy(self, exact: Policy, fast: Policy) -> dict[str, object]:
        sets = [self._distilled(policy) for policy in (exact, fast)]
        scores = [[trained(self.real, images, seed, exact) for seed in range(3)] for images in sets]
        return paired_difference(scores, steps=self.steps)

    def _distilled(self, policy: Policy) -> Batch:
        job = self.method(self.real, by_name(NET), ipc=IPC, real_per_class=REAL, seed=2, policy=policy)
        for _ in job.run(self.steps):
            pass
        return job.syn.batch().detach()

    @staticmethod
    def _look(job: Distillation):
        return job.terms["match"].term.looks  # type: ignore[attr-defined]


def distribution(real: RealData) -> Workload:
    return Matching(real, dm, oracle.dm_loss, frozen=True, steps=100)


def gradients(real: RealData) -> Workload:
    def alone(data: RealData, *args: object, **settings: object) -> Distillation:
        return dsa(data, *args, inner_epochs=0, **settings)  # type: ignore[arg-type]

    return Matching(real, alone, oracle.matching_loss, frozen=False, steps=15)
