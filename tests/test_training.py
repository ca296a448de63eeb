"""fit against a float64 oracle that knows no autograd, and its promises about randomness and side effects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from infodistill.compute import Policy, View
from infodistill.nets.convnet import convnet
from infodistill.training import Fit, accuracy, fit
from infodistill.types import Batch, ValueSpace, convert, pixel_space
from oracles import sgd
from toys import SPACE, Affine, batch


def affine() -> Affine:
    module = Affine((1, 4, 4), 3)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module


def generator(seed: int = 8) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weights(module: torch.nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


class Counting:
    """Rows that remember how many were asked for at each call."""

    def __init__(self, rows: Batch) -> None:
        self.held, self.calls = rows, []

    def __len__(self) -> int:
        return len(self.held)

    def rows(self, index: Tensor, /) -> Batch:
        self.calls.append(sorted(index.tolist()))
        return self.held.rows(index)


class Brighten:
    """An augmentation whose record is one offset per image."""

    def __init__(self) -> None:
        self.records: list[Tensor] = []

    def draw(self, generator: torch.Generator, rows: int, shape: Sequence[int]) -> Tensor:
        assert tuple(shape) == (1, 4, 4)
        self.records.append(torch.rand(rows, 1, generator=generator))
        return self.records[-1]

    def apply(self, x: Tensor, record: Tensor, row: Tensor) -> Tensor:
        return x + record[row].view(-1, 1, 1, 1)


HYPER = {"batch": 3, "lr": 0.2, "momentum": 0.9, "weight_decay": 0.03}


def test_fit_is_sgd_with_momentum_decay_schedule_and_restarts() -> None:
    module, rows, losses = affine(), batch(7), []
    hyper = Fit(6, **HYPER, decay=lambda epoch: 0.1 if epoch >= 3 else 1.0, restarts=(3,))
    order, start = generator(), [parameter.detach().double().numpy().copy() for parameter in module.parameters()]
    epochs = [torch.randperm(7, generator=order).split(3) for _ in range(6)]
    pieces = [
        [(rows.x[i].flatten(1).double().numpy(), rows.target[i].double().numpy()) for i in epoch] for epoch in epochs
    ]
    fit(module, rows, hyper, generator(), on_epoch=lambda epoch, loss: losses.append((epoch, loss)))
    weight, bias, expected = sgd.train(
        *start, pieces, rate=lambda e: 0.2 * hyper.decay(e), momentum=0.9, decay=0.03, restarts=(3,)
    )
    np.testing.assert_allclose(module.fc.weight.detach().numpy(), weight, atol=2e-6)
    np.testing.assert_allclose(module.fc.bias.detach().numpy(), bias, atol=2e-6)
    assert [epoch for epoch, _ in losses] == list(range(6))
    np.testing.assert_allclose([loss for _, loss in losses], expected, atol=2e-6)


def test_restart_and_decay_change_the_result() -> None:
    def final(**changes: object) -> Tensor:
        module = affine()
        fit(module, batch(7), Fit(6, **HYPER, **changes), generator())
        return weights(module)

    plain = final()
    assert (final(restarts=(3,)) - plain).abs().max() > 1e-3
    assert (final(decay=lambda epoch: 0.1 if epoch >= 3 else 1.0) - plain).abs().max() > 1e-3
    assert torch.equal(final(restarts=(0,)), plain)


def test_every_epoch_visits_every_row_once_and_keeps_the_short_batch() -> None:
    rows = Counting(batch(7))
    fit(affine(), rows, Fit(4, batch=3), generator())
    assert [len(call) for call in rows.calls] == [3, 3, 1] * 4
    for epoch in range(4):
        assert sorted(row for call in rows.calls[3 * epoch : 3 * epoch + 3] for row in call) == list(range(7))
    assert rows.calls[:3] != rows.calls[3:6]


def test_one_fresh_record_row_per_image() -> None:
    augment = Brighten()
    fit(affine(), batch(7), Fit(2, batch=4, augment=augment), generator())
    assert [len(record) for record in augment.records] == [4, 3, 4, 3]
    assert len(torch.cat(augment.records).unique()) == 14


def test_same_generator_same_weights_and_no_global_randomness() -> None:
    modules = [affine() for _ in range(3)]
    before = torch.random.get_rng_state()
    results = []
    for module, seed in zip(modules, (1, 1, 2), strict=True):
        fit(module, batch(7), Fit(3, batch=3, augment=Brighten(), lr=0.1), generator(seed))
        results.append(weights(module))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    assert torch.equal(before, torch.random.get_rng_state())


def test_images_are_converted_to_the_networks_space_before_augmentation() -> None:
    target, rows = ValueSpace((0.1,), (0.7,)), batch(7)
    there = Batch(convert(rows.x, SPACE, target), rows.y, rows.target, target)
    results = []
    for data in (rows, there):
        module = affine()
        fit(module, data, Fit(3, augment=Brighten()), generator(), space=target)
        results.append(weights(module))
    assert torch.equal(*results)


def test_frozen_parameters_learn_and_everything_is_put_back() -> None:
    module = affine().eval().requires_grad_(False)
    start = weights(module)
    with torch.no_grad():
        fit(module, batch(7), Fit(1), generator())
    assert not torch.equal(start, weights(module))
    assert not module.training
    assert all(not parameter.requires_grad and parameter.grad is None for parameter in module.parameters())


def test_divergence_names_the_epoch_and_still_restores_the_module() -> None:
    module = affine().eval()
    with pytest.raises(FloatingPointError, match="epoch 2"):
        fit(module, batch(7), Fit(9, batch=7, decay=lambda epoch: float("inf") if epoch == 1 else 1.0), generator())
    assert not module.training


@pytest.mark.parametrize("wrong", [{"epochs": -1}, {"epochs": 1, "batch": 0}, {"epochs": 1, "momentum": 1.0}])
def test_impossible_hyper_parameters_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="got"):
        Fit(**wrong)


def test_chunks_do_not_change_a_step() -> None:
    rows = Batch(torch.randn(9, 1, 8, 8, generator=generator()), torch.arange(9) % 3, torch.eye(3).repeat(3, 1), SPACE)
    results = []
    for chunk in (9, 2):
        module = convnet(depth=2, width=4)((1, 8, 8), 3)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator(1)) * 0.3)
        fit(module, rows, Fit(3, batch=9, momentum=0.9), generator(), policy=Policy(chunk=chunk))
        results.append(weights(module))
    assert torch.allclose(*results, atol=1e-5)


def test_accuracy_counts_and_converts() -> None:
    module, rows = affine(), batch(11)
    hits = (module(rows.x).argmax(1) == rows.y).float().mean().item()
    view = View.own(module, space=SPACE)
    assert accuracy(view, rows, batch=4) == pytest.approx(hits)
    pixels = Batch(SPACE.to_pixels(rows.x), rows.y, rows.target, pixel_space(1))
    assert accuracy(view, pixels) == pytest.approx(hits)
