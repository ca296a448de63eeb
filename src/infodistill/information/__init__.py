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
from infodistill.information.classifier_bounds import (
    ClassifierInformation,
    NoiseAwareInformation,
    OwnCentroidInformation,
    RealCentroidDivergence,
    barber_agakov,
    centroid_divergence,
    log_centroids,
    real_centroids,
)
from infodistill.information.cmi import (
    CMI,
    CentroidCMI,
    conditional_mutual_information,
    logits,
    penultimate,
    soft_conditional_mutual_information,
)
from infodistill.information.codebook import (
    CodebookInformation,
    CodebookProfile,
    codebook_information,
    codebook_profile,
)
from infodistill.information.controls import RandomDirection, ShuffledLabels
from infodistill.information.diagnostics import CodingRate, NeighbourEntropy, coding_rate, kozachenko_leonenko
from infodistill.information.empirical_cmi import sample_cmi, sample_cmi_about
from infodistill.information.families import as_given, calibrated, linear, network, scaled_together, standardised
from infodistill.information.fitted import GaussianConditional, Joint, Separable, fitted_bounds
from infodistill.information.gaussian import gaussian_class_information, gaussian_entropy, gaussian_mutual_information
from infodistill.information.kernel_entropy import RenyiEntropy, VendiEntropy, renyi2_entropy, vendi_entropy
from infodistill.information.ksg import (
    class_mutual_information,
    jittered,
    ksg_conditional_mutual_information,
    ksg_mutual_information,
    ksg_mutual_information_2,
    neighbour_entropy,
    normal_scores,
)
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
from infodistill.information.pair_bounds import channel_class_bounds, row_information_bounds
from infodistill.information.set_decoder import (
    CoupledSetDecoder,
    SetDecoder,
    decoupled_information,
    set_decoder_information,
    set_decoder_log_likelihood,
)
from infodistill.information.usable import label_entropy, usable_information
from infodistill.information.variational import club_upper_bound, donsker_varadhan_lower_bound

__all__ = [
    "BIAS",
    "CMI",
    "MIM",
    "CentroidCMI",
    "ClassifierInformation",
    "CodeEntropy",
    "CodebookInformation",
    "CodebookProfile",
    "CodingRate",
    "CoupledSetDecoder",
    "GaussianConditional",
    "Joint",
    "MixtureEntropy",
    "NeighbourEntropy",
    "NoiseAwareInformation",
    "OwnCentroidInformation",
    "RandomDirection",
    "RealCentroidDivergence",
    "RenyiEntropy",
    "Separable",
    "SetDecoder",
    "ShuffledLabels",
    "VendiEntropy",
    "as_given",
    "bandwidth_from_pairs",
    "barber_agakov",
    "calibrated",
    "centroid_divergence",
    "channel_class_bounds",
    "channel_entropy",
    "class_mutual_information",
    "club_upper_bound",
    "code_bound",
    "codebook_information",
    "codebook_profile",
    "coding_rate",
    "conditional_mutual_information",
    "decoupled_information",
    "donsker_varadhan_lower_bound",
    "equal_weights",
    "fitted_bounds",
    "gaussian_class_information",
    "gaussian_entropy",
    "gaussian_mutual_information",
    "geometric_weights",
    "infonce_lower_bound",
    "jittered",
    "kolchinsky_tracey",
    "kozachenko_leonenko",
    "ksg_conditional_mutual_information",
    "ksg_mutual_information",
    "ksg_mutual_information_2",
    "label_entropy",
    "label_restricted",
    "leave_one_out_upper_bound",
    "linear",
    "log_centroids",
    "logits",
    "marginal",
    "median_pair_distance",
    "nce_loss",
    "nce_lower_bound",
    "nce_numbers",
    "neighbour_entropy",
    "network",
    "normal_scores",
    "nwj_lower_bound",
    "pair_loss",
    "pairwise_kl_upper_bound",
    "penultimate",
    "real_centroids",
    "renyi2_entropy",
    "row_information_bounds",
    "sample_cmi",
    "sample_cmi_about",
    "scaled_together",
    "set_decoder_information",
    "set_decoder_log_likelihood",
    "soft_conditional_mutual_information",
    "standardised",
    "tightest_bandwidth",
    "usable_information",
    "vendi_entropy",
]
