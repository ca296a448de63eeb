"""MGD3: mode-guided dataset distillation with diffusion models (Chan-Santiago et al., ICML 2025); the k-means pull.

    x_{t-1} = mean(x_t, x0) + s sigma_t (c_i - x0) + sigma_t noise    while t > 25 of 50 respaced steps, s = 0.1

c_1 .. c_n are the k-means centres of a class's latents and image i is pulled to c_i. sigma_t is the standard deviation
of the DDPM step. Read in the copy that the code of ManifoldGD keeps of it; the paper's own tables were not at hand.

`mgd3` is that rule. `centre_pull` is the same idea as a force, J = -1/2 ||x0 - c_i||^2 normalised over the class's
images, in the form all our forces have: the rival that guided sampling has to be compared with (ours).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from infodistill.diffusion.centres import class_centres
from infodistill.diffusion.contract import Denoise, Prediction
from infodistill.diffusion.encoded import Encoded
from infodistill.diffusion.guidance import Force, Watched, guide
from infodistill.diffusion.model import DiffusionModel
from infodistill.diffusion.routes import surrogate
from infodistill.diffusion.rules import Rule, Step, noise_units, normalised
from infodistill.diffusion.samplers import Variance, learned
from infodistill.diffusion.sampling import Steer
from infodistill.types import Batch

Watch = Callable[[Watched], None]


def mode_shift(
    told: Prediction, modes: Tensor, sigma: float, lower: float, *, pull: float, variance: Variance
) -> Tensor:
    """How far x0 has to move so that the next step's mean moves by pull * sigma_t (c - x0), (n, c, h, w).

    In the scale x = x0 + sigma * noise the step from `sigma` to `lower` has mean x0 + (lower/sigma)^2 (x - x0), so a
    shift D of x0 moves it by (1 - lower^2/sigma^2) D; and z = x / sqrt(1 + sigma^2) scales mean and standard deviation
    alike. Hence D = pull * sqrt(v) / (1 - lower^2/sigma^2) * (c - x0), v the step's variance: the same map for any v,
    exact for `ddpm` with that `variance`. For v = `posterior` it is pull * lower / sqrt(1 - lower^2/sigma^2).
    """
    spread = variance(sigma, lower, told)
    return pull * spread**0.5 / (1 - lower**2 / sigma**2) * (modes - told.x0)


def modes(encoded: Encoded, ipc: int, seed: int = 0, *, n_init: int = 1) -> Tensor:
    """`ipc` k-means centres of what is denoised of every class, (classes, ipc, c, h, w).

    Raises:
        ValueError: a class has fewer than `ipc` images.
    """
    centres = class_centres(encoded.x.flatten(1), encoded.y, ipc, seed, classes=len(encoded.class_names), n_init=n_init)
    return centres.unflatten(2, encoded.x.shape[1:])


def mgd3(
    model: DiffusionModel,
    encoded: Encoded,
    ipc: int,
    *,
    steps: int = 50,
    pull: float = 0.1,
    until: float = 0.5,
    seed: int = 0,
    n_init: int = 1,
    variance: Variance = learned,
    watch: Watch | None = None,
) -> Steer:
    """The published rule: every image is drawn to its own centre in the first, noisy half of the steps.

    Differs: the authors add to the mean of the DDPM step, we move x0 by what gives that mean (`mode_shift`): exact for
    `ddpm` with the same `variance`. Under `ddim` and `dpm_solver`, where the rule is not defined, x0 moves as far.
    Centres are keyed where theirs come of scikit-learn's seed 0. The frames of a sampler show the moved x0.

    Args:
        model: what is sampled.
        encoded: the real images, as denoised.
        ipc: images per class, and centres.
        steps: of the plan: t counts these, steps - 1 first.
        pull: s; 0 is plain sampling.
        until: the rule acts while t > until * steps; in [0, 1].
        seed: of the k-means starts.
        n_init: how many of them (scikit-learn's "auto" is one).
        variance: the sampler's.
        watch: told after every guided step; `pushes` has "mgd3" and "all".

    Raises:
        ValueError: a class of fewer than `ipc` images; while sampling, another number of steps or of images.
    """
    centres = modes(encoded, ipc, seed, n_init=n_init)
    sigmas = model.sigmas(steps).tolist()

    def steer(denoise: Denoise) -> Denoise:
        def guided(x: Tensor, sigma: Tensor, y: Tensor) -> Prediction:
            told, level = denoise(x, sigma, y), float(sigma[0])
            place = _place(sigmas, level)
            if not steps - 1 - place > until * steps:
                return told
            own = _own(centres, y).to(told.x0)
            move = mode_shift(told, own, level, sigmas[place + 1], pull=pull, variance=variance)
            if watch is not None:
                size = noise_units(move, Step(x, level, y)).float().cpu()
                watch(Watched(level, y.cpu(), {}, {"mgd3": size, "all": size}))
            return replace(told, x0=told.x0 + move)

        return guided

    return steer if pull != 0 else lambda denoise: denoise


@dataclass(frozen=True)
class CentrePull:
    """1/2 sum_i ||x_i - c_i||^2, a cost; image i of a class belongs to its centre i, of `centres` (C, ipc, c, h, w)."""

    centres: Tensor

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        del real
        return 0.5 * (syn.x - _own(self.centres, syn.y).to(syn.x)).square().sum()


def centre_pull(
    model: DiffusionModel,
    encoded: Encoded,
    ipc: int,
    *,
    pull: float = 1.0,
    until: float = 0.9,
    rule: Rule = normalised,
    seed: int = 0,
    n_init: int = 4,
    clip: float | None = 1.5,
    watch: Watch | None = None,
) -> Steer:
    """The k-means pull as a force (ours): normalised over a class's images, while t / T <= `until`.

    The rival of IGDS on equal terms: the same rule, window, clip and sampler, another objective. Its settings are the
    study's (1, or 0.3); the gradient passes no denoiser.

    Raises:
        ValueError: a class of fewer than `ipc` images; while sampling, another number of images.
    """
    term = CentrePull(modes(encoded, ipc, seed, n_init=n_init))

    def steer(denoise: Denoise) -> Denoise:
        return guide(
            denoise,
            {"centres": Force(term, pull, rule)},
            classes=model.num_classes,
            space=encoded.space,
            route=surrogate(encoded.variance),
            window=(0.0, model.sigma_at(until)),
            clip=clip,
            watch=watch,
        )

    return steer


def _place(sigmas: list[float], level: float) -> int:
    """The position of a noise level in a sampler's list.

    Raises:
        ValueError: it is not there.
    """
    place = min(range(len(sigmas) - 1), key=lambda i: abs(sigmas[i] - level))
    if abs(sigmas[place] - level) > 1e-3 * sigmas[place]:
        raise ValueError(f"this guidance was made for {len(sigmas) - 1} steps, which have no noise level {level:.4g}")
    return place


def _own(centres: Tensor, y: Tensor) -> Tensor:
    """The centre of every image, (n, c, h, w), for class-major y (n,) with as many images of a class as centres.

    Raises:
        ValueError: the images are arranged otherwise.
    """
    ipc = centres.shape[1]
    if len(y) % ipc or not torch.equal(y, y[::ipc].repeat_interleave(ipc)):
        raise ValueError(f"every class needs its {ipc} images in one piece, got classes {y.tolist()[:16]}")
    return centres[y[::ipc].to(centres.device)].flatten(0, 1)
