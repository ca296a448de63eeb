"""Whole steps, the update of the images and the training of networks: IDM, NCFM and IDC.

Ours against the published form, in which classes are looked at one after the other and the optimiser steps after each.
Both see as many images, train as many networks on as many, and NCFM compares at as many frequencies. Different is what
we changed: the images move once for all classes, and NCFM draws its frequencies once per step instead of per class.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import oracle_steps
import torch
from differences import CLASSES, NET, SHAPE, cosine, paired_difference, trained
from torch import Generator, Tensor
from workloads import IPC, Workload, named, preloaded, slope

from infodistill.compute import Policy
from infodistill.distillation import Distillation
from infodistill.looks import Look
from infodistill.methods.idc import idc
from infodistill.methods.idm import idm
from infodistill.methods.ncfm import SCALE, ncfm
from infodistill.nets import by_name, initialise
from infodistill.real import RealData
from infodistill.seeding import stream
from infodistill.sources.segments import Segment
from infodistill.types import Net, Source


class Step(Workload):
    """One method's step; `seen` real images of each class, `steps` of it for the paired accuracy."""

    seen: int
    steps: int

    def __init__(self, real: RealData) -> None:
        super().__init__(real)
        self.preloaded = preloaded(real, self.seen)
        self.jobs = dict[Policy, Distillation]()
        job = self._job(Policy())
        self.augment = job.terms["match"].term.looks.augment  # type: ignore[attr-defined]
        self.stored = job.syn.pixels.detach().clone().requires_grad_()
        self.optimiser = self.optimise(self.stored)
        self.count = 0

    @abstractmethod
    def make(self, seed: int, policy: Policy) -> Distillation: ...

    @abstractmethod
    def optimise(self, stored: Tensor) -> torch.optim.Optimizer: ...

    @abstractmethod
    def network(self, generator: Generator) -> Net:
        """What the oracle's step looks through."""

    @abstractmethod
    def loss(self, generator: Generator) -> oracle_steps.ClassLoss: ...

    @abstractmethod
    def same_loss(self, job: Distillation, look: Look) -> oracle_steps.ClassLoss:
        """The oracle's loss at what a job has drawn."""

    def decode(self, stored: Tensor) -> Tensor:
        return self.real.space.from_pixels(oracle_steps.tiled(stored))

    def train(self, generator: Generator) -> None:
        """What happens to the oracle's networks after the update."""

    def shipped(self, policy: Policy) -> None:
        next(iter(self._job(policy).run(1)))

    def oracle(self) -> None:
        generator = stream(0, "oracle", self.count)
        net, loss, record = self.network(generator), self.loss(generator), self.augment.draw(generator, CLASSES, SHAPE)
        for label, images in enumerate(self.preloaded):
            images = images[torch.randperm(len(images), generator=generator)[: self.seen]]
            value = loss(net, *self._seen(images, self.stored, record, label), label)
            self.optimiser.zero_grad()
            value.backward(inputs=[self.stored])
            self.optimiser.step()
        self.train(generator)
        self.count += 1

    def compare(self, policies: Sequence[Policy]) -> dict[str, float]:
        job = self.make(1, Policy())
        real = self.real.rows(job.sampler(self.real, 1, 0, job.real_per_class))
        look = job.terms["match"].term.looks.look(job.syn.batch(), real)  # type: ignore[attr-defined]
        net, loss = by_name(NET)(SHAPE, CLASSES), self.same_loss(job, look)
        net.load_state_dict(dict(look.view.params))
        expected = torch.zeros_like(job.syn.pixels)
        for label, images in enumerate(real.x.split(job.real_per_class)):
            value = loss(net, *self._seen(images, job.syn.pixels, look.record, label), label)
            expected += torch.autograd.grad(value, job.syn.pixels)[0]
        return {named(policy): cosine(slope(job, real, policy), expected) for policy in policies}

    def accuracy(self, exact: Policy, fast: Policy) -> dict[str, object]:
        scores: list[list[float]] = []
        for policy in (exact, fast):
            job = self.make(2, policy)
            for _ in job.run(self.steps):
                pass
            scores.append([trained(self.real, job.syn.batch().detach(), seed, exact) for seed in range(3)])
        return paired_difference(scores, steps=self.steps)

    def _job(self, policy: Policy) -> Distillation:
        if policy not in self.jobs:
            self.jobs[policy] = self.make(0, policy)
        return self.jobs[policy]

    def _seen(self, images: Tensor, stored: Tensor, record: Tensor, label: int) -> tuple[Tensor, Tensor]:
        """Real and decoded synthetic images of a class, augmented together."""
        syn = self.decode(stored[label * IPC : (label + 1) * IPC])
        both = torch.cat([images, syn])
        both = self.augment.apply(both, record, torch.full((len(both),), label))
        return both[: len(images)], both[len(images) :]


class IDM(Step):
    """256 real images of each class; after the update two networks of four take 10 batches of 256 real images."""

    seen, steps = 256, 10
    NETWORKS, TRAINED, BATCHES, BATCH = 4, 2, 10, 256

    def __init__(self, real: RealData) -> None:
        super().__init__(real)
        self.everything = torch.cat(self.preloaded)
        self.labels = torch.cat([torch.full((len(images),), c) for c, images in enumerate(self.preloaded)])
        self.nets = [by_name(NET)(SHAPE, CLASSES) for _ in range(self.NETWORKS)]
        self.right = [0.1] * self.NETWORKS
        self.optimisers = [torch.optim.SGD(net.parameters(), 0.01, 0.9, weight_decay=5e-4) for net in self.nets]

    def make(self, seed: int, policy: Policy) -> Distillation:
        return idm(self.real, by_name(NET), ipc=IPC, seed=seed, real_per_class=self.seen, policy=policy)

    def optimise(self, stored: Tensor) -> torch.optim.Optimizer:
        return torch.optim.SGD([stored], 0.2, 0.5)

    def decode(self, stored: Tensor) -> Tensor:
        return oracle_steps.tiled(stored)

    def network(self, generator: Generator) -> Net:
        return self.nets[self._random(generator)[0]].requires_grad_(False)

    def loss(self, generator: Generator) -> oracle_steps.ClassLoss:
        return oracle_steps.idm_class(0.5 * self.right[0])

    def same_loss(self, job: Distillation, look: Look) -> oracle_steps.ClassLoss:
        for place in look_through(job).places:
            place.meter.set(50, 100)
        return oracle_steps.idm_class(0.5 * 0.5)

    def train(self, generator: Generator) -> None:
        for chosen in self._random(generator)[: self.TRAINED]:
            net = self.nets[chosen].requires_grad_(True)
            rows = torch.randint(len(self.labels), (self.BATCHES, self.BATCH), generator=generator)
            batches = ((self.everything[index], self.labels[index]) for index in rows)
            self.right[chosen] = oracle_steps.train_batches(net, batches, self.optimisers[chosen])

    def _random(self, generator: Generator) -> list[int]:
        return torch.randperm(self.NETWORKS, generator=generator).tolist()


def look_through(job: Distillation):
    return job.terms["match"].term.looks.nets  # type: ignore[attr-defined]


class Pair(Source[Segment]):
    """One pair of random networks for NCFM to look between: what a step costs does not depend on their weights."""

    def __init__(self) -> None:
        self.ends = [by_name(NET)(SHAPE, CLASSES).requires_grad_(False) for _ in range(2)]
        for place, net in enumerate(self.ends):
            initialise(net, stream(0, "pair", 0, place))

    def draw(self) -> Segment:
        start, end = (dict(net.named_parameters()) for net in self.ends)
        return Segment(self.ends[0], start, end, 0, None)


class NCFM(Step):
    """1024 real images of each class, 1024 frequencies, no calibration; networks are trained beforehand."""

    seen, steps = 1024, 15
    FREQUENCIES = 1024

    def make(self, seed: int, policy: Policy) -> Distillation:
        return ncfm(self.real, Pair(), ipc=IPC, seed=seed, real_per_class=self.seen, policy=policy)

    def optimise(self, stored: Tensor) -> torch.optim.Optimizer:
        return torch.optim.AdamW([stored], 1e-3, weight_decay=5e-4)

    def network(self, generator: Generator) -> Net:
        segment, net = Pair().draw(), by_name(NET)(SHAPE, CLASSES).requires_grad_(False)
        share = float(torch.rand((), generator=generator))
        assert segment.end is not None
        net.load_state_dict({name: value.lerp(segment.end[name], 1 - share) for name, value in segment.start.items()})
        return net

    def loss(self, generator: Generator) -> oracle_steps.ClassLoss:
        def frequencies() -> Tensor:
            return torch.randn(self.FREQUENCIES, 2048, generator=generator)

        return oracle_steps.ncfm_class(frequencies, SCALE)

    def same_loss(self, job: Distillation, look: Look) -> oracle_steps.ClassLoss:
        t = job.terms["match"].term.frequencies.draw()(torch.zeros(1, 2048))  # type: ignore[attr-defined]
        return oracle_steps.ncfm_class(lambda: t, SCALE)


class IDC(Step):
    """64 real images of each class; after the update the network is trained on 2000 real images in batches of 64."""

    seen, steps = 64, 10
    TRAINED = 2000

    def __init__(self, real: RealData) -> None:
        super().__init__(real)
        self.everything = torch.cat(self.preloaded)
        self.labels = torch.cat([torch.full((len(images),), c) for c, images in enumerate(self.preloaded)])
        self.net = by_name(NET)(SHAPE, CLASSES)
        self.sgd = torch.optim.SGD(self.net.parameters(), 0.01, 0.9, weight_decay=5e-4)

    def make(self, seed: int, policy: Policy) -> Distillation:
        return idc(self.real, by_name(NET), ipc=IPC, seed=seed, train_images=self.TRAINED, policy=policy)

    def optimise(self, stored: Tensor) -> torch.optim.Optimizer:
        return torch.optim.SGD([stored], 5e-3, 0.5)

    def network(self, generator: Generator) -> Net:
        return self.net

    def loss(self, generator: Generator) -> oracle_steps.ClassLoss:
        return oracle_steps.idc_class

    def same_loss(self, job: Distillation, look: Look) -> oracle_steps.ClassLoss:
        return oracle_steps.idc_class

    def train(self, generator: Generator) -> None:
        rows = torch.randperm(len(self.labels), generator=generator)[: self.TRAINED]
        augment = look_through(self._job(Policy())).train.augment
        oracle_steps.train_mixed(
            self.net, self.everything[rows], self.labels[rows], self.sgd, augment=augment, generator=generator
        )
