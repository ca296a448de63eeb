"""The small ViT against PyTorch's own transformer layer, its positions and patches; timm models through a double."""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from infodistill import nets
from infodistill.nets.initialise import initialise
from infodistill.nets.vit import Attention, TransformerBlock, ViT, patch_side, sine_cosine_positions


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("side", "patch"), [(8, 2), (16, 2), (20, 3), (28, 4), (32, 4), (64, 8), (128, 16), (256, 16)])
def test_patches_follow_the_image_size(side: int, patch: int) -> None:
    assert patch_side(side, side) == patch


def test_a_block_is_the_pre_norm_transformer_layer() -> None:
    block = TransformerBlock(24, 3).double()
    theirs = nn.TransformerEncoderLayer(
        24, 3, 96, dropout=0.0, activation="gelu", batch_first=True, norm_first=True, dtype=torch.float64
    )
    pairs = [
        (theirs.self_attn.in_proj_weight, block.attention.inputs.weight),
        (theirs.self_attn.out_proj.weight, block.attention.output.weight),
        (theirs.self_attn.out_proj.bias, block.attention.output.bias),
        (theirs.linear1.weight, block.widen.weight),
        (theirs.linear1.bias, block.widen.bias),
        (theirs.linear2.weight, block.narrow.weight),
        (theirs.linear2.bias, block.narrow.bias),
    ]
    with torch.no_grad():
        for target, value in pairs:
            target.copy_(value)
        theirs.self_attn.in_proj_bias.zero_()
    x = torch.randn(2, 5, 24, dtype=torch.float64, generator=generator())
    torch.testing.assert_close(block(x), theirs(x))


def test_positions_are_distinct_unit_waves() -> None:
    places = sine_cosine_positions(3, 5, 16)
    assert places.shape == (15, 16)
    assert torch.allclose(places.square().sum(1), torch.full((15,), 8.0))
    assert torch.cdist(places, places).fill_diagonal_(1).min() > 0.1
    last = places[2 * 5 + 4]  # row 2, column 4
    assert math.isclose(float(last[0]), math.sin(2), rel_tol=1e-5)
    assert math.isclose(float(last[12]), math.cos(4), rel_tol=1e-5)


def test_stages_are_maps_and_margins_are_zeros() -> None:
    net = ViT((3, 20, 17), 4, width=24, depth=2, heads=3)
    initialise(net, generator())
    x = torch.randn(2, 3, 20, 17, generator=generator(1))
    first, last = net.stages(x)
    assert first.shape == (2, 24, 7, 6) and last.shape == (2, 24)
    # a network for 21x18 has the same patches: the same image with the zeros written out
    large = ViT((3, 21, 18), 4, width=24, depth=2, heads=3)
    large.load_state_dict(net.state_dict())
    padded = torch.zeros(2, 3, 21, 18)
    padded[:, :, :20, :17] = x
    torch.testing.assert_close(large(padded), net(x))


def test_attention_has_a_second_derivative() -> None:
    attention = Attention(4, 2).double()
    x = torch.randn(1, 3, 4, dtype=torch.float64, generator=generator(), requires_grad=True)
    assert torch.autograd.gradgradcheck(attention, (x,))


@pytest.mark.parametrize(("width", "depth"), [(20, 1), (24, 0)])
def test_widths_that_heads_do_not_divide_are_refused(width: int, depth: int) -> None:
    with pytest.raises(ValueError, match=f"{depth}, {width}, 3"):
        ViT((1, 8, 8), 2, width=width, depth=depth, heads=3)


class Double(nn.Module):
    """What a timm model answers, with a parameter our law of initialisation would not know."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(3))
        self.conv = nn.Conv2d(channels, 3, 3)
        self.fc = nn.Linear(3, classes)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.conv(x) + self.token.view(-1, 1, 1)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        flat = x.mean((2, 3))
        return flat if pre_logits else self.fc(flat)

    def get_classifier(self) -> nn.Module:
        return self.fc


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []

    def create_model(name: str, **told: Any) -> nn.Module:
        if name == "convolutional" and "img_size" in told:
            raise TypeError("unexpected keyword argument 'img_size'")
        if name == "unknown":
            raise RuntimeError("Unknown model (unknown)")
        calls.append({"name": name, **told})
        return Double(told["in_chans"], told["num_classes"])

    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=create_model))
    return calls


@pytest.mark.parametrize("name", ["transformer", "convolutional"])
def test_a_timm_model_is_one_of_our_nets(name: str, asked: list[dict[str, Any]]) -> None:
    net = nets.by_name(f"timm:{name}")((1, 8, 8), 5)
    assert asked[0].get("img_size") == ((8, 8) if name == "transformer" else None)
    assert asked[0]["pretrained"] is False
    initialise(net, generator(3))
    first = {key: value.clone() for key, value in net.state_dict().items()}
    initialise(net, generator(4))
    assert not torch.equal(first["model.token"], net.state_dict()["model.token"])
    initialise(net, generator(3))
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in first.items())
    x = torch.randn(2, 1, 8, 8, generator=generator())
    stages = net.stages(x)
    assert stages[-1].shape == (2, 3) and net(x).shape == (2, 5)
    assert torch.equal(net.head(stages[-1]), net(x))


def test_names_timm_does_not_know_are_one_sentence(asked: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match=r"timm makes no 'unknown' for images of 1 x 8x8: Unknown model"):
        nets.by_name("timm:unknown")((1, 8, 8), 5)


def test_without_timm_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    factory = nets.by_name("timm:resnet50")  # naming it costs nothing
    with pytest.raises(ImportError, match=r'pip install "infodistill\[vision\]"'):
        factory((3, 32, 32), 10)
