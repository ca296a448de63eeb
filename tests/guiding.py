"""Three classes of a known mixture, and the two forces of IGDS on them: what the tests of guidance push."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from analytic import Mixture
from infodistill.diffusion.contract import Denoise
from infodistill.diffusion.features import Pooled
from infodistill.diffusion.guidance import guide
from infodistill.diffusion.samplers import ddpm, keyed_noise
from infodistill.diffusion.schedules import linear_alphas_bar, respaced
from infodistill.information.mixtures import MixtureEntropy
from infodistill.information.set_decoder import SetDecoder
from infodistill.seeding import stream
from infodistill.types import Batch, pixel_space

SHAPE, CLASSES, N = (1, 4, 4), 3, 4
SPACE = pixel_space(1)
Y = torch.arange(CLASSES).repeat_interleave(N)
SIGMA = 0.7


def mixture() -> Mixture:
    return Mixture(torch.randn(CLASSES, 6, *SHAPE, generator=stream(0, "means"), dtype=torch.float64), 0.05)


def real_batch() -> Batch:
    y = torch.arange(CLASSES).repeat_interleave(20)
    x = mixture().draw(y, stream(0, "real"))
    return Batch(x, y, torch.nn.functional.one_hot(y, CLASSES).double(), SPACE)


def prototype(h: float = 8.0) -> SetDecoder:
    centres = mixture().means.flatten(2).mean(1, keepdim=True)
    return SetDecoder(Pooled(), h, centres)


CONTEXT = MixtureEntropy(Pooled(), 2.0)
steered = partial(guide, classes=CLASSES, space=SPACE, real=lambda sigma: real_batch())


def images(n: int = len(Y)) -> Tensor:
    return torch.randn(n, *SHAPE, generator=stream(0, "x"), dtype=torch.float64)


def at(sigma: float, n: int = len(Y)) -> Tensor:
    return torch.full((n,), sigma, dtype=torch.float64)


def chain(denoise: Denoise, y: Tensor = Y, per_class: int = N, steps: int = 8) -> Tensor:
    draw = keyed_noise(0, y, torch.arange(per_class).repeat(len(y) // per_class), SHAPE)
    *_, last = ddpm(denoise, respaced(linear_alphas_bar(), steps), y, lambda step: draw(step).double())
    return last.x
