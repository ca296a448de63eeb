"""A View: a network, the parameters it is seen with, and the policy it runs under."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from infodistill.compute import execution
from infodistill.compute.policy import Policy
from infodistill.types import Net, ValueSpace, convert


@dataclass(frozen=True)
class View:
    """A network at given parameters. Every tensor it hands out is float32 or better, whatever the policy.

    `params` that are the module's own are used directly; others go through `torch.func.functional_call`. Gradients
    for parameters exist only where they require grad. `space` is what the network was trained in, None for any;
    `age` counts its training steps, `accuracy` is what is known of it.

    Under `policy.compile` results have first derivatives only: gradient matching asks `class_gradients`.
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
        """The stages listed in `keep`, in that order: chunked, and following the grad mode.

        With `policy.recompute` and gradients on, every chunk is recomputed in backward. Errors, out of memory
        included, pass through unchanged.
        """
        return self._run(x, space, tuple(keep))

    def logits(self, x: Tensor, space: ValueSpace | None = None) -> Tensor:
        """Images (n, c, h, w) to (n, k)."""
        return self.head(self.features(x, space)[0])

    def head(self, feature: Tensor) -> Tensor:
        """Penultimate feature (n, d) to logits (n, k)."""
        return execution.head(self.module, self._params, feature)

    @cached_property
    def _params(self) -> Mapping[str, Tensor] | None:
        """None when the parameters are the module's own."""
        own = dict(self.module.named_parameters())
        same = own.keys() == self.params.keys() and all(own[name] is value for name, value in self.params.items())
        return None if same else self.params

    def _run(self, x: Tensor, space: ValueSpace | None, keep: execution.Keep) -> tuple[Tensor, ...]:
        if self.space is not None and space is not None:
            x = convert(x, space, self.space)
        rows = execution.chunk_rows(self.module, x, self.policy)
        pieces = [self._piece(part, rows, keep) for part in x.split(rows)]
        if len(pieces) == 1:
            return tuple(pieces[0])
        return tuple(torch.cat(parts) for parts in zip(*pieces, strict=True))

    def _piece(self, part: Tensor, rows: int, keep: execution.Keep) -> list[Tensor]:
        def run(images: Tensor) -> list[Tensor]:
            images = execution.padded(images, rows, self.policy)
            return execution.every_stage(self.module, self._params, images, keep, self.policy)

        if self.policy.recompute and torch.is_grad_enabled():
            outputs = checkpoint(run, part, use_reentrant=False, preserve_rng_state=False)
        else:
            outputs = run(part)
        return [output[: len(part)] for output in outputs]
