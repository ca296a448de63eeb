"""Scaling up dataset distillation to ImageNet-1K with constant memory (TESLA; Cui et al., ICML 2023), arXiv:2211.10586.

MTT's loss with a gradient that takes every theta_i of the student as a constant:

    dL/dX_i = (2 / D) d/dX_i < beta (theta*_{t+M} - theta*_t) + beta^2 G, g_i >
    G = sum_i g_i,   D = |theta*_t - theta*_{t+M}|^2

The paper presents it as MTT's gradient in constant memory. It is a truncation: the paths theta_i <- earlier batches,
factors (I - beta H), are missing, and the error grows with beta N (`docs/methods/tesla.md` has the measured table). The
exact gradient (`unroll.sweep`, the default of `mtt`) has the same memory: use this to reproduce TESLA only.
"""

from __future__ import annotations

from functools import partial

from infodistill.methods.mtt import mtt
from infodistill.unrolling.unroll import tesla as tesla_gradient

tesla = partial(mtt, unroll=tesla_gradient)
"""`mtt` with TESLA's gradient.

Differs: the released code multiplies a tuple by 2 where the gradient was meant, so its image gradients are half of the
formula's: halve its image learning rates to make the same steps here, as the recipes do. Its soft labels from the
target parameters (ImageNet-1K only) are not part of this function.
"""
