"""Losses, optimisers and steps of network training: against float64 autograd and closed forms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from infodistill.compute import Policy
from infodistill.descent import GSAM, adam, cross_entropy_rows, gap_gradient, plain_step, sgd, squared_error_rows
from infodistill.nets.convnet import convnet
from infodistill.real import RealData
from infodistill.sources.teachers import Schooling
from infodistill.training import Fit, fit
from infodistill.types import Batch
from oracles import gsam
from toys import Affine, batch, real_data


def affine(seed: int = 5) -> Affine:
    module = Affine((1, 4, 4), 3)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module


def trained(hyper: Fit, data: Batch | None = None) -> list[Tensor]:
    module = affine()
    fit(module, data or batch(7), hyper, torch.Generator().manual_seed(8))
    return [parameter.detach().double() for parameter in module.parameters()]


def pieces(rows: Batch, epochs: int, size: int) -> list[tuple[Tensor, Tensor]]:
    order = torch.Generator().manual_seed(8)
    drawn = [torch.randperm(len(rows), generator=order).split(size) for _ in range(epochs)]
    return [(rows.x[i].flatten(1).double(), rows.target[i].double()) for epoch in drawn for i in epoch]


def logistic(x: Tensor, target: Tensor) -> gsam.Loss:
    return lambda weight, bias: -(target * (x @ weight.T + bias).log_softmax(1)).sum(1).mean()


@pytest.mark.parametrize("adaptive", [0.0, 1.0])
@pytest.mark.parametrize(("rho", "alpha"), [(0.05, 0.0), (0.05, 0.3), (0.4, 1.0)])
def test_gsam_is_its_equations(rho: float, alpha: float, adaptive: float) -> None:
    found = trained(Fit(3, 3, 0.2, 0.9, 0.03, descend=GSAM(rho, alpha, adaptive)))
    losses = [logistic(*piece) for piece in pieces(batch(7), 3, 3)]
    start = [parameter.detach().double() for parameter in affine().parameters()]
    settings = {"rho": rho, "alpha": alpha, "adaptive": adaptive}
    wanted = gsam.train(start, losses, rate=0.2, momentum=0.9, decay=0.03, **settings)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=3e-6)
    plain = trained(Fit(3, 3, 0.2, 0.9, 0.03))
    assert max(float((a - b).abs().max()) for a, b in zip(found, plain, strict=True)) > 1e-4


def test_the_gap_gradient_in_the_plane() -> None:
    """g = (3, 4), g_p = (2, 0): the part of g orthogonal to g_p is (0, 4)."""
    (new,) = gap_gradient([torch.tensor([3.0, 4.0])], [torch.tensor([2.0, 0.0])], 0.25)
    assert torch.equal(new, torch.tensor([2.0, -1.0]))


def test_gsam_of_a_quadratic_in_one_dimension() -> None:
    """l = w^2/2 at w = 2, adaptive: s = 2, e = s^2 g / |s g| = 2, so w moves along 2 + 2 rho; none is orthogonal."""
    w = torch.tensor([2.0], requires_grad=True)

    def gradient() -> Tensor:
        w.grad = w.detach().clone()
        return w.detach().square().sum() / 2

    loss = GSAM(rho=0.25, alpha=1.0)(torch.optim.SGD([w], 0.5), [w], gradient)
    assert loss.item() == 2.0
    assert w.item() == pytest.approx(2.0 - 0.5 * 2.5)


def test_both_gradients_of_a_step_see_the_same_augmented_images() -> None:
    seen: list[Tensor] = []

    class Noise:
        def draw(self, generator: torch.Generator, rows: int, shape: Sequence[int]) -> Tensor:
            return torch.randn(rows, 1, generator=generator)

        def apply(self, x: Tensor, record: Tensor, row: Tensor) -> Tensor:
            return x + record[row].view(-1, 1, 1, 1)

    class Watched(Affine):
        def stages(self, x: Tensor) -> tuple[Tensor, ...]:
            seen.append(x.clone())
            return super().stages(x)

    hyper = Fit(2, 4, 0.1, augment=Noise(), descend=GSAM())
    fit(Watched((1, 4, 4), 3), batch(7), hyper, torch.Generator().manual_seed(8))
    assert len(seen) == 8
    for first, second in zip(seen[::2], seen[1::2], strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(seen[0], seen[4][:4])


def test_gsam_leaves_the_weights_where_they_were_when_the_rate_is_zero() -> None:
    for a, b in zip(trained(Fit(2, 3, 0.0, descend=GSAM(0.3))), affine().parameters(), strict=True):
        assert torch.equal(a, b.detach().double())


def test_losses_of_a_row() -> None:
    outputs, target = torch.tensor([[1.0, -1.0], [0.0, 2.0]]), torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    softplus = torch.nn.functional.softplus
    wanted = torch.stack([0.5 * (softplus(torch.tensor(-2.0)) + softplus(torch.tensor(2.0))), torch.tensor(0.126928)])
    torch.testing.assert_close(cross_entropy_rows(outputs, target), wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(squared_error_rows(outputs, target), torch.tensor([(0.25 + 2.25) / 2, 0.5]))


@pytest.mark.parametrize(("optimiser", "make"), [(adam, torch.optim.Adam), (sgd, torch.optim.SGD)])
def test_squared_error_with_either_optimiser(
    optimiser: Callable[..., torch.optim.Optimizer], make: type[torch.optim.Optimizer]
) -> None:
    found = trained(Fit(4, 3, 0.05, weight_decay=0.02, loss=squared_error_rows, optimiser=optimiser))
    weights = [parameter.detach().double().requires_grad_() for parameter in affine().parameters()]
    moves = make(weights, lr=0.05, weight_decay=0.02)  # type: ignore[call-arg]
    for x, target in pieces(batch(7), 4, 3):
        moves.zero_grad()
        (x @ weights[0].T + weights[1] - target).square().mean().backward()
        moves.step()
    for a, b in zip(found, weights, strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=1e-4, atol=1e-5)


def test_only_rules_that_are_not_the_usual_ones_are_named_in_digests() -> None:
    usual = Fit(2, loss=cross_entropy_rows, optimiser=sgd, descend=plain_step)
    assert usual.rules() == {}
    rules = Fit(2, loss=squared_error_rows, optimiser=adam, descend=GSAM(0.02)).rules()
    assert rules["loss"] == "squared_error_rows"
    assert rules["optimiser"] == "adam"
    assert "rho=0.02" in rules["descend"]
    real: RealData = real_data()
    module, policy = convnet(depth=1, width=2)(real.shape, 3), Policy()
    digests = {Schooling(1, hyper).digest(module, real, policy) for hyper in (usual, Fit(2), Fit(2, descend=GSAM()))}
    assert len(digests) == 2
