"""What `speed.py` times: for every row, the shipped step, the oracle step, and what their results differ by."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

import oracle
import torch
from differences import CLASSES, EPOCHS, NET, SHAPE, cosine, flat, paired_difference, trained
from torch import Tensor
from torch.nn import functional as F

from infodistill.compute import Policy, View
from infodistill.data import load_data
from infodistill.distillation import Distillation
from infodistill.information.cmi import CMI
from infodistill.methods.dm import dm
from infodistill.methods.dsa import dsa
from infodistill.nets import by_name, initialise
from infodistill.objective import measure
from infodistill.real import RealData
from infodistill.seeding import stream
from infodistill.sources.teachers import Teachers
from infodistill.training import Fit, fit
from infodistill.types import Batch, Net, Term

IPC, REAL = 10, 256


def load_images() -> RealData:
    """CIFAR-10 (JPEG) where $INFODISTILL_DATA has it, else the bundled digits as 3x32x32. Never zeros: instance norm
    of a constant image is a different computation.
    """
    folder = os.environ.get("INFODISTILL_DATA")
    if folder and (path := Path(folder) / "cifar10-jpeg").is_dir():
        return load_data(path)
    digits = load_data("digits")
    assert digits.test is not None
    return _enlarged(digits, _enlarged(digits.test, None))


def _enlarged(data: RealData, test: RealData | None) -> RealData:
    large = F.interpolate(data.images.float(), SHAPE[1:], mode="bilinear", align_corners=False)
    images = large.round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()
    space = type(data.space)(data.space.mean * 3, data.space.std * 3)
    return RealData(images, data.labels, data.class_names, space, "digits enlarged to 3x32x32", test=test)


class Workload(ABC):
    """One row. `shipped` and `oracle` make one step of the same work."""

    def __init__(self, real: RealData) -> None:
        self.real = real

    @abstractmethod
    def shipped(self, policy: Policy) -> None: ...

    @abstractmethod
    def oracle(self) -> None: ...

    @abstractmethod
    def compare(self, policies: Sequence[Policy]) -> dict[str, float]:
        """Cosine of each policy's result with the oracle's, from the same inputs."""

    @abstractmethod
    def accuracy(self, exact: Policy, fast: Policy) -> dict[str, object]:
        """Test accuracy with the one and with the other, everything else equal."""


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
        # A class smaller than a batch is repeated, as the shipped batches do: both sides see as many images.
        rows = [index.repeat(-(-REAL // len(index)))[:2000] for index in real.class_rows]
        self.preloaded = [real.rows(index).x for index in rows]
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
        return {_name(policy): cosine(_gradient(job, real, policy), expected) for policy in policies}

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


class Information(Workload):
    """The CMI term: a random ResNet-18 on 100 images, forward and backward to the images."""

    def __init__(self, real: RealData) -> None:
        super().__init__(real)
        self.job = dm(real, by_name(NET), ipc=IPC)
        self.teacher = by_name("resnet18")(SHAPE, CLASSES).requires_grad_(False)
        initialise(self.teacher, stream(0, "teacher"))

    def _slope(self, policy: Policy) -> Tensor:
        teachers = Teachers([View.own(self.teacher, policy=policy)])
        terms: dict[str, Term] = {"cmi": CMI(teachers)}
        return measure(terms, self.job.syn, self.job.syn.batch().detach(), None, 1)["cmi"].grads[0]

    def _loop(self) -> Tensor:
        return torch.autograd.grad(oracle.cmi(self.teacher, self.job.syn.pixels, CLASSES), self.job.syn.pixels)[0]

    def shipped(self, policy: Policy) -> None:
        self._slope(policy)

    def oracle(self) -> None:
        self._loop()

    def compare(self, policies: Sequence[Policy]) -> dict[str, float]:
        expected = self._loop()
        return {_name(policy): cosine(self._slope(policy), expected) for policy in policies}

    def accuracy(self, exact: Policy, fast: Policy) -> dict[str, object]:
        """Both precisions of the term are shown the same images; a distillation under a random teacher says nothing."""
        values = [self._value(policy) for policy in (exact, fast)]
        return {"cmi_float32": values[0], "cmi_bf16": values[1]}

    @torch.no_grad()
    def _value(self, policy: Policy) -> float:
        syn = self.job.syn.batch().detach()
        return float(CMI(Teachers([View.own(self.teacher, policy=policy)]))(syn, syn))


class Evaluation(Workload):
    """One epoch of training on 100 images: SGD with momentum, batch 256, no augmentation."""

    HYPER = Fit(epochs=1, batch=256, lr=0.01, momentum=0.9, weight_decay=5e-4)

    def __init__(self, real: RealData) -> None:
        super().__init__(real)
        self.images = real.rows(real.sample(0, IPC))
        self.net: Net = by_name(NET)(SHAPE, CLASSES)
        self.twin: Net = by_name(NET)(SHAPE, CLASSES)
        self.optimiser = torch.optim.SGD(self.twin.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)

    def shipped(self, policy: Policy) -> None:
        fit(self.net, self.images, self.HYPER, stream(0, "order"), policy=policy)

    def oracle(self) -> None:
        oracle.train_epoch(self.twin, self.images.x, self.images.y, self.optimiser)

    def compare(self, policies: Sequence[Policy]) -> dict[str, float]:
        def moved(step: Callable[[Net], None]) -> Tensor:
            net = by_name(NET)(SHAPE, CLASSES)
            initialise(net, stream(0, "compare"))
            before = flat(net)
            step(net)
            return flat(net) - before

        def loop(net: Net) -> None:
            sgd = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
            oracle.train_epoch(net, self.images.x, self.images.y, sgd)

        def ours(policy: Policy) -> Tensor:
            return moved(lambda net: fit(net, self.images, self.HYPER, stream(0, "order"), policy=policy))

        expected = moved(loop)
        return {_name(policy): cosine(ours(policy), expected) for policy in policies}

    def accuracy(self, exact: Policy, fast: Policy) -> dict[str, object]:
        return paired_difference(
            [[trained(self.real, self.images, s, p) for s in range(3)] for p in (exact, fast)], steps=EPOCHS
        )


def _gradient(job: Distillation, real: Batch, policy: Policy) -> Tensor:
    job.use(policy)
    return measure({"match": job.terms["match"].term}, job.syn, real, None, 1)["match"].grads[0]


def _name(policy: Policy) -> str:
    return ("compiled " if policy.compile else "eager ") + policy.precision


def _dm(real: RealData) -> Workload:
    return Matching(real, dm, oracle.dm_loss, frozen=True, steps=100)


def _match(real: RealData) -> Workload:
    def alone(data: RealData, *args: object, **settings: object) -> Distillation:
        return dsa(data, *args, inner_epochs=0, **settings)  # type: ignore[arg-type]

    return Matching(real, alone, oracle.matching_loss, frozen=False, steps=15)


ROWS: dict[str, Callable[[RealData], Workload]] = {
    "dm": _dm,
    "match": _match,
    "cmi": Information,
    "evaluate": Evaluation,
}
