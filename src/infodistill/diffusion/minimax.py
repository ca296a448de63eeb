"""Minimax diffusion: fine-tune the model towards what is representative and away from what it made before.

Gu et al., "Efficient Dataset Distillation via Minimax Diffusion", CVPR 2024, arXiv:2311.15529. For the clean images z'
predicted in a training step and, per class c of its batch, two memories of 64: M_real(c) of real images, M_made(c) of
predictions,

    L = L_diff + (1/|C|) sum_c [ lambda_r (1 - min_ij cos(z'_i, M_real_j)) + lambda_d max_ij cos(z'_i, M_made_j) ]

with i over the batch's images of class c, j over the memory, cosines of whole (latent) images, lambda_r = 0.002 and
lambda_d = 0.008. Minimum and maximum run over all pairs: one pair of a class receives gradient in a step. Predictions
from all noise levels share a memory. A class without memory adds nothing but counts in |C|.

What trains is what DiffFit trains (`fitting/diffit.py`). The result is a model like any other, to be sampled plainly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from infodistill.diffusion.contract import UNCONDITIONAL, Prediction
from infodistill.diffusion.fitting.diffit import diffit_parameters, only, own_copy
from infodistill.diffusion.fitting.generative_fit import GenerativeFit, Saving, constant
from infodistill.diffusion.fitting.learned_range import variational_bits
from infodistill.diffusion.fitting.loop import fit_generative
from infodistill.diffusion.fitting.supply import Supply
from infodistill.diffusion.memory import Memory, cosines
from infodistill.diffusion.model import DiffusionModel
from infodistill.diffusion.schedules import sigmas_of
from infodistill.progress import Tell
from infodistill.seeding import stream


def minimax_loss(
    x0: Float[Tensor, "n c h w"],
    y: Int[Tensor, " n"],
    memories: tuple[Memory, Memory],
    *,
    representative: float = 0.002,
    diverse: float = 0.008,
) -> Float[Tensor, ""]:
    """The two criteria, averaged over the classes in `y`; a cost in [-diverse, 2 representative + diverse].

    Args:
        x0: predicted clean images of this step.
        y: their classes.
        memories: of real images and of predictions, as they were before this step.
        representative: lambda_r.
        diverse: lambda_d.
    """
    real, made = memories
    total, labels = x0.new_zeros(()), y.unique().tolist()
    for label in labels:
        rows, seen, own = x0[y == label], real.of(label), made.of(label)
        if seen is not None and own is not None:
            total = total + representative * (1 - cosines(rows, seen.to(rows)).min())
            total = total + diverse * cosines(rows, own.to(rows)).max()
    return total / max(len(labels), 1)


@dataclass(frozen=True)
class Minimax:
    """How a model is fine-tuned; the authors' numbers.

    Differs: the average of the weights starts with decays (1 + k) / (10 + k) < `ema`, as in all trainings here, so that
    a short one is not dominated by the weights before it. Images are encoded once, to the mean of the VAE's posterior;
    the authors draw from it in every step. Draws are keyed.

    Attributes:
        epochs: over the images chosen.
        batch: images a step; the rest of an epoch that does not fill one is left out, as the authors do.
        lr: of AdamW, constant, without decay or clipping.
        ema: decay of the average of the weights, which is what samples.
        memory: images held of every class, of either kind.
        per_class: images of every class trained on, drawn by `seed`; None all (the authors' `--finetune-ipc -1`).
        representative: lambda_r.
        diverse: lambda_d.
        dropout: probability that a label is dropped, where the model has a null class.
        precision: "float32" or "bf16".
        seed: key of images, order, noise levels, noise, label dropout and flips.
    """

    epochs: int = 8
    batch: int = 8
    lr: float = 1e-3
    ema: float = 0.9999
    memory: int = 64
    per_class: int | None = None
    representative: float = 0.002
    diverse: float = 0.008
    dropout: float = 0.1
    precision: str = "float32"
    seed: int = 0

    def fit(self, steps: int) -> GenerativeFit:
        """The training of `steps` updates."""
        fit = GenerativeFit(steps, lr=self.lr, ema=self.ema, precision=self.precision)
        return replace(fit, warmup=0, schedule=constant, clip=math.inf, weight_decay=0.0)


def minimax(
    model: DiffusionModel,
    supply: Supply,
    how: Minimax | None = None,
    *,
    classes: Sequence[int] | None = None,
    saving: Saving | None = None,
    tell: Tell | None = None,
) -> DiffusionModel:
    """A fine-tuned copy of `model`, to be sampled like any other; the model given is left as it is.

    Args:
        model: a class-conditional diffusion model whose denoiser runs its module.
        supply: the real images as the model denoises them, on its device (`supplied(real, model.codec)`); flipped left
            to right with probability 1/2 where it says that they may be.
        how: hyper-parameters.
        classes: fine-tune on these alone; None all. Of 1000 classes the authors make one model for every 20.
        saving: where training is saved every minute; the same call continues it, to the bit.
        tell: told of progress.

    Raises:
        ValueError: no images are chosen or fewer than one batch, the denoiser does not run the module, or what was
            saved is another training.
        FloatingPointError: the loss is not finite.
    """
    how, copied = how or Minimax(), own_copy(model)
    rows = _rows(supply.y.cpu(), how, range(model.num_classes) if classes is None else classes)
    if len(rows) < how.batch:
        raise ValueError(f"minimax takes batches of {how.batch}, got only {len(rows)} images: choose a smaller batch")
    loss = MinimaxLoss(copied, supply, rows, how, Memory(how.memory), Memory(how.memory))
    told = {**asdict(how), "classes": None if classes is None else list(classes), "images": len(rows)}
    if saving is not None:
        saving = replace(saving, facts={**saving.facts, "minimax": told})
    with only(copied.module, diffit_parameters(copied.module).values()):
        hyper = how.fit(how.epochs * loss.steps_per_epoch)
        history = fit_generative(copied.module, loss, hyper, saving=saving, tell=tell, what="minimax")
    return replace(copied, facts={**model.facts, "minimax": {**told, "steps": history.step}})


@dataclass(frozen=True)
class MinimaxLoss:
    """The loss of a training step as a function of its number. Its memories are its state, and saved with the training.

    Attributes:
        model: the copy that trains.
        supply: real images.
        rows: (m,) which of them are trained on.
        how: hyper-parameters.
        real: memory of real images.
        made: memory of predictions.
    """

    model: DiffusionModel
    supply: Supply
    rows: Tensor
    how: Minimax
    real: Memory = field(default_factory=Memory)
    made: Memory = field(default_factory=Memory)

    def __call__(self, step: int) -> Tensor:
        """L_diff + the criteria, scalar; afterwards the memories hold this step's images too."""
        index = self._index(step)
        flipped = torch.rand(len(index), generator=self._draw("flip", step)) < 0.5
        x0 = self.supply.images(index, flipped)
        y = self.supply.y[index.to(self.supply.y.device)].to(x0.device)
        table = torch.cat([torch.zeros(1), sigmas_of(self.model.alphas_bar.double()).float().cpu()])
        level = torch.randint(1, len(table), (len(y),), generator=self._draw("level", step))
        sigma, lower = table[level].to(x0), table[level - 1].to(x0)
        noise = torch.randn(x0.shape, generator=self._draw("noise", step)).to(x0)
        told = self.model.denoise(x0 + sigma.view(-1, 1, 1, 1) * noise, sigma, self._labels(y, step))
        loss = diffusion_loss(told, x0, sigma, lower, levels=len(table) - 1)
        weights = {"representative": self.how.representative, "diverse": self.how.diverse}
        loss = loss + minimax_loss(told.x0, y, (self.real, self.made), **weights)
        self.real.extend(x0, y)
        self.made.extend(told.x0, y)
        return loss

    @property
    def steps_per_epoch(self) -> int:
        return len(self.rows) // self.how.batch

    def _draw(self, what: str, step: int) -> torch.Generator:
        return stream(self.how.seed, f"minimax.{what}", step)

    def _index(self, step: int) -> Tensor:
        epoch, place = divmod(step, self.steps_per_epoch)
        order = _order(len(self.rows), self.how.seed, epoch)
        return self.rows[order[place * self.how.batch :][: self.how.batch]]

    def _labels(self, y: Tensor, step: int) -> Tensor:
        if not self.model.null:
            return y
        dropped = torch.rand(len(y), generator=self._draw("drop", step)) < self.how.dropout
        return y.masked_fill(dropped.to(y.device), UNCONDITIONAL)


def diffusion_loss(told: Prediction, x0: Tensor, sigma: Tensor, lower: Tensor, *, levels: int) -> Tensor:
    """Mean squared error of the predicted noise, eps = (x - x0) / sigma, and of a learned variance its bound.

    The bound (`variational_bits`) counts levels / 1000, as in the training of DiT. A mean over images and entries.
    """
    error = ((told.x0 - x0) / sigma.view(-1, 1, 1, 1)).square().mean()
    if told.spread is None:
        return error
    return error + variational_bits(told, x0, sigma, lower).mean() * levels / 1000


def _rows(y: Tensor, how: Minimax, classes: Sequence[int]) -> Tensor:
    chosen: list[Tensor] = []
    for label in classes:
        members = (y == label).nonzero().flatten()
        if not len(members):
            raise ValueError(f"there are no images of class {label}, wanted some of each of {list(classes)[:16]}")
        order = torch.randperm(len(members), generator=stream(how.seed, "minimax.rows", 0, label))
        chosen.append(members[order[: how.per_class]].sort().values)
    return torch.cat(chosen)


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(count, generator=stream(seed, "minimax.order", epoch))
