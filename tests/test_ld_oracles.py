"""Both forms of label distillation against their equations, value and gradient, in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from infodistill.distillation import Distillation
from infodistill.methods.ld import ld
from infodistill.methods.ld_ridge import ld_ridge, ridge_head, running_head
from infodistill.nets.initialise import initialise
from infodistill.seeding import stream
from infodistill.types import Batch
from ldjobs import carried, small
from oracles import krr
from oracles import ld as oracle
from table import NET
from toys import Affine


def wide(job: Distillation) -> tuple[Batch, Batch]:
    """The step's two batches in float64, the targets of the set as a leaf, and the carried model in float64."""
    carried(job).module.double()
    syn, real = job.syn.batch().detach(), job.real.batch(5, 0, 6)
    target = (0.7 * syn.target.double() + 0.1).requires_grad_()  # soft labels
    return replace(syn, x=syn.x.double(), target=target), replace(real, x=real.x.double(), target=real.target.double())


def flat(batch: Batch, rows: Tensor | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Pixels with a column of ones, and targets."""
    x = batch.x.flatten(1) if rows is None else batch.x[rows].flatten(1)
    y = batch.target.detach() if rows is None else batch.target.detach()[rows]
    return torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1).numpy(), y.numpy()


def test_the_lookahead_has_its_closed_form_for_softmax_regression() -> None:
    job = small(ld, Affine, inner_lr=0.3)
    syn, real = wide(job)
    start, rows = carried(job).draw().start, carried(job).rows(6)
    w = torch.cat([start["fc.weight"].T, start["fc.bias"][None]]).numpy()
    loss = job.terms["match"].term(syn, real)
    (grad,) = torch.autograd.grad(loss, syn.target)
    value, slope = oracle.lookahead(w, flat(syn, rows), flat(real), 0.3)
    assert loss.item() == pytest.approx(value, rel=1e-6)
    wanted = np.zeros((6, 3))
    wanted[rows.numpy()] = slope
    np.testing.assert_allclose(grad.numpy(), wanted, rtol=1e-6, atol=1e-9)


def test_the_ridge_solution_is_the_primal_one_and_differentiable() -> None:
    generator = torch.Generator().manual_seed(0)
    phi, y = (torch.randn(5, k, generator=generator, dtype=torch.float64) for k in (8, 3))
    np.testing.assert_allclose(ridge_head(phi, y, 0.7).numpy(), oracle.ridge(phi.numpy(), y.numpy(), 0.7), rtol=1e-9)
    strength = torch.tensor(0.7, dtype=torch.float64)
    inputs = tuple(tensor.requires_grad_() for tensor in (phi, y, strength))
    assert torch.autograd.gradcheck(ridge_head, inputs)
    with pytest.raises(FloatingPointError, match="ridge system of 3 images"):
        ridge_head(torch.full((3, 4), torch.inf), torch.zeros(3, 2), 1.0)


def seen(job: Distillation, batch: Batch, rows: Tensor | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Features of the carried model with a column of ones, and targets."""
    x, y = (batch.x, batch.target.detach()) if rows is None else (batch.x[rows], batch.target.detach()[rows])
    with torch.no_grad():
        feature = carried(job).module.stages(x)[-1]
    return torch.cat([feature, feature.new_ones(len(x), 1)], 1).numpy(), y.numpy()


def test_the_running_head_is_its_equation_over_two_steps() -> None:
    job = small(ld_ridge, ridge=0.5, keep=0.9)
    syn, real = wide(job)
    term, model, head = job.terms["match"].term, carried(job), np.zeros((33, 3))
    adjust: Tensor = term.adjust  # type: ignore[attr-defined]
    for _ in range(2):
        rows = model.rows(6)
        s, t = seen(job, syn, rows), seen(job, real)
        loss = term(syn, real)
        g_y, g_a = torch.autograd.grad(loss, (syn.target, adjust))

        def value(y: np.ndarray, a: float, s: Any = s, t: Any = t, head: Any = head) -> float:
            return oracle.running_loss(head, a, (s[0], y), t, (0.5, 0.9))

        assert loss.item() == pytest.approx(value(s[1], 1.0), rel=1e-6)
        slope = krr.slope(lambda y, value=value: value(y, 1.0), s[1])
        np.testing.assert_allclose(g_y.numpy()[rows.numpy()], slope, rtol=1e-4, atol=1e-7)
        slope = krr.slope(lambda a, value=value, s=s: value(s[1], float(a[0])), np.ones(1))
        assert g_a.item() == pytest.approx(slope[0], rel=1e-3)
        head = 0.9 * head + 0.1 * oracle.ridge(*s, 0.5)
        model.advance(syn.detach(), job.real)
        np.testing.assert_allclose(dict(model.module.named_buffers())["weight"].numpy(), head, rtol=1e-9, atol=1e-12)


def test_the_running_head_classifies_and_starts_anew_with_its_network() -> None:
    module = running_head(NET, (1, 8, 8), 3)
    assert module.weight.shape == (33, 3)
    x = torch.randn(4, 1, 8, 8, generator=stream(0, "x"))
    module.weight.normal_(generator=stream(0, "w"))
    module.scale.fill_(2.0)
    feature = module.stages(x)[-1]
    torch.testing.assert_close(module(x), 2 * (feature @ module.weight[:-1] + module.weight[-1]))
    initialise(module, stream(0, "net"))
    assert not module.weight.any()
    twin = NET((1, 8, 8), 3)
    initialise(twin, stream(0, "net"))
    assert all(torch.equal(a, b) for a, b in zip(module.net.parameters(), twin.parameters(), strict=True))
