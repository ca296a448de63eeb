"""CutMix: boxes as published, labels by area, draws that do not depend on each other."""

from __future__ import annotations

import math

import pytest
import torch

from infodistill.augment.mixing import Box, CutMix, box_around, paste
from infodistill.nets.convnet import convnet
from infodistill.seeding import stream
from infodistill.training import Fit, fit
from table import tiny_real


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.75, 0.99])
def test_boxes_have_the_published_sides_and_are_clipped(keep: float) -> None:
    side = int(math.sqrt(1 - keep) * 32) // 2
    assert box_around(16, 16, keep, (32, 32)) == Box(16 - side, 16 + side, 16 - side, 16 + side)
    assert box_around(0, 31, keep, (32, 32)) == Box(0, side, 31 - side, min(31 + side, 32))


def test_pasting_mixes_labels_by_area() -> None:
    x = torch.arange(3.0)[:, None, None, None].expand(3, 1, 4, 8).clone()
    target, order = torch.eye(3), torch.tensor([1, 2, 0])
    mixed, labels = paste(x, target, order, Box(1, 3, 2, 6))
    assert float(mixed[0].sum()) == 8  # 8 of 32 pixels come from image 1
    torch.testing.assert_close(labels[0], torch.tensor([0.75, 0.25, 0.0]))
    torch.testing.assert_close(labels.sum(1), torch.ones(3))
    assert torch.equal(x[:, 0, 0, 0], torch.arange(3.0))


def test_probability_and_mean_share() -> None:
    x, target, generator = torch.rand(2, 1, 16, 16), torch.eye(2), stream(0, "mix")
    shares = []
    for _ in range(400):
        mixed, labels = CutMix()(x, target, generator)
        shares.append(None if mixed is x else float(min(labels[0].max(), labels[1].max())))
    used = [share for share in shares if share is not None]
    assert 160 <= len(used) <= 240
    always = [CutMix(1.0)(x, target, generator)[0] for _ in range(20)]
    assert any(not torch.equal(mixed, x) for mixed in always)
    assert all(CutMix(0.0)(x, target, generator)[0] is x for _ in range(5))


def test_a_batch_that_is_not_mixed_uses_as_many_draws() -> None:
    x, target = torch.rand(4, 1, 8, 8), torch.eye(4)
    never, always = stream(0, "a"), stream(0, "a")
    CutMix(0.0)(x, target, never)
    CutMix(1.0)(x, target, always)
    assert torch.equal(never.get_state(), always.get_state())


def test_training_with_a_mix_is_keyed_and_differs_from_without() -> None:
    real = tiny_real()

    def weights(mix: CutMix | None) -> torch.Tensor:
        torch.manual_seed(0)
        net = convnet(depth=1, width=4)(real.shape, real.num_classes)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.fill_(0.05)
        fit(net, real, Fit(2, 8, 0.05, mix=mix), stream(1, "fit"))
        return torch.cat([p.detach().flatten() for p in net.parameters()])

    assert torch.equal(weights(CutMix(1.0)), weights(CutMix(1.0)))
    assert not torch.equal(weights(CutMix(1.0)), weights(None))
    assert Fit(1, mix=CutMix()).rules() == {"mix": "CutMix(probability=0.5, beta=1.0)"}


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"probability in \[0, 1\] and beta > 0, got 1.5 and 1"):
        CutMix(1.5)
