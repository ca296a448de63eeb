"""Critics of the MIM term: projection heads and normalisers, frozen or trained.

A head is a linear map of one stage's flattened features, applied before the cosine. Two *independent* untrained heads
make the term a null, since E<H_s a, H_r b> = 0 for every pair; so no source here can make them: heads are one map for
both streams, or a pair that starts equal and is trained apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from infodistill.seeding import stream
from infodistill.types import Source, T

Normaliser = Callable[[int, Tensor, Tensor], Tensor]
"""normaliser(stage, similarity (s, r), negative mask (s, r)) -> log Z, a scalar without gradient to the images."""


@runtime_checkable
class Heads(Protocol):
    """Maps of flattened stage features (n, d) to (n, e), for either stream."""

    def syn(self, stage: int, feature: Tensor) -> Tensor: ...
    def real(self, stage: int, feature: Tensor) -> Tensor: ...


def log_mean_exp(similarity: Tensor, weight: Tensor) -> Tensor:
    """The log of the weighted mean of e^similarity, from (s, r) similarities and (s, r) weights or a mask."""
    weight = weight.to(similarity)
    floor = torch.finfo(weight.dtype).tiny
    log_weight = torch.where(weight > 0, weight.clamp_min(floor).log(), -torch.inf)
    return (similarity + log_weight).flatten().logsumexp(0) - weight.sum().log()


def batch_log_z(stage: int, similarity: Tensor, negative: Tensor) -> Tensor:
    """The log of the mean exponential of the step's own negative pairs, detached."""
    del stage
    return log_mean_exp(similarity.detach(), negative)


@dataclass
class SharedRandomHead(Source[Heads]):
    """One frozen Gaussian map per feature width, the same for both streams and every step.

    It preserves cosines up to O(1/sqrt(dim)) (Johnson-Lindenstrauss), so it only makes wide stages cheaper; CMIM's
    code also leaves its heads untrained. Keyed by (seed, owner, width); holds nothing that needs saving.
    """

    dim: int = 128
    seed: int = 0
    owner: str = "mim.head"
    _made: dict[int, Tensor] = field(default_factory=dict[int, Tensor], repr=False)

    def draw(self) -> Heads:
        return _OneMap(self._map)

    def _map(self, stage: int, feature: Tensor) -> Tensor:
        del stage
        width = feature.shape[1]
        head = self._made.get(width)
        if head is None or head.device != feature.device or head.dtype != feature.dtype:
            head = self._made[width] = gaussian_head(width, self.dim, self.seed, self.owner).to(feature)
        return feature @ head


@dataclass
class Critic(Source[T]):
    """A source with named trainable tensors, moved down the gradient of the unweighted term by SGD with momentum."""

    seed: int = 0
    lr: float = 0.01
    momentum: float = 0.9
    tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor], repr=False)
    velocity: dict[str, Tensor] = field(default_factory=dict[str, Tensor], repr=False)

    def trainable(self) -> list[Tensor]:
        return [self.tensors[name] for name in sorted(self.tensors)]

    @torch.no_grad()
    def update(self, grads: Sequence[Tensor]) -> None:
        for name, grad in zip(sorted(self.tensors), grads, strict=True):
            self.velocity[name].mul_(self.momentum).add_(grad)
            self.tensors[name].sub_(self.velocity[name], alpha=self.lr)

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "tensors": _copies(self.tensors), "velocity": _copies(self.velocity)}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        for own, saved, learned in ((self.tensors, state["tensors"], True), (self.velocity, state["velocity"], False)):
            for name in own.keys() - saved.keys():
                del own[name]
            for name, value in saved.items():
                if name in own:
                    own[name].copy_(value)
                else:
                    own[name] = value.clone().requires_grad_(learned)

    def _named(self, name: str, make: Callable[[], Tensor], like: Tensor) -> Tensor:
        """The trainable tensor `name`, made on first use, where `like` lives."""
        if name not in self.tensors:
            self.tensors[name] = make().to(like).requires_grad_()
            self.velocity[name] = torch.zeros_like(self.tensors[name])
        if self.tensors[name].device != like.device:  # loaded on the CPU, used on an accelerator
            self.tensors[name] = self.tensors[name].detach().to(like.device).requires_grad_()
            self.velocity[name] = self.velocity[name].to(like.device)
        return self.tensors[name]


@dataclass
class TrainedHeads(Critic[Heads]):
    """Linear heads trained with the images on the same NCE loss, made from the stage widths on first use.

    Only for networks that stay the same: with a fresh network per step the channels have no identity, and trained
    heads lost to frozen ones in our study. MIM4DD's own optimiser is UNKNOWN; SGD with momentum is our choice.

    Args:
        dim: output dimension.
        streams: 1 for one head per stage, 2 for a pair per stage whose members start equal.
    """

    dim: int = 128
    streams: Literal[1, 2] = 1
    owner: str = "mim.heads"

    def draw(self) -> Heads:
        return _OneMap(self._shared) if self.streams == 1 else _TwoMaps(self._shared, self._second)

    def prepare(self, widths: Mapping[int, int], like: Tensor) -> None:
        """Make the heads of every {stage: width} on the device and dtype of `like`."""
        for stage, width in widths.items():
            for name in self._names(stage):
                self._head(name, stage, width, like)

    def _names(self, stage: int) -> list[str]:
        return [f"stage{stage:03d}", f"stage{stage:03d}.real"][: self.streams]

    def _head(self, name: str, stage: int, width: int, like: Tensor) -> Tensor:
        def make() -> Tensor:
            return gaussian_head(width, self.dim, self.seed, self.owner, stage)

        return self._named(name, make, like)

    def _shared(self, stage: int, feature: Tensor) -> Tensor:
        return feature @ self._head(self._names(stage)[0], stage, feature.shape[1], feature)

    def _second(self, stage: int, feature: Tensor) -> Tensor:
        return feature @ self._head(self._names(stage)[1], stage, feature.shape[1], feature)


@dataclass
class FrozenNormaliser(Source[Normaliser]):
    """log Z of the first batch each stage sees, kept from then on (CMIM's rule); saved with the run."""

    held: dict[int, Tensor] = field(default_factory=dict[int, Tensor], repr=False)

    def draw(self) -> Normaliser:
        return self._log_z

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "held": {str(stage): value.clone() for stage, value in self.held.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.held = {int(stage): value.clone() for stage, value in state["held"].items()}

    def _log_z(self, stage: int, similarity: Tensor, negative: Tensor) -> Tensor:
        if stage not in self.held:
            self.held[stage] = batch_log_z(stage, similarity, negative)
        return self.held[stage].to(similarity)


@dataclass
class TrainedNormaliser(Critic[Normaliser]):
    """A learned log Z per stage, started at the first batch's value: the scalar bias of the critic."""

    def draw(self) -> Normaliser:
        return self._log_z

    def _log_z(self, stage: int, similarity: Tensor, negative: Tensor) -> Tensor:
        return self._named(f"stage{stage:03d}", lambda: batch_log_z(stage, similarity, negative), similarity)


def gaussian_head(width: int, dim: int, seed: int, owner: str, stage: int = 0) -> Tensor:
    """A (width, dim) Gaussian map with entries N(0, 1/dim), so lengths are kept on average."""
    return torch.randn(width, dim, generator=stream(seed, owner, stage, width)) / dim**0.5


@dataclass(frozen=True)
class _OneMap:
    """One map for both streams."""

    both: Callable[[int, Tensor], Tensor]

    def syn(self, stage: int, feature: Tensor) -> Tensor:
        return self.both(stage, feature)

    def real(self, stage: int, feature: Tensor) -> Tensor:
        return self.both(stage, feature)


@dataclass(frozen=True)
class _TwoMaps:
    first: Callable[[int, Tensor], Tensor]
    second: Callable[[int, Tensor], Tensor]

    def syn(self, stage: int, feature: Tensor) -> Tensor:
        return self.first(stage, feature)

    def real(self, stage: int, feature: Tensor) -> Tensor:
        return self.second(stage, feature)


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in tensors.items()}
