"""P1's classifier q(y | x, sigma) of noisy images x = x0 + sigma noise, trained at every noise level of a model.

Cross-entropy is minimised over images, levels (uniform over the model's table) and noise:  L = -E log q(y | x, sigma).
For balanced classes log C + E log q(y | x, sigma) <= I(X_sigma; Y) <= I(X_0; Y) in nats: the first step because
E log p(y | x) - E log q(y | x) = E KL(p(. | x) || q(. | x)) >= 0 for every normalised q (Barber & Agakov, 2003), the
second by data processing. So training tightens the bound at every level, and stopping at the best held-out loss stops
at the tightest held-out bound: a network that is too sure loosens it, never breaks it. (Dhariwal & Nichol, 2021, guide
with such a classifier; architecture and training here are ours.)
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from infodistill.diffusion.fitting.generative_fit import GenerativeFit, History
from infodistill.diffusion.fitting.loop import fit_generative
from infodistill.diffusion.fitting.noisy_network import TINY, NoiseAwareClassifier
from infodistill.diffusion.fitting.supply import Supply, held_out, rows_of_step, supplied
from infodistill.diffusion.model import DiffusionModel
from infodistill.diffusion.schedules import sigmas_of
from infodistill.files import write_atomically
from infodistill.information.classifier_bounds import barber_agakov
from infodistill.progress import Tell
from infodistill.real import RealData
from infodistill.seeding import build_seeded, key, stream
from infodistill.serialise import canonical_json

FRACTIONS = (0.01, 0.2, 0.4, 0.6, 0.8, 0.95)
"""Of T: the levels whose bounds are reported."""

FORMAT, VALIDATION_ROWS, PIECE = 1, 2048, 256


def _fit() -> GenerativeFit:
    return GenerativeFit(2500, lr=1e-3, weight_decay=0.05, ema=0.995, validate_every=125, patience=6)


@dataclass(frozen=True)
class ClassifierFit:
    """How it is built and trained. `width` None: 256 for the MLP, 48 for the ConvNet."""

    fit: GenerativeFit = field(default_factory=_fit)
    batch: int = 128
    width: int | None = None
    depth: int = 3
    seed: int = 0

    def built(self, shape: tuple[int, int, int], classes: int) -> NoiseAwareClassifier:
        """The network before its training."""
        width = self.width or (256 if math.prod(shape) <= TINY else 48)
        made = build_seeded(
            lambda: NoiseAwareClassifier(shape, classes, width, self.depth), stream(self.seed, "noisy.init")
        )
        return made.eval()

    def facts(self) -> dict[str, Any]:
        return {**asdict(self), "fit": self.fit.as_dict()}


def noise_aware_classifier(
    model: DiffusionModel,
    real: RealData,
    how: ClassifierFit | None = None,
    *,
    cache: Path | None = None,
    tell: Tell | None = None,
) -> NoiseAwareClassifier:
    """The classifier for what `model` denoises, trained on `real` or found in `cache`; frozen, on the model's device.

    Raises:
        ValueError: the model has other classes than the data.
        FloatingPointError: the training diverged.
    """
    if tuple(real.class_names) != model.class_names:
        raise ValueError(f"the model has classes {model.class_names[:4]}..., the data {real.class_names[:4]}...")
    how = how or ClassifierFit()
    module = how.built(model.shape, model.num_classes).to(model.device)
    path = None if cache is None else cache / "noisy_classifiers" / f"{_key(model, real, how):016x}.safetensors"
    if path is None or not _read(path, module):
        data = real.to(model.device)
        train, held = (supplied(part, model.codec) for part in held_out(data, how.seed))
        history = train_noisy_classifier(module, train, held, sigmas_of(model.alphas_bar), how, tell)
        if path is not None:
            told = {"format": FORMAT, "history": asdict(history), "bounds": bounds(module, model, held)}
            _write(path, module, told)
    return module.requires_grad_(False)


def train_noisy_classifier(
    module: NoiseAwareClassifier,
    train: Supply,
    held: Supply,
    sigmas: Tensor,
    how: ClassifierFit,
    tell: Tell | None = None,
) -> History:
    """Train in place, levels uniform over `sigmas` (T,); it ends with the average of the best held-out bound."""
    judged = _noisy(held, rows_of_step(0, VALIDATION_ROWS, len(held), how.seed), sigmas, how.seed, None)

    def loss(step: int) -> Tensor:
        x, sigma, y = _noisy(train, rows_of_step(step, how.batch, len(train), how.seed), sigmas, how.seed, step)
        return cross_entropy(module(x, sigma), y)

    def validate() -> float:
        parts = zip(*(value.split(PIECE) for value in judged), strict=True)
        return sum(float(cross_entropy(module(x, s), y, reduction="sum")) for x, s, y in parts) / len(judged[2])

    return fit_generative(module, loss, how.fit, validate=validate, tell=tell, what="noisy classifier")


def _noisy(supply: Supply, index: Tensor, sigmas: Tensor, seed: int, step: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """(x, sigma, y) of one training step, keyed by it; step None: the fixed rows of the validation, levels evenly."""
    generator = stream(seed, "noisy.validation" if step is None else "noisy", step or 0)
    even = (2 * torch.arange(len(index)) + 1) * len(sigmas) // (2 * len(index))
    even = even[torch.randperm(len(index), generator=generator)]
    level = even if step is None else torch.randint(len(sigmas), (len(index),), generator=generator)
    mirrored = torch.rand(len(index), generator=generator) < (0.0 if step is None else 0.5)
    x0 = supply.images(index, mirrored)
    sigma = sigmas.cpu()[level].to(x0)
    noise = torch.randn(x0.shape, generator=generator).to(x0)
    return x0 + sigma.view(-1, 1, 1, 1) * noise, sigma, supply.y[index.to(supply.y.device)].to(x0.device)


@torch.no_grad()
def bounds(
    classifier: NoiseAwareClassifier, model: DiffusionModel, held: Supply, *, rows: int = 1024, seed: int = 0
) -> dict[str, float]:
    """Log C + mean log q(y | x, sigma) in nats at `FRACTIONS` of T on held-out images; a lower bound on I(X_sigma; Y).

    Of balanced classes; the images are repeated with fresh noise until there are `rows`.
    """
    told: dict[str, float] = {}
    for number, fraction in enumerate(FRACTIONS):
        sigmas = torch.tensor([model.sigma_at(fraction)], dtype=torch.float64)
        index = rows_of_step(0, max(rows, len(held)), len(held), seed)
        parts = [
            (classifier.log_prob(x, sigma), y)
            for place, piece in enumerate(index.split(PIECE))
            for x, sigma, y in [_noisy(held, piece, sigmas, key(seed, "bounds", number, place), None)]
        ]
        told[f"{fraction:g}"] = float(barber_agakov(torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])))
    return told


def _key(model: DiffusionModel, real: RealData, how: ClassifierFit) -> int:
    """Of the data, of what the codec makes of some of it, of the noise levels and of the settings."""
    with torch.no_grad():
        some = real.pixels(torch.arange(min(8, len(real)))).to(model.device).float() / 255
        seen = (model.codec.encode(some).double() * 1e3).round().long().cpu()
    digest = hashlib.blake2b(seen.numpy().tobytes(), digest_size=8)
    digest.update(model.alphas_bar.double().cpu().numpy().tobytes())
    return key(real.fingerprint, digest.hexdigest(), canonical_json(how.facts()), FORMAT)


def _write(path: Path, module: nn.Module, told: Mapping[str, Any]) -> None:
    weights = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    write_atomically(path, lambda partial: save_file(weights, partial, {"told": json.dumps(told)}))


def _read(path: Path, module: nn.Module) -> bool:
    """Load a stored classifier into `module`; False where there is none that can be read."""
    if not path.is_file():
        return False
    try:
        module.load_state_dict(load_file(path))
    except (SafetensorError, OSError, RuntimeError):  # cut or damaged: train it again
        return False
    return True


def stored_report(path: Path) -> dict[str, Any]:
    """What the training of a stored classifier told: `history` and `bounds`."""
    with safe_open(path, "pt") as file:
        return json.loads((file.metadata() or {})["told"])
