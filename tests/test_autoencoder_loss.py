"""The loss of the autoencoder against sums written out: error, divergence, the noise of the code, and its training."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from infodistill.diffusion.fitting import autoencoder_training as module
from infodistill.diffusion.fitting.autoencoder_training import AutoencoderFit, autoencoder_loss, train_autoencoder
from infodistill.diffusion.fitting.generative_fit import GenerativeFit
from infodistill.diffusion.fitting.supply import LatentSupply, rows_of_step
from infodistill.seeding import stream

KL = 0.3
START = {"p": 0.9, "q": 0.2, "r": -0.4, "s": -0.7, "u": 1.1, "w": 0.1}


class Affine(nn.Module):
    """The code of an image is read from its first channel: N(p x + q, exp(r x + s)); every channel decodes to u z + w.

    Latents are fewer than pixels, so the two means of the loss divide by different numbers.
    """

    def __init__(self) -> None:
        super().__init__()
        for name, value in START.items():
            self.register_parameter(name, nn.Parameter(torch.tensor(value)))
        self.channels = 2

    def encode(self, x: Tensor) -> SimpleNamespace:
        first = x[:, :1]
        law = SimpleNamespace(mean=self.p * first + self.q, logvar=self.r * first + self.s)
        return SimpleNamespace(latent_dist=law)

    def decode(self, code: Tensor, return_dict: bool = True) -> tuple[Tensor]:
        assert not return_dict
        return ((self.u * code + self.w).expand(-1, self.channels, -1, -1),)


def images(count: int = 3, owner: str = "x") -> Tensor:
    return torch.rand(count, 2, 2, 2, generator=stream(0, owner)) * 2 - 1


def by_hand(x: Tensor, xi: Tensor | None, kl: float) -> tuple[float, dict[str, float]]:
    """The loss in float64, entry by entry, and its slopes in all six numbers."""
    p, q, r, s, u, w = START.values()
    n, channels, height, width = x.shape
    entries = n * height * width
    value, slope = 0.0, dict.fromkeys(START, 0.0)
    for i in range(n):
        for a in range(height):
            for b in range(width):
                first = float(x[i, 0, a, b])
                mean, logvar = p * first + q, r * first + s
                noise = 0.0 if xi is None else float(xi[i, 0, a, b])
                z = mean + math.exp(logvar / 2) * noise
                d_mean, d_logvar = kl * mean / entries, kl * (math.exp(logvar) - 1) / 2 / entries
                value += kl * 0.5 * (mean**2 + math.exp(logvar) - 1 - logvar) / entries
                for c in range(channels):
                    gap = u * z + w - float(x[i, c, a, b])
                    value += abs(gap) / (entries * channels)
                    sign = math.copysign(1, gap) / (entries * channels)
                    slope["u"] += sign * z
                    slope["w"] += sign
                    d_mean += sign * u
                    d_logvar += sign * u * noise * math.exp(logvar / 2) / 2
                slope["p"] += d_mean * first
                slope["q"] += d_mean
                slope["r"] += d_logvar * first
                slope["s"] += d_logvar
    return value, slope


@pytest.mark.parametrize("kl", [0.0, KL])
@pytest.mark.parametrize("noisy", [True, False], ids=["training", "validation"])
def test_value_and_gradient_are_those_of_sums_written_out(noisy: bool, kl: float) -> None:
    vae, x = Affine(), images()
    xi = torch.randn(3, 1, 2, 2, generator=stream(0, "xi"))
    asked: list[Tensor] = []

    def noise(mean: Tensor) -> Tensor:
        asked.append(mean)
        return xi

    value = autoencoder_loss(vae, x, noise if noisy else None, kl)
    value.backward()
    wanted, slope = by_hand(x, xi if noisy else None, kl)
    assert float(value.detach()) == pytest.approx(wanted, rel=1e-5)
    told = {name: 0.0 if weight.grad is None else float(weight.grad) for name, weight in vae.named_parameters()}
    assert told == pytest.approx(slope, rel=1e-4, abs=1e-6)
    assert len(asked) == noisy and all(mean.shape == xi.shape for mean in asked)


def test_low_precision_networks_are_judged_in_float32() -> None:
    x = images(64)
    assert autoencoder_loss(Affine().bfloat16(), x.bfloat16(), None, KL).dtype == torch.float32


@pytest.mark.parametrize("flips", [True, False])
def test_a_training_step_and_the_validation_are_this_loss(monkeypatch: pytest.MonkeyPatch, flips: bool) -> None:
    """The first step's rows, flips and noise, keyed; the held-out images as they are, in pieces, without noise."""
    monkeypatch.setattr(module, "PIECE", 2)
    x, held = images(9), images(5, "held")
    supply = LatentSupply(x, torch.zeros(9).long(), x.flip(3) if flips else None)
    how = AutoencoderFit(GenerativeFit(1, lr=1e-12, warmup=0), batch=4, kl=KL, seed=5)
    history = train_autoencoder(Affine(), supply, LatentSupply(held, torch.zeros(5).long(), held.flip(3)), how)
    generator = stream(5, "autoencoder", 0)
    mirrored = torch.rand(4, generator=generator) < 0.5
    rows = x[rows_of_step(0, 4, 9, 5)]
    assert mirrored.any() and not mirrored.all()
    shown = torch.where((mirrored & flips).view(-1, 1, 1, 1), rows.flip(3), rows)
    xi = torch.randn(4, 1, 2, 2, generator=generator)
    assert history.losses[0][1] == pytest.approx(by_hand(shown, xi, KL)[0], rel=1e-5)
    assert history.best == pytest.approx(by_hand(held, None, KL)[0], rel=1e-5)
    other = train_autoencoder(Affine(), supply, supply, replace(how, kl=2 * KL))
    assert other.losses[0][1] == pytest.approx(by_hand(shown, xi, 2 * KL)[0], rel=1e-5)
