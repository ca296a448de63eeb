"""How one piece of network work runs under a policy: in chunks, in bfloat16, compiled. Views and training call it.

Two schedules, never shared. CPU: chunks whose widest activation stays in cache, since one big forward is bound by page
faults and memory traffic; compiled, all blocks' norm, ReLU and pooling fuse into passes beside the convolutions. CUDA:
the whole batch in one forward.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any, cast

import torch
import torch._functorch.config as functorch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from infodistill.compute.policy import Policy
from infodistill.descent import Loss, cross_entropy_rows
from infodistill.types import Net

CACHE_BYTES = 16 * 2**20  # of the widest float32 activation: 32 images at 128 channels of 32 x 32
GRAPHS_PER_NETWORK = 64  # shapes x frozen or trained x stages kept; more means that something varies by mistake
APART = {"comment_origin": True}
"""Keeps our graphs apart in PyTorch's on-disk cache, whose key (2.13) ignores `donated_buffer`: a graph that another
program compiled with it would be loaded, and its second backward is silently wrong. The option only adds comments."""

Keep = tuple[int, ...] | None
"""Indices of the stages wanted, or None for all."""


def stages(module: Net, params: Mapping[str, Tensor] | None, x: Tensor, keep: Keep, policy: Policy) -> list[Tensor]:
    """The kept stages of one chunk, in float32 or better; `params` None means the module's own.

    Compiled, a second derivative raises RuntimeError and one graph too many FailOnRecompileLimitHit.
    """
    return _float(_raw(module, params, x, keep, policy))


def every_stage(
    module: Net, params: Mapping[str, Tensor] | None, x: Tensor, keep: Keep, policy: Policy
) -> list[Tensor]:
    """`stages`, but compiled code always computes all: what is kept, hence which terms look, changes no bits."""
    if not policy.compile or keep is None:
        return stages(module, params, x, keep, policy)
    outputs = _raw(module, params, x, None, policy)
    return _float([outputs[index] for index in keep])


def head(module: Net, params: Mapping[str, Tensor] | None, feature: Tensor) -> Tensor:
    """Penultimate feature (n, d) to logits (n, k): always eager, never in bfloat16."""
    return module.head(feature) if params is None else functional_call(_Head(module), _inner(params), (feature,))


def backward(module: Net, x: Tensor, target: Tensor, policy: Policy, loss_rows: Loss = cross_entropy_rows) -> Tensor:
    """Add the gradient of (1/n) sum_i loss_rows(outputs, target)_i to `.grad` of the parameters; the detached loss, ().

    Shapes: x (n, c, h, w), target (n, k). Runs in the policy's chunks and precision on float32 master weights.
    """
    total = x.new_zeros(())
    rows = chunk_rows(module, x, policy)
    for part, wanted in zip(x.split(rows), target.split(rows), strict=True):
        loss = chunk_loss(module, None, part, wanted, rows=rows, policy=policy, loss_rows=loss_rows) / len(x)
        loss.backward()
        total += loss.detach()
    return total


def chunk_loss(
    module: Net,
    params: Mapping[str, Tensor] | None,
    x: Tensor,
    target: Tensor,
    *,
    rows: int,
    policy: Policy,
    loss_rows: Loss = cross_entropy_rows,
) -> Tensor:
    """Sum over one chunk of the loss of its rows, (); compiled, the chunk is filled up to `rows` with zeros."""
    feature = stages(module, params, padded(x, rows, policy), (-1,), policy)[0][: len(x)]
    return loss_rows(head(module, params, feature), target).sum()


def chunk_rows(module: nn.Module, x: Tensor, policy: Policy) -> int:
    """Images (n, c, h, w) per forward: the policy's number, else what fits the cache on a CPU and all of them on CUDA.

    The batch is cut evenly; compiled, the full chunk is kept (so that one graph serves most batches) while padding it
    costs under an eighth. A network whose batch norm is training couples its images and takes them all at once.
    """
    total = max(len(x), 1)
    coupled = any(isinstance(part, _BatchNorm) and part.training for part in module.modules())
    if coupled or (policy.chunk is None and x.device.type != "cpu"):
        return total
    limit = policy.chunk or _cached_rows(module, x)
    chunks = -(-total // limit)
    if policy.compile and chunks * limit <= total * 9 / 8:
        return limit
    return -(-total // chunks)


def padded(x: Tensor, rows: int, policy: Policy) -> Tensor:
    """Append zero images up to `rows`, so that compiled code sees one shape; eager code takes any."""
    if not policy.compile or len(x) == rows:
        return x
    return torch.cat([x, x.new_zeros(rows - len(x), *x.shape[1:])])


@cache
def compiled(function: Callable[..., Any], kind: type[Net], threads: int) -> Callable[..., Any]:
    """A function of a network compiled for one class of them (equal structures share graphs) and number of threads.

    Shapes are static, so the same call gives the same bits whatever ran before it. Past GRAPHS_PER_NETWORK graphs
    PyTorch raises FailOnRecompileLimitHit (because of `fullgraph`) where it would otherwise run eagerly in silence.
    """
    del kind, threads
    with warnings.catch_warnings():  # PyTorch 2.13's own compiler imports what it deprecates
        warnings.simplefilter("ignore", DeprecationWarning)
        import_module("torch._inductor.compile_fx")
    build = cast(Any, torch.compile)
    return build(
        function,
        fullgraph=True,
        dynamic=False,
        options=APART,
        recompile_limit=GRAPHS_PER_NETWORK,
        isolate_recompiles=True,
    )


@contextmanager
def compiling() -> Generator[None]:
    """What compiled code needs around it, at its first call and later."""
    # Terms share a graph, so its backward may run several times and must not write into what the forward saved. PyTorch
    # 2.13 asks for this setting again during backward: it has to stay.
    if functorch.donated_buffer:
        functorch.donated_buffer = False
    with warnings.catch_warnings():
        # The compiler looks at `.grad` of the images it traces with.
        warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor")
        yield


def _raw(module: Net, params: Mapping[str, Tensor] | None, x: Tensor, keep: Keep, policy: Policy) -> list[Tensor]:
    """The kept stages in whatever precision they were computed in."""
    with torch.autocast(x.device.type, torch.bfloat16, enabled=policy.precision == "bf16"):
        if not policy.compile:
            return _stages(_Stages(module), params, x, keep)
        # Convolutions on channels_last images skip the reorder to and from oneDNN's blocked layout.
        x = x.contiguous(memory_format=torch.channels_last)
        with compiling():
            run = compiled(_stages, type(module), torch.get_num_threads())
            return run(_Stages(module), params, x, keep)


def _stages(module: _Stages, params: Mapping[str, Tensor] | None, x: Tensor, keep: Keep) -> list[Tensor]:
    outputs = module(x) if params is None else functional_call(module, _inner(params), (x,))
    return list(outputs) if keep is None else [outputs[index] for index in keep]


def _float(outputs: list[Tensor]) -> list[Tensor]:
    return [output.float() if output.dtype == torch.bfloat16 else output for output in outputs]


class _Stages(nn.Module):
    """Makes `stages` the forward, which is all that `functional_call` can reach."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Any:
        return self.net.stages(x)


class _Head(_Stages):
    def forward(self, x: Tensor) -> Any:
        return self.net.head(x)


def _inner(params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"net.{name}": value for name, value in params.items()}


def _cached_rows(module: nn.Module, x: Tensor) -> int:
    """Images whose first convolution's output takes CACHE_BYTES; later maps are no larger in these networks."""
    first = next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)
    if first is None:
        return max(len(x), 1)
    stride = first.stride[0] * first.stride[1]
    return max(1, CACHE_BYTES * stride // (4 * first.out_channels * x.shape[2] * x.shape[3]))
