"""Training steps on the synthetic set as a differentiable function: theta_N of (theta_0, images, labels, rates).

    v_{i+1} = mu v_i + g_i,  theta_{i+1} = theta_i - eta_i v_{i+1},  g_i = grad_theta l(theta_i; A_i(x_{b_i}), Y_{b_i})

`sweep` is what ships: its backward runs the adjoint of these steps in reverse and recomputes each (Maclaurin et al.
2015; Wang et al. 2018 for distillation), exact and with the memory of one step and N parameter vectors. With lambda =
dL/dtheta_N and w = 0, for i = N-1 ... 0:

    deta_i = -<lambda, v_{i+1}>,  w -= eta_i lambda,  (dX, dY, dtheta) = d<w, g_i>,  lambda += dtheta,  w *= mu

`unrolled` keeps the whole graph and is the oracle; `checkpointed` keeps a graph of a few steps at a time; `truncated`
stops the adjoint a few steps from the end; `tesla` holds lambda constant. All have one signature, and one value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from infodistill.unrolling.inner import Inner, Params, Record, Unroll, check_steps
from infodistill.unrolling.kept_graph import checkpointed as checkpointed
from infodistill.unrolling.kept_graph import unrolled as unrolled


class Tape(NamedTuple):
    """A rolled-out training: theta_0 ... theta_{N-1} and the velocities v_1 ... v_N (None without momentum)."""

    inner: Inner
    record: Record
    thetas: list[Params]
    velocities: list[Params] | None


class Cotangents(NamedTuple):
    """Derivatives of the loss with respect to images, labels, rates and theta_0."""

    images: Tensor
    labels: Tensor
    rates: Tensor
    theta: Params


Adjoint = Callable[[Tape, Tensor, Tensor, Tensor, Params], Cotangents]
"""adjoint(tape, images, labels, rates, dL/dtheta_N) -> the derivatives."""


def adjoint(
    tape: Tape,
    images: Tensor,
    labels: Tensor,
    rates: Tensor,
    last: Params,
    *,
    window: int | None = None,
    carry: Callable[[Params, Params], Params] | None = None,
) -> Cotangents:
    """The reverse sweep; `window` steps of it (all by default), with `carry(lambda, dtheta)` as lambda's update."""
    carry, inner, count = carry or _plus, tape.inner, len(tape.record)
    out = Cotangents(torch.zeros_like(images), torch.zeros_like(labels), torch.zeros_like(rates), last)
    lam, w = dict(last), {name: torch.zeros_like(value) for name, value in last.items()}
    for i in reversed(range(max(0, count - (window or count)), count)):
        rows, theta = tape.record.rows[i], tape.thetas[i]
        w = {name: w[name] - rates[i] * lam[name] for name in lam}
        with torch.enable_grad():
            raw = images[rows].detach().requires_grad_()
            seen = inner.view(raw, tape.record.omegas[i])
        made = inner.product(theta, seen, labels[rows], w)
        velocity = made.g if tape.velocities is None else tape.velocities[i]
        out.rates[i] = -_dot(lam, velocity)
        (d_raw,) = torch.autograd.grad(seen, raw, made.x.to(seen.dtype))
        out.images.index_add_(0, rows, d_raw)
        out.labels.index_add_(0, rows, made.target)
        lam = carry(lam, made.theta)
        w = {name: inner.momentum * value for name, value in w.items()}
    return out._replace(theta=lam)


def constant_adjoint(tape: Tape, images: Tensor, labels: Tensor, rates: Tensor, last: Params) -> Cotangents:
    """TESLA's two-pass gradient (Cui et al., ICML 2023): every theta_i is a constant, so lambda stays dL/dtheta_N.

    It drops the factors (I - eta_i H_i), so it is a biased estimate whose error grows with the rate and N; see
    `benchmarks/tesla.py`. Differs: the released code loses the factor 2 of the squared distance, so its image gradients
    are half of these (its learning rates were tuned with that; `methods/tesla.py`).
    """
    return adjoint(tape, images, labels, rates, last, carry=_keep)


def roll(
    inner: Inner, theta: Params, images: Tensor, labels: Tensor, rates: Tensor, record: Record
) -> tuple[Tape, Params]:
    """Train without a graph: the tape, and theta_N."""
    thetas, velocities = list[Params](), list[Params]()
    velocity: Params | None = None
    for i, rows in enumerate(record.rows):
        thetas.append(theta)
        g = inner.gradient(theta, inner.view(images[rows], record.omegas[i]), labels[rows])
        velocity = g if velocity is None else {name: inner.momentum * velocity[name] + g[name] for name in g}
        if inner.momentum:
            velocities.append(velocity)
        theta = {name: value - rates[i] * velocity[name] for name, value in theta.items()}
        velocity = velocity if inner.momentum else None
    return Tape(inner, record, thetas, velocities if inner.momentum else None), theta


class _Rolled(torch.autograd.Function):
    """`roll` forward, an `Adjoint` backward. First derivatives only; the backward may run several times."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[Tensor, ...]:
        back, inner, record, names, images, labels, rates, *values = args
        ctx.tape, last = roll(inner, dict(zip(names, values, strict=True)), images, labels, rates, record)
        ctx.back, ctx.names = back, names
        ctx.save_for_backward(images, labels, rates)
        return tuple(last[name] for name in names)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        images, labels, rates = ctx.saved_tensors
        out = ctx.back(ctx.tape, images, labels, rates, dict(zip(ctx.names, grads, strict=True)))
        return None, None, None, None, out.images, out.labels, out.rates, *(out.theta[name] for name in ctx.names)


def rolled(
    inner: Inner,
    theta0: Mapping[str, Tensor],
    images: Tensor,
    labels: Tensor,
    rates: Tensor,
    record: Record,
    *,
    back: Adjoint = adjoint,
) -> Params:
    """theta_N with a given adjoint as its derivative."""
    check_steps(images, labels, rates, record)
    names = tuple(theta0)
    last = _Rolled.apply(back, inner, record, names, images, labels, rates, *theta0.values())
    return dict(zip(names, last, strict=True))  # type: ignore[arg-type]


sweep: Unroll = rolled
"""theta_N with the exact adjoint: constant memory, one recomputation of every step."""

tesla: Unroll = partial(rolled, back=constant_adjoint)
"""theta_N with TESLA's gradient."""


def truncated(window: int) -> Unroll:
    """theta_N with the exact adjoint of the last `window` steps only (RaT-BPTT, Feng et al. 2023: a biased gradient).

    Raises:
        ValueError: window is below 1.
    """
    if window < 1:
        raise ValueError(f"a window has at least 1 step, got {window}")
    return partial(rolled, back=partial(adjoint, window=window))


def _plus(left: Params, right: Params) -> Params:
    return {name: value + right[name] for name, value in left.items()}


def _keep(left: Params, right: Params) -> Params:
    del right
    return left


def _dot(left: Params, right: Params) -> Tensor:
    return torch.stack([(left[name] * right[name]).sum() for name in left]).sum()
