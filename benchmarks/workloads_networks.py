"""Networks on a hundred images: the CMI term under a ResNet-18, and a training epoch as evaluation makes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import oracle
import torch
from differences import CLASSES, EPOCHS, NET, SHAPE, cosine, flat, paired_difference, trained
from torch import Tensor
from workloads import IPC, Workload, named

from infodistill.compute import Policy, View
from infodistill.information.cmi import CMI
from infodistill.methods.dm import dm
from infodistill.nets import by_name, initialise
from infodistill.objective import measure
from infodistill.real import RealData
from infodistill.seeding import stream
from infodistill.sources.teachers import Teachers
from infodistill.training import Fit, fit
from infodistill.types import Net, Term


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
        return {named(policy): cosine(self._slope(policy), expected) for policy in policies}

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
        return {named(policy): cosine(ours(policy), expected) for policy in policies}

    def accuracy(self, exact: Policy, fast: Policy) -> dict[str, object]:
        return paired_difference(
            [[trained(self.real, self.images, s, p) for s in range(3)] for p in (exact, fast)], steps=EPOCHS
        )
