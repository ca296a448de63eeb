"""A View: a network, the parameters it is seen with, and the policy it runs under."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]
from torch.utils.checkpoint import checkpoint

from infodistill.nets import cells
from infodistill.policy import Policy
from infodistill.types import Net, ValueSpace, convert

CACHE_BYTES = 16 * 2**20  # what one chunk's widest float32 activation may take on a CPU: 32 images at 128 x 32 x 32


@dataclass(frozen=True)
class View:
    """A network at given parameters. Convolutions follow the policy; every tensor handed out is float32.

    `params` that are the module's own are used directly; others go through `torch.func.functional_call`. Gradients
    for parameters exist only where they require grad. `space` is what the network was trained in, None for any;
    `age` counts its training steps, `accuracy` is what is known of it.
    """

    module: Net
    params: Mapping[str, Tensor]
    policy: Policy = field(default_factory=Policy)
    space: ValueSpace | None = None
    age: int = 0
    accuracy: float | None = None

    @classmethod
    def own(cls, module: Net, **keywords: Any) -> View:
        """The module seen with its own parameters."""
        return cls(module, dict(module.named_parameters()), **keywords)

    def stages(self, x: Tensor, space: ValueSpace | None = None) -> tuple[Tensor, ...]:
        """Every block's output for images (n, c, h, w) written in `space`; the last is (n, d)."""
        return self._run(x, space, None)

    def features(self, x: Tensor, space: ValueSpace | None = None, keep: Sequence[int] = (-1,)) -> tuple[Tensor, ...]:
        """The stages listed in `keep`, in that order, computed in chunks; follows the grad mode."""
        return self._run(x, space, keep)

    def logits(self, x: Tensor, space: ValueSpace | None = None) -> Tensor:
        """Images (n, c, h, w) to (n, k)."""
        return self.head(self.features(x, space)[0])

    def head(self, feature: Tensor) -> Tensor:
        """Penultimate feature (n, d) to logits (n, k), in float32."""
        return self._call("head", feature)

    def chunk_rows(self, x: Tensor) -> int:
        """How many images of this shape one forward takes."""
        return chunk_rows(self.module, x, self.policy)

    def _run(self, x: Tensor, space: ValueSpace | None, keep: Sequence[int] | None) -> tuple[Tensor, ...]:
        if self.space is not None and space is not None:
            x = convert(x, space, self.space)

        def piece(rows: Tensor) -> tuple[Tensor, ...]:
            with execution(self.policy, rows):
                stages = self._call("stages", rows)
            kept = stages if keep is None else [stages[index] for index in keep]
            return tuple(stage.float() if stage.dtype == torch.bfloat16 else stage for stage in kept)

        recompute = self.policy.recompute and torch.is_grad_enabled()
        run = _recomputed(piece) if recompute else piece
        pieces = [run(rows) for rows in x.split(self.chunk_rows(x))]
        return pieces[0] if len(pieces) == 1 else tuple(torch.cat(parts) for parts in zip(*pieces, strict=True))

    def _call(self, name: str, x: Tensor) -> Any:
        if self._uses_own:
            return getattr(self.module, name)(x)
        return functional_call(_Method(self.module, name), self._prefixed, (x,))

    @cached_property
    def _uses_own(self) -> bool:
        own = dict(self.module.named_parameters())
        return own.keys() == self.params.keys() and all(own[name] is value for name, value in self.params.items())

    @cached_property
    def _prefixed(self) -> dict[str, Tensor]:
        return {f"net.{name}": value for name, value in self.params.items()}


def backward(module: Net, x: Tensor, target: Tensor, policy: Policy) -> Tensor:
    """Add the gradient of mean_i -sum_k target_ik log p_ik to `.grad` of the parameters; the detached loss.

    Shapes: x (n, c, h, w), target (n, k). Runs in the policy's chunks and precision on float32 master weights.
    """
    total = x.new_zeros(())
    rows = chunk_rows(module, x, policy)
    for part, wanted in zip(x.split(rows), target.split(rows), strict=True):
        with execution(policy, part):
            feature = module.stages(part)[-1]
        loss = -(wanted * module.head(feature.float()).log_softmax(1)).sum() / len(x)
        loss.backward()
        total += loss.detach()
    return total


def chunk_rows(module: nn.Module, x: Tensor, policy: Policy) -> int:
    """Images per forward: the policy's, or what keeps the first convolution's output in cache on a CPU.

    A network whose batch norm is training couples its images and always takes the whole batch.
    """
    total = max(len(x), 1)
    if any(isinstance(part, _BatchNorm) and part.training for part in module.modules()):
        return total
    if policy.chunk is None and x.device.type != "cpu":
        return total
    limit = min(policy.chunk or _cached_rows(module, x), total)
    chunks = -(-total // limit)
    return -(-total // chunks)


def _cached_rows(module: nn.Module, x: Tensor) -> int:
    """Images whose first-convolution output takes CACHE_BYTES (networks widen more slowly than they shrink)."""
    first = next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)
    if first is None:
        return max(len(x), 1)
    stride = first.stride[0] * first.stride[1]
    return max(1, CACHE_BYTES * stride // (4 * first.out_channels * x.shape[2] * x.shape[3]))


@contextmanager
def execution(policy: Policy, x: Tensor) -> Generator[None]:
    """Run network code under the policy: bfloat16 autocast when asked for, cells compiled or eager."""
    bf16 = policy.precision == "bf16"
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16), cells.compiled(policy.compile):
        yield


class _Method(nn.Module):
    """Lets `functional_call`, which calls forward, reach another method."""

    def __init__(self, net: nn.Module, name: str) -> None:
        super().__init__()
        self.net = net
        self.name = name

    def forward(self, x: Tensor) -> Any:
        return getattr(self.net, self.name)(x)


def _recomputed(piece: Callable[[Tensor], tuple[Tensor, ...]]) -> Callable[[Tensor], tuple[Tensor, ...]]:
    def run(rows: Tensor) -> tuple[Tensor, ...]:
        return checkpoint(piece, rows, use_reentrant=False, preserve_rng_state=False)

    return run
