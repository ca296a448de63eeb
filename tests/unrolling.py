"""Jobs of unrolled methods in float64, and their gradients by the job itself and by the oracle."""

from __future__ import annotations

import torch
from torch import Tensor

from infodistill.distillation import Distillation
from infodistill.nets.convnet import convnet
from infodistill.sources.students import Students
from infodistill.types import Batch, Net
from oracles.dd import soft_cross_entropy, trained


def double_net(shape: tuple[int, int, int], classes: int) -> Net:
    return convnet(depth=1, width=4)(shape, classes).double()


def doubled(job: Distillation) -> tuple[Batch, Batch]:
    """The job's stored tensors made float64 in place, then its set and its first real batch."""
    with torch.no_grad():
        for tensor in {id(t): t for t in (job.syn.labels, job.syn.pixels, *job.syn.scalars.values())}.values():
            tensor.data = tensor.data.double()
        for students in sources(job):
            students.rates.raw.data = students.rates.raw.data.double()
        noise = torch.rand(job.syn.pixels.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        job.syn.pixels += 0.1 * noise
    real = job.real.batch(job.seed, 0, job.real_per_class)
    real = Batch(real.x.double(), real.y, real.target.double(), real.space)
    return job.syn.batch(), real


def sources(job: Distillation) -> tuple[Students, ...]:
    return job.terms["match"].term.students  # type: ignore[attr-defined]


def by_oracle(job: Distillation, syn: Batch, real: Batch, momentum: float = 0.0) -> Tensor:
    """The value of the job's term by plain autograd through everything."""
    losses: list[Tensor] = []
    for source in sources(job):
        segment = source.starts.draw()
        record = source.record(len(syn), tuple(syn.x.shape[1:]), syn.x.device)
        theta = trained(
            segment.module, segment.start, syn.x, syn.target, source.rates.values(source.steps), record.rows,
            momentum=momentum, augment=source.augment, omegas=record.omegas,
        )  # fmt: skip
        losses.append(soft_cross_entropy(torch.func.functional_call(segment.module, theta, (real.x,)), real.target))
    return sum(losses) / len(losses)  # type: ignore[return-value]


def assert_same(value: Tensor, wanted: Tensor, over: list[Tensor]) -> None:
    """Equal values and gradients, to 1e-10 of the norm; every gradient is there."""
    torch.testing.assert_close(value, wanted, rtol=1e-10, atol=0)
    got, want = (torch.autograd.grad(v, over, retain_graph=True) for v in (value, wanted))
    for a, b in zip(got, want, strict=True):
        assert float(b.norm()) > 0
        assert float((a - b).norm() / b.norm()) < 1e-10
