"""Information terms, which are costs, and information estimators, which return nats."""

from __future__ import annotations

from infodistill.information.bandwidths import bandwidth_from_pairs, median_pair_distance, tightest_bandwidth
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
from infodistill.information.mixtures import (
    CodeEntropy,
    MixtureEntropy,
    channel_entropy,
    code_bound,
    kolchinsky_tracey,
    leave_one_out_upper_bound,
    pairwise_kl_upper_bound,
)
from infodistill.information.set_decoder import (
    CoupledSetDecoder,
    SetDecoder,
    decoupled_information,
    set_decoder_information,
    set_decoder_log_likelihood,
)

__all__ = [
    "BIAS",
    "CMI",
    "MIM",
    "CentroidCMI",
    "CodeEntropy",
    "CoupledSetDecoder",
    "MixtureEntropy",
    "RandomDirection",
    "SetDecoder",
    "ShuffledLabels",
    "bandwidth_from_pairs",
    "channel_entropy",
    "code_bound",
    "conditional_mutual_information",
    "decoupled_information",
    "equal_weights",
    "geometric_weights",
    "infonce_lower_bound",
    "kolchinsky_tracey",
    "ksg_mutual_information",
    "label_restricted",
    "leave_one_out_upper_bound",
    "logits",
    "marginal",
    "median_pair_distance",
    "nce_loss",
    "nce_lower_bound",
    "nce_numbers",
    "nwj_lower_bound",
    "pair_loss",
    "pairwise_kl_upper_bound",
    "penultimate",
    "set_decoder_information",
    "set_decoder_log_likelihood",
    "soft_conditional_mutual_information",
    "tightest_bandwidth",
]
