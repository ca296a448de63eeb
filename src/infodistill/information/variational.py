"""Two more readings of critics and conditionals, in nats; fitted on samples by `fitted`.

    DV     I(X; Y) >= E_1[s] - log E_0[e^s]                              (Donsker & Varadhan 1983)
    CLUB   I(X; Y) <= E_1[log q(y|x)] - E_0[log q(y|x)]  for q = p(y|x)   (Cheng et al., ICML 2020)

E_1 over joint pairs, E_0 over the product of the marginals. *DV*: E_1 log(p_1/p_0) - (E_1 s - log E_0 e^s) is the KL
divergence of p_1 to the law p_0 e^s / E_0 e^s, hence at least 0. *CLUB*: with the true conditional,
CLUB - I = E_y [log p(y) - E_x log p(y|x)] >= 0, by Jensen.
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor


def donsker_varadhan_lower_bound(scores_joint: Float[Tensor, "*p"], scores_product: Float[Tensor, "*q"]) -> Tensor:
    """Mean s over joint pairs - log mean e^s over independent pairs, in nats, ().

    Sign: larger means more information. Direction: a lower bound for every critic in the limit of many pairs; exact for
    s = log(p_joint / p_product) + any constant. Bias: on finitely many independent pairs the logarithm reads low
    (Jensen), so the value is *above* its limit by about var(e^s) / (2 pairs mean(e^s)^2); NWJ at the same critic has
    no such bias and is never larger. A critic fitted on the pairs it is read on bounds nothing. Range: unbounded.

    Args:
        scores_joint: critic values of joint pairs, any shape.
        scores_product: critic values of pairs from the product of the marginals, any shape.

    Raises:
        ValueError: there is no score of a kind.
    """
    _require_some(scores_joint, scores_product)
    return scores_joint.mean() - (scores_product.flatten().logsumexp(0) - math.log(scores_product.numel()))


def club_upper_bound(log_q_joint: Float[Tensor, "*p"], log_q_product: Float[Tensor, "*q"]) -> Tensor:
    """Mean log q(y|x) over joint pairs - the same over independent pairs, in nats, ().

    Sign: larger means more information. Direction: an UPPER bound on I(X; Y) in expectation when q is the true p(y|x),
    and then it may be far above (rho^2 / (1 - rho^2) for a Gaussian pair, where I = -1/2 log(1 - rho^2)). With a q that
    was fitted it is the variational CLUB and NO BOUND at all: a q that ignores x reads 0 whatever the truth; it is
    above the truth where KL(p(x) p(y) | p(x) q(y|x)) is at least KL(p(x, y) | p(x) q(y|x)). Range: unbounded.

    Args:
        log_q_joint: log densities (or probabilities) of joint pairs, any shape.
        log_q_product: of pairs from the product of the marginals, any shape.

    Raises:
        ValueError: there is no value of a kind.
    """
    _require_some(log_q_joint, log_q_product)
    return log_q_joint.mean() - log_q_product.mean()


def _require_some(joint: Tensor, product: Tensor) -> None:
    if not joint.numel() or not product.numel():
        raise ValueError(f"values of both kinds of pairs are needed, got {joint.numel()} and {product.numel()}")
