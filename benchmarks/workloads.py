"""What `speed.py` times: a shipped step, an oracle step of the same work, and what their results differ by."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
from differences import SHAPE
from torch import Tensor
from torch.nn import functional as F

from infodistill.compute import Policy
from infodistill.data import load_data
from infodistill.distillation import Distillation
from infodistill.objective import measure, weighted_sum
from infodistill.real import RealData
from infodistill.types import Batch

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


def preloaded(real: RealData, seen: int, most: int = 2000) -> list[Tensor]:
    """Images of every class in their value space, at least `seen`; a smaller class is repeated."""
    return [real.rows(rows.repeat(-(-seen // len(rows)))[: max(most, seen)]).x for rows in real.class_rows]


def slope(job: Distillation, real: Batch, policy: Policy) -> Tensor:
    """The gradient of a job's objective over its images, run under `policy`."""
    job.use(policy)
    slopes = measure({name: entry.term for name, entry in job.terms.items()}, job.syn, real, None, 1)
    return weighted_sum(slopes, {name: entry.at(job.step) for name, entry in job.terms.items()})[0]


def named(policy: Policy) -> str:
    return ("compiled " if policy.compile else "eager ") + policy.precision
