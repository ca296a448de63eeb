"""Neural characteristic function matching (NCFM; Wang et al., CVPR 2025), arXiv:2502.20653.

    min_S  max_psi  sum_c  300 mean_m sqrt( Chf_c(t_m) )
    Chf = alpha (|Phi_r| - |Phi_s|)^2  +  beta 2 (|Phi_r| |Phi_s| - Re Phi_r Re Phi_s - Im Phi_r Im Phi_s)
    Phi(t) = mean_x exp(i <t, z>),   z = f(omega_c(x)) / |f(omega_c(x))|

f: flattened feature before the classifier of a network between the start and the end of a training on the real data;
omega_c: one augmentation per class; Phi_r, Phi_s: of the real and the synthetic images of class c; t_m: frequencies,
random or made by an adversary psi. The first part compares amplitudes (diversity), the second phases (realism).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from infodistill.augment import diffaug
from infodistill.compute import Policy
from infodistill.distillation import Distillation
from infodistill.looks import Looks
from infodistill.methods.dm import class_means
from infodistill.real import RealData
from infodistill.samplers import Cyclic, Sampler
from infodistill.sources.frequencies import Frequencies, Gaussian
from infodistill.sources.interpolated import Interpolated
from infodistill.sources.segments import Segment
from infodistill.storage.decoders import Clamped, MultiFormation
from infodistill.storage.initial import Mosaic, Stored
from infodistill.synthetic import Initialise, from_real, synthesise
from infodistill.types import Augment, Batch, Source
from infodistill.updates import Update
from infodistill.weights import Weighted

SCALE = 300.0
"""The published factor of the loss."""
PHASE_FLOOR = 1e-12
"""The phase part is kept at or above this, as in the released code; below it, it has no gradient."""
BLOCK = 256
"""Frequencies projected at a time, which bounds the memory of cosines and sines at no cost in time."""


def characteristic(
    z: Float[Tensor, "n d"], y: Int[Tensor, " n"], t: Float[Tensor, "m d"], classes: int
) -> Float[Tensor, "2 k m"]:
    """Empirical characteristic functions of the classes: means of cos <t, z> and sin <t, z> over the rows of each."""

    def block(part: Tensor) -> Tensor:
        angle = z @ part.T
        return torch.stack([class_means(angle.cos(), y, classes), class_means(angle.sin(), y, classes)])

    return torch.cat([block(part) for part in t.split(BLOCK)], -1)


def discrepancy(
    syn: Float[Tensor, "2 k m"], real: Float[Tensor, "2 k m"], alpha: float = 0.5, beta: float = 0.5
) -> Float[Tensor, "k m"]:
    """sqrt(Chf) of every class at every frequency; |Phi_r - Phi_s| / sqrt(2) where alpha = beta = 1/2.

    The phase part, 2 (|Phi_r| |Phi_s| - <Phi_r, Phi_s>), is written |Phi_r - Phi_s|^2 - (|Phi_r| - |Phi_s|)^2, which
    is equal and loses fewer digits where the two are close. It is clamped at 1e-12, so equal sets have the value
    1e-6 sqrt(beta) and gradient 0; a function that vanishes, or beta = 0 with equal amplitudes, has gradient 0 too.

    Raises:
        ValueError: a weight below 0, or both 0.
    """
    if min(alpha, beta) < 0 or max(alpha, beta) == 0:
        raise ValueError(f"alpha and beta must be at least 0 and not both 0, got {alpha} and {beta}")
    amplitude = (torch.linalg.vector_norm(real, dim=0) - torch.linalg.vector_norm(syn, dim=0)).square()
    phase = (real - syn).square().sum(0) - amplitude
    chf = alpha * amplitude + beta * phase.clamp_min(PHASE_FLOOR)
    return chf.clamp_min(torch.finfo(chf.dtype).tiny).sqrt()


@dataclass(frozen=True)
class CharacteristicFunctions:
    """scale * sum_c mean_m sqrt(Chf_c(t_m)), at the same frequencies for every class of a step."""

    looks: Looks
    frequencies: Source[Frequencies]
    alpha: float = 0.5
    beta: float = 0.5
    scale: float = SCALE
    additive: ClassVar[bool] = True

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        look, classes = self.looks.look(syn, real), syn.target.shape[1]
        z_syn, z_real = F.normalize(look.syn()[0], dim=1), F.normalize(look.real()[0], dim=1)
        t = self.frequencies.draw()(z_syn)
        phi_syn = characteristic(z_syn, syn.y, t, classes)
        phi_real = characteristic(z_real, real.y, t, classes)
        # Shown some classes only: the distance of the others is not 0, because of the clamp.
        here = torch.zeros(classes, dtype=torch.bool, device=syn.y.device).index_fill(0, syn.y, True)
        return self.scale * (discrepancy(phi_syn, phi_real, self.alpha, self.beta).mean(1) * here).sum()


@dataclass(frozen=True)
class Calibration:
    """sum_c mean over S_c of the cross-entropy of the trained network theta_end on the augmented images, in nats.

    Not part of the published loss, but of every released setting, and hence of some published numbers.

    Differs: the images are those the matching term saw, under the same augmentation; the released code updates for
    this loss apart, class by class, after the round.
    """

    looks: Looks
    nets: Interpolated
    additive: ClassVar[bool] = True

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        images = self.looks.look(syn, real).syn_images
        log_p = self.nets.final().logits(images, syn.space).log_softmax(1)
        cost = -(syn.target * log_p).sum(1, keepdim=True)
        return class_means(cost, syn.y, syn.target.shape[1]).sum()


@dataclass
class HalvedWhenStill:
    """Multiplies the learning rates by `factor` whenever the loss has not improved for `patience` rounds.

    The loss is the round's sum over classes of matching and calibration, unweighted; an improvement is a value below
    (1 - threshold) * best. `observe` and `multiplier` are the update's: both of one object, whose counts are saved with
    the job. The released code attaches this to the images (and, with psi, a second one, which then halves their rate
    too; not here).
    """

    factor: float = 0.5
    patience: int = 500
    threshold: float = 1e-4
    best: float = math.inf
    waited: int = 0
    rate: float = 1.0

    def observe(self, values: Mapping[str, float]) -> None:
        """Count one round."""
        loss = values["match"] + values.get("calibration", 0.0)
        if loss < self.best * (1 - self.threshold):
            self.best, self.waited = loss, 0
        else:
            self.waited += 1
        if self.waited > self.patience:
            self.rate, self.waited = self.rate * self.factor, 0

    def multiplier(self, step: int) -> float:
        """Of every learning rate, from this update on."""
        del step
        return self.rate

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited, "rate": self.rate}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.waited, self.rate = float(state["best"]), int(state["waited"]), float(state["rate"])


def displacement(updates: int, betas: tuple[float, float] = (0.9, 0.999)) -> float:
    """How far AdamW moves a pixel per visit, in units of lr, when only one of `updates` updates shows it a gradient.

    With a constant gradient at every K-th update the moments settle, and their decay in between moves the pixel on:

        (1 - b1) / (1 - b1^K)  sqrt( (1 - b2^K) / (1 - b2) )  sum_{j < K} (b1 / sqrt(b2))^j,   about sqrt(K)

    so 1, 1.41, 4.5, 13.5 and 18.2 for K = 1, 2, 20, 200 and 400.
    """
    first, second = betas
    moment = (1 - first) / (1 - first**updates)
    root = math.sqrt((1 - second**updates) / (1 - second))
    return moment * root * sum((first / math.sqrt(second)) ** j for j in range(updates))


def ncfm(
    real: RealData,
    segments: Source[Segment],
    *,
    ipc: int = 10,
    seed: int = 0,
    factor: int = 2,
    lr: float = 1e-3,
    weight_decay: float = 5e-4,
    alpha: float = 0.5,
    beta: float = 0.5,
    frequencies: Source[Frequencies] | None = None,
    calibration: float = 0.0,
    real_per_class: int = 1024,
    augment: Augment | None = None,
    init: Initialise | None = None,
    sampler: Sampler | None = None,
    group: int | None = None,
    plateau: HalvedWhenStill | None = None,
    policy: Policy | None = None,
) -> Distillation:
    """NCFM with the released settings, on the matching loss alone.

    Args:
        real: what to distil, in the value space the networks of `segments` were trained in.
        segments: starts and ends of whole trainings (20 of 60 epochs in the paper).
        ipc: stored images per class.
        seed: key of every draw.
        factor: each stored image holds factor x factor tiles, seen enlarged.
        lr: of AdamW, on stored [0, 1] pixels. The update is joint: one step per round moves a pixel by lr at most.
        weight_decay: of AdamW: a step multiplies pixels by 1 - lr * weight_decay.
        alpha: weight of amplitudes.
        beta: weight of phases.
        frequencies: where the functions are compared: `Gaussian(1024)` by default, or a `FrequencySampler` (psi).
        calibration: weight of `Calibration`, which the published loss does not have; 1 in the released settings.
        real_per_class: real images of each class per step; as many as the smallest class has, where that is less.
        augment: one record per class for both streams; colour, crop and cutout by default.
        init: what the tiles start from; distinct random real images by default.
        sampler: which real images a step sees; passes without replacement by default.
        group: classes per update; None updates all jointly, 1 is the published form.
        plateau: lowers lr when the loss stands still, as the released code does (`HalvedWhenStill()`); none by default.
        policy: how networks run.

    Differs: the released code steps AdamW on all images class by class, once for each loss, and its moments move the
    other classes on (`displacement`): with K updates between two visits of a class, a pixel moves by about sqrt(K) lr
    per round. K is twice the classes a GPU owns, so the number of GPUs is part of its learning rate: 4.5 lr for
    CIFAR-10 on one GPU, 1.41 lr on eight. A joint update of rate lr * displacement(K) moves as far; `group=1` makes the
    updates themselves (K classes apart, or K = 2 classes when `calibration` was an update of its own), weight decay at
    every one of them included. Its images are up to ten class-updates old when they enter the loss, ours never.
    """
    policy = policy or Policy()
    nets = Interpolated(segments, seed)
    looks = Looks(nets, augment or diffaug(), seed)
    start = Stored(Mosaic(factor, init or from_real))
    decode = MultiFormation(factor, real.space)
    syn = synthesise(real, ipc, seed, start, policy.device, decode=decode, project=Clamped())
    rates: dict[str, Any] = {"schedule": plateau.multiplier, "observe": plateau.observe} if plateau else {}
    update = Update(torch.optim.AdamW(syn.trainable(), lr, weight_decay=weight_decay), **rates)
    match = CharacteristicFunctions(looks, frequencies or Gaussian(seed=seed), alpha, beta)
    terms = {"match": Weighted(1.0, match)}
    if calibration:
        terms["calibration"] = Weighted(calibration, Calibration(looks, nets))
    seen = min(real_per_class, int(real.counts.min()))
    return Distillation(syn, real, terms, update, seed, seen, group=group, policy=policy, sampler=sampler or Cyclic())
