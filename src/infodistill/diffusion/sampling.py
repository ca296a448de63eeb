"""A distilled set by sampling: every image of a class together, class groups one after another.

What a group becomes depends on the model, the plan and its classes alone: noise is keyed by (seed, class, image number,
step), so groups may be sampled in any order, on any machine, and those that are finished need not be sampled again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from infodistill.diffusion.contract import Denoise, clamped, classifier_free, in_pieces
from infodistill.diffusion.model import DiffusionModel
from infodistill.diffusion.samplers import Frame, Sampler, ddpm, keyed_noise
from infodistill.distilled import Distilled
from infodistill.real import RealData

Steer = Callable[[Denoise], Denoise]
"""Turns a model's denoiser into a guided one."""


def plain(denoise: Denoise) -> Denoise:
    """No guidance beyond the model's own."""
    return denoise


@dataclass(frozen=True)
class Plan:
    """How a set is sampled.

    Attributes:
        ipc: images per class.
        seed: of the noise.
        steps: of the sampler.
        weight: of classifier-free guidance; 1 is none.
        channels: leading channels it extrapolates; None all.
        sampler: one of `samplers`.
        most: images per forward of the network; None all of a group at once.
        together: classes per group; None all. Terms that couple classes need them all.
        limit: bound of predicted clean values; None none.
    """

    ipc: int
    seed: int = 0
    steps: int = 50
    weight: float = 1.0
    channels: int | None = None
    sampler: Sampler = ddpm
    most: int | None = None
    together: int | None = None
    limit: float | None = None

    def __post_init__(self) -> None:
        for name in ("ipc", "steps", "most", "together"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")

    def groups(self, classes: Sequence[int]) -> list[tuple[int, ...]]:
        """The classes that are sampled together, in order."""
        size = self.together or max(len(classes), 1)
        return [tuple(classes[start : start + size]) for start in range(0, len(classes), size)]


@dataclass(frozen=True)
class Sampled:
    """A group of classes, on the CPU: y (n,) class-major, x (n, c, h, w) as denoised, pixels (n, c, h, w) in [0, 1]."""

    classes: tuple[int, ...]
    y: Tensor
    x: Tensor
    pixels: Tensor


def sample(
    model: DiffusionModel,
    plan: Plan,
    steer: Steer = plain,
    *,
    classes: Sequence[int] | None = None,
    on_frame: Callable[[tuple[int, ...], Frame], None] | None = None,
) -> Iterator[Sampled]:
    """Sample `plan.ipc` images of every class (or of `classes`), group by group.

    The denoiser is cut into pieces, follows its class (`classifier_free`), is clamped, and then steered: a guide sees
    all images of a class at once, whatever the pieces.

    Raises:
        ValueError: classifier-free guidance of a model without a null class, or classes it does not have, or one
            named twice.
    """
    wanted = list(range(model.num_classes)) if classes is None else list(classes)
    if any(not 0 <= label < model.num_classes for label in wanted):
        raise ValueError(f"classes must lie in 0..{model.num_classes - 1}, got {wanted}")
    if len(set(wanted)) < len(wanted):
        raise ValueError(f"classes must be distinct, or their images would be sampled twice, got {wanted}")
    if plan.weight != 1.0 and not model.null:
        raise ValueError(f"this model has no null class, so classifier-free guidance must be 1, got {plan.weight}")
    followed = classifier_free(in_pieces(model.denoise, plan.most), plan.weight, plan.channels)
    denoise = steer(clamped(followed, plan.limit))
    for group in plan.groups(wanted):
        yield _group(model, plan, denoise, group, on_frame)


def _group(
    model: DiffusionModel,
    plan: Plan,
    denoise: Denoise,
    group: tuple[int, ...],
    on_frame: Callable[[tuple[int, ...], Frame], None] | None,
) -> Sampled:
    y = torch.as_tensor(group).repeat_interleave(plan.ipc)
    number = torch.arange(plan.ipc).repeat(len(group))
    noise = keyed_noise(plan.seed, y, number, model.shape, device=model.device)
    x = None
    for frame in plan.sampler(denoise, model.sigmas(plan.steps), y.to(model.device), noise):
        x = frame.x
        if on_frame is not None:
            on_frame(group, frame)
    assert x is not None
    with torch.no_grad():
        pieces = [model.codec.decode(part) for part in x.split(plan.most or len(x))]
    pixels = torch.cat(pieces).clamp(0, 1)
    return Sampled(group, y, x.float().cpu(), pixels.float().cpu())


def distilled(samples: Sequence[Sampled], real: RealData, meta: Mapping[str, Any]) -> Distilled:
    """The groups as one artefact, in class order and in the value space of the data.

    Raises:
        ValueError: the model samples images of another shape than the data has.
    """
    y, pixels = torch.cat([s.y for s in samples]), torch.cat([s.pixels for s in samples])
    if tuple(pixels.shape[1:]) != tuple(real.shape):
        raise ValueError(f"the model samples images of {tuple(pixels.shape[1:])}, the data has {tuple(real.shape)}")
    order = y.argsort(stable=True)
    facts = {"data": real.name, "fingerprint": real.fingerprint, **meta}
    return Distilled(real.space.from_pixels(pixels[order]), y[order], real.space, real.class_names, meta=facts)
