"""The matching family on two cores: what `family.py` compares on MNIST, and what `over_time.py` runs on CIFAR-10."""

from __future__ import annotations

from collections.abc import Callable

from infodistill.distillation import Distillation
from infodistill.methods.dm import dm

OVER_TIME: dict[str, Callable[..., Distillation]] = {
    "dm": dm,
}
"""(real, net, seed=, policy=) -> job, at 10 images per class with a paper's settings for CIFAR-10 but its steps."""
