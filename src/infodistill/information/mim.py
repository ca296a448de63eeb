"""Mutual information maximisation for dataset distillation (Shang, Yuan & Yan, NeurIPS 2023), arXiv:2312.16627.

    L = L_DD + lambda * sum_k w_k L_NCE^k,    L_NCE^k = -E_pos[log h] - n E_neg[log(1 - h)],    lambda = 0.8

    h = sigmoid(cos(g(a_syn), g(a_real)) / tau - log Z - log n)

a^k are the stage-k features of both streams; positives are pairs of one class. No official code was found: the
structure and lambda are the paper's, the critic is CRD's and CMIM's; everything else is our choice, marked below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from infodistill.information.bounds import cosine, critic_logits, marginal, nce_loss, negatives_per_row
from infodistill.looks import Looks
from infodistill.sources.critic import Heads, Normaliser, batch_log_z
from infodistill.types import Batch, Source

Negatives = Callable[[Tensor], Tensor]
"""negatives(positive mask (s, r)) -> negative mask (s, r): `marginal` or `label_restricted`."""

LayerWeights = Callable[[int], Sequence[float]]
"""layer_weights(number of stages K) -> w_1 .. w_K."""


def equal_weights(stages: int) -> tuple[float, ...]:
    """w_k = 1."""
    return (1.0,) * stages


def geometric_weights(stages: int, *, beta: float) -> tuple[float, ...]:
    """w_k = beta^-(K-1-k), k = 0..K-1: later stages count more for beta > 1 (CMIM's paper, from memory)."""
    return tuple(beta ** (k + 1 - stages) for k in range(stages))


def pair_loss(
    syn: Tensor,
    real: Tensor,
    positive: Tensor,
    *,
    temperature: float = 0.1,
    negatives: Negatives = marginal,
    log_z: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """L_NCE of one stage in nats, from features (s, d) and (r, d) and the same-class mask (s, r).

    The critic is cosine / temperature - log Z - log n, n the negatives per synthetic image; log Z is the log mean
    exponential of the negatives, detached, unless `log_z(similarity, negative)` is given.
    """
    negative = negatives(positive)
    similarity = cosine(syn, real) / temperature
    normaliser = batch_log_z(0, similarity, negative) if log_z is None else log_z(similarity, negative)
    n = negatives_per_row(negative, similarity)
    return nce_loss(critic_logits(similarity, log_z=normaliser, log_noise=n.log()), positive, negative, n=n)


@runtime_checkable
class Decodes(Protocol):
    """What `MIM.check` asks of a synthetic set."""

    def batch(self) -> Batch: ...


@runtime_checkable
class Sight(Protocol):
    """Stages of both streams of one step; the last of `keep` is the last stage there is."""

    @property
    def keep(self) -> tuple[int, ...]: ...
    def syn(self, stages: tuple[int, ...], /) -> tuple[Tensor, ...]: ...
    def real(self, stages: tuple[int, ...], /) -> tuple[Tensor, ...]: ...


@runtime_checkable
class Sights(Protocol):
    """What MIM looks through: `Looks`, or the `StudentLooks` of an unrolled method."""

    def look(self, syn: Batch, real: Batch, /) -> Sight: ...


@dataclass(frozen=True)
class MIM:
    """sum_k w_k L_NCE^k between the stages of the synthetic and the real batch, in nats; a cost.

    Minimising it pulls synthetic images towards real ones of their class and away from the rest, in the cosine of every
    stage. The gradient reaches the synthetic images (and trained heads), never the real ones. Both streams
    pass the same network and augmentation record. At least two classes have to be in view for `label_restricted`.

    Differs (all UNKNOWN in the paper, our choices): one network shared by the streams, the base method's own; no head;
    marginal negatives, whose loss is also a bound; Z from the step's own pairs; w_k = 1; real features detached.

    Args:
        looks: network and augmentation, best the base method's, which makes the forward passes shared.
        heads: projection of the flattened features; None compares the features themselves.
        temperature: tau of the cosine critic (CRD's and CMIM's 0.1).
        layer_weights: K to w_1 .. w_K.
        negatives: `marginal`, or `label_restricted` (a loss only).
        stages: which block outputs are compared; None for all.
        normaliser: log Z per stage; None takes it from the step's negatives.
    """

    looks: Sights
    heads: Source[Heads] | None = None
    temperature: float = 0.1
    layer_weights: LayerWeights = equal_weights
    negatives: Negatives = marginal
    stages: tuple[int, ...] | None = None
    normaliser: Source[Normaliser] | None = None

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"the temperature must be positive, got {self.temperature}")
        if self.stages == ():
            raise ValueError("MIM needs at least one stage, got none")

    @property
    def reads(self) -> tuple[int, ...] | None:
        """Stages a shared look should keep for this term; None for all."""
        return self.stages

    def check(self, syn: Decodes) -> None:
        """Refuse sets on which the term is constant.

        Raises:
            ValueError: fixed images, seen by networks that do not depend on the labels either.
        """
        if isinstance(self.looks, Looks) and not syn.batch().x.requires_grad:
            raise ValueError(
                "MIM has no gradient here: the images are fixed, and these looks read nothing else of the set; use "
                "CMI, which reads learned labels, or a method whose networks are trained on the set (`ld`)"
            )

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        look = self.looks.look(syn, real)
        stages = tuple(range(look.keep[-1] + 1)) if self.stages is None else self.stages
        positive = syn.y[:, None] == real.y
        losses = [
            self._stage_loss(stage, pair, positive)
            for stage, pair in enumerate(zip(look.syn(stages), look.real(stages), strict=True))
        ]
        weights = self.layer_weights(len(losses))
        if len(weights) != len(losses):
            raise ValueError(f"layer_weights gave {len(weights)} weights for {len(losses)} stages")
        return torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=True)]).sum()

    def _stage_loss(self, stage: int, pair: tuple[Tensor, Tensor], positive: Tensor) -> Tensor:
        a, b = (features.flatten(1) for features in pair)
        if self.heads is not None:
            heads = self.heads.draw()
            a, b = heads.syn(stage, a), heads.real(stage, b)
        rule: Normaliser = batch_log_z if self.normaliser is None else self.normaliser.draw()

        def log_z(similarity: Tensor, negative: Tensor) -> Tensor:
            return rule(stage, similarity, negative)

        return pair_loss(a, b, positive, temperature=self.temperature, negatives=self.negatives, log_z=log_z)
