"""Networks: sizes, stages, initialisation by key, independence of the images of a batch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from infodistill import nets
from infodistill.nets.convnet import batch_norm
from infodistill.nets.initialise import initialise
from infodistill.seeding import build_seeded
from infodistill.types import Net

SHAPES = [(1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 8, 8), (3, 20, 17)]
FACTORIES = sorted(nets.NETS)
SMALLEST = {
    "lenet": 16,
    "alexnet": 8,
    "vgg11": 2,
    "resnet18": 2,
    "resnet18-idc": 2,
    "resnetap10": 2,
    "mlp": 1,
    "vit": 2,
    "convnet3": 8,
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(name: str, shape: tuple[int, int, int], classes: int = 10, seed: int = 0) -> Net:
    net = nets.by_name(name)(shape, classes)
    initialise(net, generator(seed))
    return net


def count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FACTORIES)
def test_every_net_takes_every_size_or_says_why_not(name: str, shape: tuple[int, int, int]) -> None:
    if min(shape[1:]) < SMALLEST[name]:
        with pytest.raises(ValueError, match=f"{shape[1]}x{shape[2]}") as caught:
            made(name, shape)
        assert "\n" not in str(caught.value)
        return
    net = made(name, shape, classes=7).eval()
    x = torch.randn(2, *shape, generator=generator(1))
    with torch.no_grad():
        stages, logits = net.stages(x), net(x)
    assert logits.shape == (2, 7) and logits.isfinite().all()
    assert stages[-1].ndim == 2 and len(stages) >= 2
    assert all(len(stage) == 2 for stage in stages)
    assert torch.equal(net.head(stages[-1]), logits)
    assert not torch.allclose(logits[0], logits[1])  # the image matters: no map has shrunk to a normalised pixel


@pytest.mark.parametrize("name", sorted(set(FACTORIES) - {"convnet3"}))
def test_too_small_images_are_refused_in_one_sentence(name: str) -> None:
    side = SMALLEST[name] - 1
    if side == 0:
        return
    with pytest.raises(ValueError, match=f"{side}x{side}"):
        nets.by_name(name)((3, side, side), 10)


def _resnet(widths: tuple[int, ...], blocks: int, channels: int, classes: int, stem: int = 3) -> int:
    """Convolutions without bias, two parameters per norm channel, a projection where the width changes."""
    total, inputs = channels * stem**2 * widths[0] + 2 * widths[0], widths[0]
    for width in widths:
        for _ in range(blocks):
            total += 9 * inputs * width + 9 * width * width + 4 * width
            total += inputs * width + 2 * width if inputs != width else 0
            inputs = width
    return total + inputs * classes + classes


def test_parameter_counts() -> None:
    wide, narrow = (64, 128, 256, 512), (32, 64, 128, 256)
    cifar, digits, tiny, large = (3, 32, 32), (1, 28, 28), (3, 64, 64), (3, 224, 224)
    assert _resnet(wide, 2, 3, 10) == 11_173_962
    assert count(made("resnet18", cifar)) == 11_173_962
    assert count(made("resnet18-idc", cifar)) == 11_173_962
    assert count(made("resnet18-idc", large)) == _resnet(wide, 2, 3, 10, stem=7)
    assert count(made("resnet18", digits)) == _resnet(wide, 2, 1, 10)
    assert count(made("resnet18", tiny, 200)) == _resnet(wide, 2, 3, 200)
    assert count(made("resnetap10", cifar)) == _resnet(narrow, 1, 3, 10)
    assert count(made("resnetap10", tiny)) == count(made("resnetap10", (3, 128, 128))) == _resnet(wide, 1, 3, 10)
    assert count(made("resnetap10", large)) == _resnet(wide, 1, 3, 10, stem=7)
    assert count(made("mlp", cifar)) == 3072 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10
    lenet = 25 * 6 + 6 + 25 * 6 * 16 + 16 + 400 * 120 + 120 + 120 * 84 + 84 + 84 * 10 + 10
    assert count(made("lenet", digits)) == lenet
    assert count(made("lenet", cifar)) == lenet + 2 * 25 * 6
    alexnet = 25 * 3 * 128 + 128 + 25 * 128 * 192 + 192 + 9 * (192 * 256 + 256 * 192 + 192 * 192) + 256 + 2 * 192
    assert count(made("alexnet", cifar)) == alexnet + 192 * 16 * 10 + 10
    widths = [3, 64, 128, 256, 256, 512, 512, 512, 512]
    vgg = sum(9 * a * b + 3 * b for a, b in pairwise(widths)) + 512 * 10 + 10
    assert count(made("vgg11", cifar)) == vgg


def test_maps_are_the_published_ones() -> None:
    def maps(name: str, shape: tuple[int, int, int]) -> list[tuple[int, ...]]:
        with torch.no_grad():
            return [tuple(stage.shape[1:]) for stage in made(name, shape).stages(torch.zeros(1, *shape))]

    assert maps("resnet18", (3, 32, 32)) == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512,)]
    assert maps("resnet18", (3, 64, 64))[-1] == (512,)
    assert maps("resnet18-idc", (3, 64, 64)) == maps("resnet18", (3, 64, 64))
    assert maps("resnet18-idc", (3, 128, 128)) == [(64, 64, 64), (128, 32, 32), (256, 16, 16), (512,)]
    assert maps("resnet18-idc", (3, 224, 224)) == [(64, 56, 56), (128, 28, 28), (256, 14, 14), (512,)]
    assert maps("resnetap10", (3, 32, 32)) == [(32, 32, 32), (64, 16, 16), (128, 8, 8), (256,)]
    assert maps("resnetap10", (3, 64, 64))[0] == (64, 64, 64)
    assert maps("resnetap10", (3, 128, 128))[0] == (64, 64, 64)  # pooled once behind the stem
    assert maps("resnetap10", (3, 224, 224)) == [(64, 56, 56), (128, 28, 28), (256, 14, 14), (512,)]
    assert maps("vgg11", (3, 32, 32))[-2:] == [(512, 2, 2), (512,)]
    assert maps("vgg11", (1, 28, 28)) == maps("vgg11", (3, 32, 32))  # digits are padded to 32
    assert maps("alexnet", (1, 28, 28))[-1] == maps("alexnet", (3, 32, 32))[-1] == (192 * 16,)
    assert maps("lenet", (1, 28, 28)) == maps("lenet", (3, 32, 32)) == [(6, 14, 14), (16, 5, 5), (120,), (84,)]
    assert maps("mlp", (3, 32, 32)) == [(128,), (128,)]


@pytest.mark.parametrize("name", ["resnet18", "resnetap10", "vgg11", "alexnet", "convnet2-w32"])
def test_images_of_a_batch_are_independent(name: str) -> None:
    net = made(name, (1, 8, 8)).double()
    x = torch.randn(6, 1, 8, 8, generator=generator(2), dtype=torch.float64)
    whole = net.stages(x)
    for c in range(3):
        part = net.stages(x[2 * c : 2 * c + 2])
        for a, b in zip(whole, part, strict=True):
            torch.testing.assert_close(a[2 * c : 2 * c + 2], b, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", ["convnet3", "vgg11", "lenet", "mlp"])
def test_initialisation_is_the_default_law(name: str) -> None:
    net = made(name, (3, 32, 32))
    default = build_seeded(lambda: nets.by_name(name)((3, 32, 32), 10), generator(9))
    others = dict(default.named_modules())
    for path, layer in net.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            for tensor in layer.parameters(recurse=False):
                assert float(tensor.detach().abs().max()) <= bound
            # float: n draws of U(-b, b) have mean 0 +- b / sqrt(3 n) and mean square b^2 / 3 (1 +- sqrt(0.8 / n))
            n, weight, other = layer.weight.numel(), layer.weight.detach(), others[path].weight.detach()  # pyright: ignore
            assert abs(float(weight.mean())) < 5 * bound / math.sqrt(3 * n)
            for sample in (weight, other):
                assert abs(float(sample.square().mean()) * 3 / bound**2 - 1) < 5 * math.sqrt(0.8 / n)
            ours, theirs = weight.flatten().sort().values, other.flatten().sort().values
            assert float((ours - theirs).abs().max()) < 2 * bound * 2 * 1.95 / math.sqrt(n)  # Kolmogorov, two samples
        elif isinstance(layer, nn.GroupNorm):
            assert (layer.weight == 1).all() and (layer.bias == 0).all()


def test_resnetap_has_its_own_law() -> None:
    net = made("resnetap10", (3, 64, 64))
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            weight, n = layer.weight.detach(), layer.weight.numel()
            variance = 2 / (layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels)
            assert abs(float(weight.square().mean()) / variance - 1) < 5 * math.sqrt(2 / n)
            kurtosis = float(weight.pow(4).mean() / weight.square().mean() ** 2)
            assert abs(kurtosis - 3) < 5 * math.sqrt(24 / n) + 0.01
        if isinstance(layer, nn.Linear):
            assert float(layer.weight.detach().abs().max()) <= 1 / math.sqrt(layer.in_features)


@pytest.mark.parametrize("name", FACTORIES)
def test_initialisation_is_keyed_and_in_place(name: str) -> None:
    net = nets.by_name(name)((3, 32, 32), 10)
    net.requires_grad_(False)
    addresses = [parameter.data_ptr() for parameter in net.parameters()]
    before = torch.random.get_rng_state()
    initialise(net, generator(3))
    first = copy.deepcopy(net.state_dict())
    initialise(net, generator(4))
    assert any(not torch.equal(value, first[path]) for path, value in net.state_dict().items())
    initialise(net, generator(3))
    assert all(torch.equal(value, first[path]) for path, value in net.state_dict().items())
    assert torch.equal(before, torch.random.get_rng_state())
    assert addresses == [parameter.data_ptr() for parameter in net.parameters()]
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_the_same_key_is_the_same_network_in_every_precision() -> None:
    single, double = made("convnet2-w32", (1, 8, 8)), nets.by_name("convnet2-w32")((1, 8, 8), 10).double()
    initialise(double, generator(0))
    for a, b in zip(single.parameters(), double.parameters(), strict=True):
        assert torch.equal(a.double(), b)


def test_batch_norm_statistics_are_reset() -> None:
    net = nets.convnet(depth=2, width=8, norm=batch_norm)((1, 8, 8), 3)
    net(torch.randn(16, 1, 8, 8, generator=generator(5)) + 2)
    initialise(net, generator(6))
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None and (layer.running_mean == 0).all()
            assert layer.running_var is not None and (layer.running_var == 1).all()
            assert int(layer.num_batches_tracked or 0) == 0


@pytest.mark.parametrize("make", [lambda: nn.Embedding(3, 2), lambda: nn.Sequential(nn.PReLU())])
def test_unknown_layers_are_refused(make: Callable[[], nn.Module]) -> None:
    with pytest.raises(ValueError, match="cannot initialise"):
        initialise(make(), generator(7))


@pytest.mark.parametrize("name", ["resnet18", "resnetap10", "vgg11"])
def test_second_derivatives_reach_the_image(name: str) -> None:
    """Gradient matching differentiates parameter gradients with respect to images."""
    net, x = made(name, (1, 8, 8)), torch.randn(2, 1, 8, 8, generator=generator(8), requires_grad=True)
    grads = torch.autograd.grad(net(x).square().sum(), list(net.parameters()), create_graph=True)
    total: Tensor = torch.stack([g.square().sum() for g in grads]).sum()
    (second,) = torch.autograd.grad(total, x)
    assert second.isfinite().all() and float(second.abs().sum()) > 0


def test_names() -> None:
    net = made("convnet2-w32", (1, 8, 8))
    assert count(net) == 10_986
    assert count(made("convnet3-w128", (3, 32, 32))) == count(made("convnet3", (3, 32, 32))) == 320_010
    assert count(made("convnet4", (3, 64, 64), 200)) == 857_160
    assert set(nets.NETS) < set(nets.names())
    for name in ("resnet19", "convnet", "convnet0", "convnet3-w", "convnet3-w0", "ConvNet3", "", "convnet3 "):
        with pytest.raises(ValueError, match="known are convnet3, resnet18"):
            nets.by_name(name)
