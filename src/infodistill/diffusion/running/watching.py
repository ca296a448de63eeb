"""What guidance did, image by image over the noise levels: written while sampling, kept beside the set, drawn later.

`guidance.safetensors` holds, with s guided steps and n images of the set in its order,

sigmas           (s,)     noise levels, falling
values.<force>   (s, n)   information in nats where the force's term counts it by image: log q(y|x), a contextual value
pushes.<force>   (s, n)   r.m.s. of the push in units of the predicted noise; `all`: of the clipped sum

NaN marks an image that a step did not guide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from safetensors.torch import load, save
from torch import Tensor

from infodistill.diffusion.guidance import Watched
from infodistill.diffusion.model import DiffusionModel
from infodistill.diffusion.samplers import Frame

QUANTITIES = ("values", "pushes")


@dataclass
class Recorder:
    """Collects what `guide` tells of one group of classes."""

    steps: list[Watched] = field(default_factory=list[Watched])

    def __call__(self, watched: Watched) -> None:
        self.steps.append(watched)

    def take(self) -> dict[str, Tensor]:
        """The record so far, {} if nothing was told, and a fresh start."""
        steps, self.steps = self.steps, []
        if not steps:
            return {}
        out = {"sigmas": torch.tensor([step.sigma for step in steps], dtype=torch.float64)}
        for quantity in QUANTITIES:
            told: list[Mapping[str, Tensor]] = [getattr(step, quantity) for step in steps]
            for name in dict.fromkeys(name for one in told for name in one):
                missing = torch.full((len(steps[0].y),), torch.nan)
                out[f"{quantity}.{name}"] = torch.stack([one.get(name, missing).float().cpu() for one in told])
        return out


def joined(groups: Sequence[Mapping[str, Tensor]], sizes: Sequence[int]) -> dict[str, Tensor]:
    """The records of groups of `sizes` images as one, by noise level; {} if none of them has any."""
    levels = sorted({level for group in groups for level in group.get("sigmas", torch.empty(0)).tolist()}, reverse=True)
    if not levels:
        return {}
    names = dict.fromkeys(name for group in groups for name in group if name != "sigmas")
    whole = {name: torch.full((len(levels), sum(sizes)), torch.nan) for name in names}
    start = 0
    for group, size in zip(groups, sizes, strict=True):
        rows = [levels.index(level) for level in group.get("sigmas", torch.empty(0)).tolist()]
        for name in names:
            if name in group:
                whole[name][rows, start : start + size] = group[name]
        start += size
    return {"sigmas": torch.tensor(levels, dtype=torch.float64), **whole}


def stored(record: Mapping[str, Tensor], y: Tensor) -> bytes:
    """The file of a record; `y` (n,) are the classes of its images."""
    return save({name: value.contiguous() for name, value in {**record, "labels": y}.items()})


def read(content: bytes) -> dict[str, Tensor]:
    """The record in a file, with `labels`."""
    return load(content)


@dataclass
class Filming:
    """Keeps the predicted clean images of a few images of a group at about `most` moments, for a picture.

    Args:
        model: decodes what is denoised.
        steps: of the sampler.
        most: moments kept, the last among them.
        images: images kept, spread over the group.
    """

    model: DiffusionModel
    steps: int
    most: int = 8
    images: int = 6
    frames: list[Tensor] = field(default_factory=list[Tensor])

    def __call__(self, group: tuple[int, ...], frame: Frame) -> None:
        del group
        if frame.step in self.moments():
            rows = torch.linspace(0, len(frame.x) - 1, min(self.images, len(frame.x))).round().long()
            shown = frame.x if frame.step == self.steps else frame.x0
            with torch.no_grad():
                pixels = self.model.codec.decode(shown[rows.to(shown.device)])
            self.frames.append(pixels.clamp(0, 1).float().cpu())

    def moments(self) -> set[int]:
        """The steps that are kept."""
        count = min(self.most, self.steps)
        return {round(place) for place in torch.linspace(1, self.steps, count).tolist()}

    def take(self) -> Tensor:
        """(moments, images, c, h, w) in [0, 1]."""
        return torch.stack(self.frames)
