"""Information terms, which are costs, and information estimators, which return nats."""

from __future__ import annotations

from infodistill.information.bounds import (
    BIAS,
    infonce_lower_bound,
    label_restricted,
    marginal,
    nce_loss,
    nce_lower_bound,
    nce_numbers,
    nwj_lower_bound,
)
from infodistill.information.cmi import (
    CMI,
    CentroidCMI,
    conditional_mutual_information,
    logits,
    penultimate,
    soft_conditional_mutual_information,
)
from infodistill.information.controls import RandomDirection, ShuffledLabels
from infodistill.information.ksg import ksg_mutual_information
from infodistill.information.mim import MIM, equal_weights, geometric_weights, pair_loss

__all__ = [
    "BIAS",
    "CMI",
    "MIM",
    "CentroidCMI",
    "RandomDirection",
    "ShuffledLabels",
    "conditional_mutual_information",
    "equal_weights",
    "geometric_weights",
    "infonce_lower_bound",
    "ksg_mutual_information",
    "label_restricted",
    "logits",
    "marginal",
    "nce_loss",
    "nce_lower_bound",
    "nce_numbers",
    "nwj_lower_bound",
    "pair_loss",
    "penultimate",
    "soft_conditional_mutual_information",
]
