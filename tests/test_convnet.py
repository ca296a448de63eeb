"""ConvNet-D: the published parameter counts and feature sizes, and the shapes the field meets."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from infodistill.nets.convnet import (
    ConvNet,
    batch_norm,
    convnet,
    group_norm,
    instance_norm,
    layer_norm,
    max_pool,
    no_norm,
)
from infodistill.seeding import stream


@pytest.mark.parametrize(
    ("depth", "shape", "classes", "parameters", "feature"),
    [
        (3, (1, 28, 28), 10, 317_706, 2048),
        (3, (3, 32, 32), 10, 320_010, 2048),
        (3, (3, 32, 32), 100, 504_420, 2048),
        (4, (3, 64, 64), 200, 857_160, 2048),
        (3, (3, 64, 64), 200, 1_938_120, 8192),
        (5, (3, 128, 128), 10, 615_690, 2048),
        (6, (3, 224, 224), 100, 858_340, 1152),
    ],
)
def test_published_counts(depth: int, shape: tuple[int, int, int], classes: int, parameters: int, feature: int) -> None:
    with torch.device("meta"):
        net = convnet(depth=depth)(shape, classes)
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters
    assert isinstance(net, ConvNet) and net.classifier.in_features == feature


@pytest.mark.parametrize(
    ("depth", "shape", "maps"),
    [
        (2, (1, 8, 8), [(4, 4), (2, 2)]),
        (3, (1, 28, 28), [(16, 16), (8, 8), (4, 4)]),
        (2, (3, 12, 20), [(6, 10), (3, 5)]),
        (2, (1, 9, 7), [(4, 3), (2, 1)]),
    ],
)
def test_stages_are_the_pooled_blocks_and_the_flat_feature(
    depth: int, shape: tuple[int, int, int], maps: list[tuple[int, int]]
) -> None:
    net = convnet(depth=depth, width=5)(shape, 4)
    x = torch.randn(2, *shape, generator=stream(0, "x"))
    stages = net.stages(x)
    assert [tuple(stage.shape[2:]) for stage in stages[:-1]] == maps[:-1]
    assert stages[-1].shape == (2, 5 * maps[-1][0] * maps[-1][1])
    assert torch.equal(net(x), net.head(stages[-1])) and net(x).shape == (2, 4)


def test_first_block_is_conv_instance_norm_relu_average_pool() -> None:
    net = convnet(depth=1, width=4)((2, 6, 6), 3)
    assert isinstance(net, ConvNet)
    x = torch.randn(3, 2, 6, 6, generator=stream(0, "x"))
    z = net.blocks[0].get_submodule("conv")(x)
    normal = (z - z.mean((2, 3), keepdim=True)) / (z.var((2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
    expected = normal.clamp_min(0).unflatten(3, (3, 2)).unflatten(2, (3, 2)).mean((3, 5)).flatten(1)
    torch.testing.assert_close(net.stages(x)[-1], expected, rtol=1e-5, atol=1e-6)


def test_images_do_not_influence_each_other() -> None:
    net = convnet(depth=2, width=4)((1, 8, 8), 3)
    x = torch.randn(6, 1, 8, 8, generator=stream(0, "x"))
    torch.testing.assert_close(net(x)[2:3], net(x[2:3]), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("norm", [instance_norm, group_norm, layer_norm, batch_norm, no_norm])
@pytest.mark.parametrize("pool", [max_pool, nn.Identity])
def test_norm_and_pool_are_parts(norm: object, pool: object) -> None:
    net = convnet(depth=2, width=8, norm=norm, pool=pool)((3, 8, 8), 4)  # pyright: ignore[reportArgumentType]
    assert net(torch.randn(2, 3, 8, 8, generator=stream(0, "x"))).shape == (2, 4)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="images of 8x8 are too small for convnet4"):
        convnet(depth=4)((1, 8, 8), 10)
    with pytest.raises(ValueError, match="must be positive"):
        convnet(width=0)((1, 8, 8), 10)
