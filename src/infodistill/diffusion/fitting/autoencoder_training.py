"""Training of a small KL autoencoder, whose latents a denoiser is then trained on (Rombach et al., CVPR 2022).

Of an image x in [-1, 1] the encoder gives N(m, s^2) per latent entry, the decoder reads m + s xi:

    L = mean over pixels |x - decode(m + s xi)| + w mean over entries (m^2 + s^2 - 1 - log s^2) / 2,   w = 1e-4,

the second term KL(N(m, s^2) || N(0, 1)) in nats. Differs from the paper: no perceptual and no adversarial loss (they
need networks trained on other images), so fine texture comes out smoother; both terms are means, not sums.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from infodistill.diffusion.fitting.denoiser_training import Surroundings
from infodistill.diffusion.fitting.generative_fit import GenerativeFit, History, Saving
from infodistill.diffusion.fitting.loop import fit_generative
from infodistill.diffusion.fitting.supply import Supply, rows_of_step
from infodistill.diffusion.models.autoencoder import LatentCodec
from infodistill.running.checkpoint import load_checkpoint
from infodistill.seeding import stream

VALIDATION_ROWS, PIECE = 512, 128


@dataclass(frozen=True)
class AutoencoderFit:
    """How an autoencoder is trained.

    Attributes:
        fit: the loop's hyper-parameters.
        batch: images a step.
        kl: w, the weight of the KL term.
        seed: key of every draw.
    """

    fit: GenerativeFit
    batch: int = 64
    kl: float = 1e-4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch < 1 or self.kl < 0:
            raise ValueError(f"batch >= 1 and kl >= 0 are wanted, got {self.batch} and {self.kl}")

    def facts(self) -> dict[str, Any]:
        """JSON-able, without the loop's."""
        return {"batch": self.batch, "kl": self.kl, "seed": self.seed}


def gaussian_kl(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, exp(logvar)) || N(0, 1)) per entry, in nats; >= 0, and 0 at (0, 0)."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar)


def autoencoder_loss(vae: nn.Module, x: Tensor, xi: Callable[[Tensor], Tensor] | None, kl: float) -> Tensor:
    """The loss of images x (n, c, h, w) in [-1, 1]; xi(mean) gives the noise, None reads the mean (validation)."""
    network = cast(Any, vae)
    law = network.encode(x).latent_dist
    mean, logvar = law.mean.float(), law.logvar.float()
    code = mean if xi is None else mean + (0.5 * logvar).exp() * xi(mean)
    error = (network.decode(code, return_dict=False)[0].float() - x).abs().mean()
    return error + kl * gaussian_kl(mean, logvar).mean()


def train_autoencoder(
    vae: nn.Module, train: Supply, held: Supply, how: AutoencoderFit, around: Surroundings | None = None
) -> History:
    """Train an AutoencoderKL in place on pixel supplies; it ends with the averaged weights of the best validation."""
    around = around or Surroundings()
    index = rows_of_step(0, min(VALIDATION_ROWS, len(held)), len(held), how.seed)
    judged = held.images(index, torch.zeros(len(index), dtype=torch.bool))

    def loss(step: int) -> Tensor:
        generator = stream(how.seed, "autoencoder", step)
        rows = rows_of_step(step, how.batch, len(train), how.seed)
        x = train.images(rows, torch.rand(len(rows), generator=generator) < 0.5)
        return autoencoder_loss(vae, x, lambda mean: torch.randn(mean.shape, generator=generator).to(mean), how.kl)

    def validate() -> float:
        parts = judged.split(PIECE)
        return sum(float(autoencoder_loss(vae, part, None, how.kl)) * len(part) for part in parts) / len(judged)

    return fit_generative(
        vae.eval(), loss, how.fit, validate=validate,
        watch=around.watch, saving=around.saving, tell=around.tell, what=around.what,
    )  # fmt: skip


@torch.no_grad()
def trained_autoencoder(vae: nn.Module, how: AutoencoderFit, saving: Saving) -> History:
    """Put what a training left into an AutoencoderKL, without going on: a denoiser has learned its latents.

    Raises:
        FileNotFoundError: nothing was saved.
        ValueError: it is the training of something else, or cannot be read.
    """
    state = load_checkpoint(saving.path)
    saving.check(state.get("facts"), how.fit)
    weights = state["best"] or state["average"]
    for name, value in vae.named_parameters():
        value.copy_(weights[name])
    return History(**state["history"])


@torch.no_grad()
def fitted_codec(vae: nn.Module, supply: Supply, shape: tuple[int, int, int]) -> LatentCodec:
    """The codec of a trained autoencoder: its latents (posterior means) are shifted and scaled to mean 0, variance 1.

    One number each for all entries, read from the images of `supply`: scale = 1 / std over images and entries.
    """
    plain = LatentCodec(vae, scale=1.0, shape=shape)
    count, first, second = 0, 0.0, 0.0
    for index in torch.arange(len(supply)).split(PIECE):
        x = supply.images(index, torch.zeros(len(index), dtype=torch.bool))
        latents = plain.encode((x + 1) / 2).double()
        count, first = count + latents.numel(), first + float(latents.sum())
        second += float(latents.square().sum())
    shift = first / count
    return LatentCodec(vae, scale=(second / count - shift**2) ** -0.5, shift=shift, shape=shape)


@torch.no_grad()
def reconstruction_psnr(codec: LatentCodec, supply: Supply) -> float:
    """-10 log10 of the mean squared error of decode(encode(x)) over [0, 1] pixels, cut to that range, in decibels."""
    total, count = 0.0, 0
    for index in torch.arange(len(supply)).split(PIECE):
        pixels = (supply.images(index, torch.zeros(len(index), dtype=torch.bool)) + 1) / 2
        error = (codec.decode(codec.encode(pixels)).clamp(0, 1) - pixels).double().square()
        total, count = total + float(error.sum()), count + error.numel()
    return -10 * float(torch.tensor(total / count).log10())
