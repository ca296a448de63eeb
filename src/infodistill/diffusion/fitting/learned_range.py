"""The loss of a learned variance: the variational bound of one DDPM step (Nichol & Dhariwal, ICML 2021, section 3.1).

In the scale x = x0 + sigma noise, with t the larger and s the smaller noise level of a step,

    q(x_s | x_t, x0) = N(x0 + (s/t)^2 (x_t - x0), v_q),         v_q = s^2 (t^2 - s^2) / t^2
    p(x_s | x_t)     = N(x0' + (s/t)^2 (x_t - x0'), v_p),   log v_p = (1 - spread) log v_q + spread log beta

with x0' and spread the model's. KL(q || p) is the same in every scale of x. x0' is held fixed: the bound teaches the
spread alone, and does not touch the mean.
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor

from infodistill.diffusion.contract import Prediction


def variational_bits(
    told: Prediction, x0: Float[Tensor, "n c h w"], sigma: Float[Tensor, " n"], lower: Float[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """Mean over the entries of an image of KL(q || p) in bits, >= 0; 0 where `lower` is 0.

    Differs: the authors' bound of the last step is the likelihood of 8-bit pixels, which latents do not have; that step
    (one level of a thousand) teaches nothing here.

    Args:
        told: of the noisy images at `sigma`; with a spread.
        x0: the images without noise.
        sigma: noise levels t.
        lower: the next smaller ones s in the table, 0 below the smallest.

    Raises:
        ValueError: the model has no learned spread.
    """
    if told.spread is None:
        raise ValueError("this model has no learned variance to teach, wanted a prediction with a spread")
    t, s = sigma.view(-1, 1, 1, 1).square(), lower.view(-1, 1, 1, 1).square()
    there = s > 0
    s = s.where(there, t / 4)  # any level below: masked at the end, but its logarithm must be finite
    low, high = s * (t - s) / t, (1 + s) * (t - s) / (1 + t)
    excess = told.spread * (high / low).log()  # log v_p - log v_q
    gap = (1 - s / t) * (x0 - told.x0.detach())
    nats = 0.5 * (excess + (-excess).exp() - 1 + gap.square() / low * (-excess).exp())
    return (nats * there).flatten(1).mean(1) / math.log(2)
