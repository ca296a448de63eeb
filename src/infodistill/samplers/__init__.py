"""Which real images a step looks at.

A sampler is a function (real, seed, step, images per class) -> rows int64 (k * per_class,), class-major, on the CPU.
One with a state of its own (clusters that stay for some steps) is saved with the job.
"""

from __future__ import annotations

from infodistill.samplers.drawn import Cyclic, Sampler, uniform

__all__ = ["Cyclic", "Sampler", "uniform"]
