"""Contrastive estimates of mutual information: the NCE loss of MIM4DD and the lower bounds it leads to, in nats.

A critic gives every pair (a, b) a logit s; h = sigmoid(s) is its belief that the pair was drawn jointly (B = 1)
rather than from the product of the marginals (B = 0), one joint pair to n independent ones. With B = 1 pairs of one
class, the information is what the class label carries: at most log(number of classes).

    NCE   L = -E_1[log h] - n E_0[log(1 - h)],          I >= log n - L
    NWJ   I >= 1 + E_1[s + log n] - E_0[n e^s]

(Gutmann & Hyvarinen 2010; Tian et al. 2020, CRD; Nguyen, Wainwright & Jordan 2010.) Both hold for *every* critic, in
expectation, when E_0 is over the product of the marginals: pairs of the same class included.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from infodistill.sources.critic import log_mean_exp

BIAS = {
    "nce": "lower bound in expectation for any critic; at most log n; up to 1 nat below the truth at the best critic",
    "nwj": "lower bound in expectation for a fixed critic, exact at the best one; the normaliser is fitted on the same "
    "pairs, which adds an upward bias of order 1/pairs; high variance when the value is large",
    "ceiling": "log(classes): pairs are joined by their label only, so no such estimate can exceed it in expectation",
}
"""What to print beside the numbers of `nce_numbers`."""


def marginal(positive: Bool[Tensor, "s r"]) -> Bool[Tensor, "s r"]:
    """Negatives from the product of the marginals: every pair, same-class pairs included. For losses and estimates."""
    return torch.ones_like(positive)


def label_restricted(positive: Bool[Tensor, "s r"]) -> Bool[Tensor, "s r"]:
    """Negatives of different classes only. A LOSS ONLY: log n - L then grows without limit for a perfect classifier."""
    return ~positive


def nce_loss(
    scores: Float[Tensor, "s r"],
    positive: Bool[Tensor, "s r"],
    negative: Bool[Tensor, "s r"] | None = None,
    *,
    n: float | Tensor | None = None,
) -> Float[Tensor, ""]:
    """L = -mean_positive log h - n mean_negative log(1 - h), h = sigmoid(scores), in nats; at least 0.

    Args:
        scores: critic logits of every pair of one row and one column item.
        positive: which pairs are joint (same class).
        negative: which pairs are independent; all of them when None (`marginal`).
        n: negatives per positive; the mean number of negatives in a row when None.

    NaN when there is no positive or no negative pair.
    """
    negative = marginal(positive) if negative is None else negative
    n = negatives_per_row(negative, scores) if n is None else n
    return -masked_mean(F.logsigmoid(scores), positive) - n * masked_mean(F.logsigmoid(-scores), negative)


def nce_lower_bound(
    scores_pos: Float[Tensor, "*p"], scores_neg: Float[Tensor, "*q"], *, n: float | None = None
) -> Float[Tensor, ""]:
    """The NCE estimate log n - L, a lower bound on the mutual information in nats, valid for any critic.

    Sign: larger means more information; negative values are possible and mean nothing was found. Bias: never above
    the truth in expectation; at the best critic it tends to I - 1 as n grows, so it loses up to one nat (`nwj` does
    not). Range: (-inf, log n].

    Args:
        scores_pos: critic logits of joint pairs, any shape.
        scores_neg: critic logits of pairs from the product of the marginals (not of different classes only).
        n: negatives per positive the critic was built for; len(scores_neg) / len(scores_pos) when None.

    Raises:
        ValueError: there is no positive or no negative score.
    """
    n = _ratio(scores_pos, scores_neg) if n is None else n
    return math.log(n) + F.logsigmoid(scores_pos).mean() + n * F.logsigmoid(-scores_neg).mean()


def nwj_lower_bound(
    scores_pos: Float[Tensor, "*p"], scores_neg: Float[Tensor, "*q"], *, n: float | None = None
) -> Float[Tensor, ""]:
    """The estimate 1 + E_1[s + log n] - E_0[n e^s] of Nguyen-Wainwright-Jordan in nats; the number to print.

    Sign: larger means more information. Bias: never above the truth in expectation, equal to it at the critic
    s = log(p_joint / p_product) - log n; not capped by log n. Variance grows like e^I. Range: unbounded.

    Args:
        scores_pos: critic logits of joint pairs, any shape.
        scores_neg: critic logits of pairs from the product of the marginals (not of different classes only).
        n: negatives per positive the critic was built for; len(scores_neg) / len(scores_pos) when None.

    Raises:
        ValueError: there is no positive or no negative score.
    """
    n = _ratio(scores_pos, scores_neg) if n is None else n
    return 1 + scores_pos.mean() + math.log(n) - n * scores_neg.exp().mean()


def infonce_lower_bound(scores: Float[Tensor, "b b"]) -> Float[Tensor, ""]:
    """InfoNCE: log b + mean_i log(e^{s_ii} / sum_j e^{s_ij}) in nats, joint pairs on the diagonal; at most log b.

    (van den Oord et al. 2018.) A lower bound in expectation for any critic, when rows are independent draws of the
    joint law; class-paired rows are not.
    """
    return math.log(len(scores)) + scores.log_softmax(1).diagonal().mean()


def critic_logits(
    similarity: Float[Tensor, "s r"], *, log_z: float | Tensor = 0.0, log_noise: float | Tensor = 0.0
) -> Float[Tensor, "s r"]:
    """Logits s = similarity - log Z - log(n / M), so that h = sigmoid(s) = e^sim / (e^sim + Z n / M) (CRD, CMIM).

    `similarity` is cosine / temperature. CMIM's Z is M times the mean exponential, so M cancels: pass
    `log_z = log mean exp` over independent pairs and `log_noise = log n`. e^{s + log n} is then a density ratio with
    mean 1. Without Z the critic is saturated (0.92 at cosine 0 for n / M = 4096 / 50000).
    """
    return similarity - log_z - log_noise


def cosine(a: Float[Tensor, "s d"], b: Float[Tensor, "r d"]) -> Float[Tensor, "s r"]:
    """Cosine of every row of `a` with every row of `b`; rows of zeros have cosine and gradient 0."""
    # Scaling the (s, r) product instead of b saves a copy of the real features, hundreds of MB at paper size.
    return (a * _inverse_norm(a)) @ b.T * _inverse_norm(b).T


@torch.no_grad()
def nce_numbers(
    features_syn: Float[Tensor, "s d"],
    y_syn: Int[Tensor, " s"],
    features_real: Float[Tensor, "r d"],
    y_real: Int[Tensor, " r"],
    *,
    temperature: float = 0.1,
) -> dict[str, float]:
    """NCE and NWJ lower bounds on the information real and synthetic features share through the label, in nats.

    Critic: cosine / temperature, normalised over all pairs (marginal negatives, n = r). Classes count equally on both
    sides whatever their sizes, so both estimates concern uniform labels over the classes present.

    Returns:
        "nce", "nwj", "ceiling" = log(classes), "n" = negatives per positive. `BIAS` has a note for each.

    Raises:
        ValueError: the two sides do not hold the same classes.
    """
    return similarity_numbers(cosine(features_syn, features_real) / temperature, y_syn, y_real)


@torch.no_grad()
def similarity_numbers(
    similarity: Float[Tensor, "s r"], y_syn: Int[Tensor, " s"], y_real: Int[Tensor, " r"]
) -> dict[str, float]:
    """`nce_numbers` of any critic, given as its log ratio (s, r) up to a constant, which is fitted here.

    For critics other than the cosine, and to draw rows again without computing features again. The fitted "nwj" is
    the Donsker-Varadhan value of the same critic.

    Raises:
        ValueError: the two sides do not hold the same classes.
    """
    classes = y_syn.unique()
    if not torch.equal(classes, y_real.unique()):
        raise ValueError(f"both sides need the same classes, got {classes.tolist()} and {y_real.unique().tolist()}")
    joint, product = _balanced_pairs(y_syn, y_real, classes)
    n = float(len(y_real))
    scores = critic_logits(similarity, log_z=log_mean_exp(similarity, product.to(similarity)), log_noise=math.log(n))
    loss = -masked_mean(F.logsigmoid(scores), joint) - n * masked_mean(F.logsigmoid(-scores), product)
    nwj = 1 + masked_mean(scores, joint) + math.log(n) - n * masked_mean(scores.exp(), product)
    return {"nce": math.log(n) - float(loss), "nwj": float(nwj), "ceiling": math.log(len(classes)), "n": n}


def masked_mean(value: Float[Tensor, "s r"], weight: Bool[Tensor, "s r"] | Float[Tensor, "s r"]) -> Float[Tensor, ""]:
    """sum(weight * value) / sum(weight); fixed shapes, so it can be captured in a graph."""
    weight = weight.to(value)
    return (value * weight).sum() / weight.sum()


def negatives_per_row(negative: Bool[Tensor, "s r"], scores: Float[Tensor, "s r"]) -> Float[Tensor, ""]:
    """The mean number n of negatives a row has, in the type of `scores`."""
    return negative.sum().to(scores) / len(negative)


def _balanced_pairs(y_syn: Tensor, y_real: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of joint and of independent pairs, (s, r), under uniform labels on both sides."""
    syn, real = ((y[:, None] == classes).double() for y in (y_syn, y_real))  # (rows, classes)
    row, column = syn @ (1 / syn.sum(0)), real @ (1 / real.sum(0))
    product = row[:, None] * column
    return product * (syn @ real.T), product


def _inverse_norm(rows: Tensor) -> Tensor:
    """1 / |row|, (n, 1); 0 for rows of zeros."""
    norm = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    empty = norm == 0
    return torch.where(empty, 0, 1 / torch.where(empty, 1, norm))


def _ratio(scores_pos: Tensor, scores_neg: Tensor) -> float:
    if not scores_pos.numel() or not scores_neg.numel():
        raise ValueError(f"scores of both kinds are needed, got {scores_pos.numel()} and {scores_neg.numel()}")
    return scores_neg.numel() / scores_pos.numel()
