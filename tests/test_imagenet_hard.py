"""The hard-label protocol of ImageNet subsets: epochs by images per class, rates, networks at every size."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from infodistill import nets
from infodistill.augment.mixing import CutMix
from infodistill.augment.photographs import Photographs
from infodistill.evaluation.evaluating import evaluate
from infodistill.evaluation.imagenet_hard import epochs_for, imagenet_hard
from infodistill.evaluation.protocols import PROTOCOLS, EvaluationProtocol, protocol_for
from infodistill.nets.initialise import initialise
from infodistill.training import Fit, fit
from infodistill.types import ValueSpace
from test_training import generator
from toys import SPACE, Affine, artefact, real_data


@pytest.mark.parametrize(
    ("ipc", "ten", "hundred", "thousand"),
    [
        (1, 3000, 2000, 3000),
        (2, 2000, 1300, 2000),
        (10, 2000, 1300, 2000),
        (11, 1500, 1000, 1500),
        (50, 1500, 1000, 1500),
        (100, 1000, 600, 1000),
        (200, 1000, 600, 1000),
        (500, 500, 300, 500),
        (501, 300, 200, 300),
    ],
)
def test_epochs_by_images_per_class(ipc: int, ten: int, hundred: int, thousand: int) -> None:
    assert [epochs_for(ipc, classes) for classes in (10, 100, 1000)] == [ten, hundred, thousand]
    assert protocol_for("imagenet-hard", "imagenette", ipc=ipc, classes=10).fit().epochs == ten


def test_rates_batches_and_decay_by_classes() -> None:
    few, many = (protocol_for("imagenet-hard", "x", ipc=10, classes=k).fit() for k in (100, 101))
    assert (few.lr, few.weight_decay, few.batch, few.momentum) == (0.01, 5e-4, 64, 0.9)
    assert (many.lr, many.weight_decay, many.batch, many.momentum) == (0.1, 1e-4, 128, 0.9)
    rates = [few.lr * few.decay(epoch) for epoch in range(few.epochs)]
    assert rates == pytest.approx([0.01] * 866 + [0.002] * 217 + [0.0004] * 217)  # 1300: 866, 1083
    assert few.restarts == () and few.mix == CutMix(1.0, 1.0)
    assert few.augment == Photographs() and few.augment.area == (0.5, 1.0)


def test_one_set_has_one_frozen_protocol() -> None:
    assert PROTOCOLS["imagenet-hard"] == protocol_for("imagenet-hard") == imagenet_hard(10, 10)
    told = json.loads(json.dumps(protocol_for("imagenet-hard", "imagenette", ipc=1, classes=10).as_dict()))
    assert told["epochs"] == 3000 and EvaluationProtocol.from_dict(told).fit().epochs == 3000
    assert protocol_for("dsa", "cifar10", ipc=1, classes=10) == protocol_for("dsa", "cifar10")
    assert protocol_for("imagenet-hard", "mnist", ipc=1).augment == "imagenet:crop_jitter_lighting"


def test_every_batch_is_mixed() -> None:
    x = torch.zeros(4, 1, 8, 8) + torch.arange(4.0).view(4, 1, 1, 1)
    target = torch.eye(4)
    for seed in range(30):
        _, mixed = CutMix(1.0)(x, target, generator(seed))
        assert torch.allclose(mixed.sum(1), torch.ones(4))
    moved = sum(not torch.equal(CutMix(1.0)(x, target, generator(seed))[1], target) for seed in range(30))
    assert moved >= 25  # an empty box or an unchanged order is the only way out


@pytest.mark.parametrize("side", [64, 128, 224])
@pytest.mark.parametrize("name", ["convnet6", "resnetap10", "resnet18-idc"])
def test_the_three_networks_are_built_at_every_size(name: str, side: int) -> None:
    net = nets.by_name(name)((3, side, side), 10)
    if name == "convnet6":
        flat = {64: 1, 128: 2, 224: 3}[side]
        assert net.classifier.in_features == flat * flat * 128  # pyright: ignore
    norms = [module for module in net.modules() if isinstance(module, torch.nn.GroupNorm)]
    assert norms and all(module.num_groups == module.num_channels for module in norms)


def test_convnet6_runs_at_64_and_says_why_not_at_32() -> None:
    net = nets.by_name("convnet6")((3, 64, 64), 10)
    initialise(net, generator())
    with torch.no_grad():
        out = net(torch.randn(2, 3, 64, 64, generator=generator(1)))
    assert out.shape == (2, 10) and not torch.allclose(out[0], out[1])
    with pytest.raises(ValueError, match=r"32x32 are too small for convnet6: .* too small to pool again.*convnet5"):
        nets.by_name("convnet6")((3, 32, 32), 10)


class Watching(Affine):
    """Keeps what it is shown."""

    def stages(self, x: Tensor) -> tuple[Tensor, ...]:
        self.shown = x.detach()
        return super().stages(x)


def test_a_training_shows_the_same_augmented_pixels_in_every_value_space() -> None:
    hyper = replace(PROTOCOLS["imagenet-hard"], mix="none").fit(1)
    seen: list[Tensor] = []
    for space in (SPACE, ValueSpace((0.1,), (0.7,))):
        module = Watching((1, 8, 8), 3)
        fit(module, real_data(4), hyper, generator(), space=space)
        seen.append(space.to_pixels(module.shown))
    torch.testing.assert_close(seen[0], seen[1], atol=1e-5, rtol=0)
    plain = Watching((1, 8, 8), 3)
    fit(plain, real_data(4), replace(hyper, augment=None), generator(), space=SPACE)
    assert not torch.allclose(SPACE.to_pixels(plain.shown), seen[0], atol=0.05)


def test_evaluation_takes_the_epochs_of_the_set(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    original = EvaluationProtocol.fit

    def spy(self: EvaluationProtocol, *args: Any, **settings: Any) -> Fit:
        asked.append(original(self, *args, **settings).epochs)
        return original(self, 1)

    monkeypatch.setattr(EvaluationProtocol, "fit", spy)
    for ipc, epochs in ((1, 3000), (2, 2000)):
        asked.clear()
        made = artefact(ipc, protocol="imagenet-hard")
        result = evaluate(made, real_data(), {"affine": Affine}, seeds=[0], random_subsets=1)
        assert set(asked) == {epochs} and result.protocol.epochs == epochs
