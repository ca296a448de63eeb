"""Value spaces of published files by name, and how to tell a wrongly named one by the statistics of the images.

A file of tensors does not say how its values relate to pixels, and a set read in the wrong space trains networks to
chance. What the data looks like in every space is known, so the images are compared with it channel by channel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from infodistill.real import RealData
from infodistill.seeding import stream
from infodistill.types import ValueSpace, pixel_space
from infodistill.whitening import fit_whitening

SPACES = ("normalised", "unit", "byte", "zca")
"""(pixel - mean) / std; pixels in [0, 1]; pixels in 0..255; ZCA-whitened [0, 1] pixels, as trajectory methods do."""

ALIASES: Mapping[str, str] = {"normalized": "normalised", "whitened": "zca", "pixels": "unit", "uint8": "byte"}
CLEAR = 0.5
"""How much nearer another space must be to be held against the one that was named (ours, see `distance`)."""

MOST_COMPARED = 3 * 32 * 32
"""Values of an image above which whitening is not among the guesses: fitting it would take minutes."""
SAMPLE = 2000


@dataclass(frozen=True)
class Statistics:
    """What images look like: range, mean and std of every channel, correlation of horizontal neighbours."""

    low: float
    high: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    neighbours: float


def statistics(images: Tensor) -> Statistics:
    """Of images (n, c, h, w), in float64. A constant channel has std 0 and correlates with nothing."""
    x = images.double()
    mean, std = x.mean((0, 2, 3)), x.std((0, 2, 3), correction=0)
    z = x - mean.view(-1, 1, 1)
    left, right = z[..., :-1], z[..., 1:]
    size = (left.square().sum() * right.square().sum()).sqrt()
    together = float((left * right).sum() / size) if float(size) > 0 else 0.0
    return Statistics(float(x.min()), float(x.max()), tuple(mean.tolist()), tuple(std.tolist()), together)


def distance(found: Statistics, wanted: Statistics) -> float:
    """mean_c |m - m*| / s*  +  mean_c |ln(s / s*)|  +  |r - r*|, >= 0, no unit; ours.

    The shift and the scale tell affine spaces apart, the correlation r of neighbours tells a whitened image.
    """
    least = 1e-6
    rows = list(zip(found.mean, found.std, wanted.mean, wanted.std, strict=True))
    shift = sum(abs(m - w) / max(t, least) for m, _, w, t in rows) / len(rows)
    logs = torch.tensor([[max(s, least), max(t, least)] for _, s, _, t in rows], dtype=torch.float64).log()
    scale = float((logs[:, 0] - logs[:, 1]).abs().mean())
    return shift + scale + abs(found.neighbours - wanted.neighbours)


@dataclass(frozen=True)
class Guess:
    """The spaces in the order of their distance to the images, and the words that say why."""

    found: Statistics
    distances: Mapping[str, float]
    wanted: Mapping[str, Statistics]

    @property
    def nearest(self) -> str:
        return min(self.distances, key=lambda name: self.distances[name])

    def against(self, named: str) -> str | None:
        """A sentence with the evidence that the images are not in the space named; None where there is none."""
        if named not in self.distances or self.distances[named] <= self.distances[self.nearest] + CLEAR:
            return None
        return f"{self.evidence((self.nearest, named))}: this looks like {self.nearest}, you said {named}"

    def evidence(self, names: Sequence[str]) -> str:
        """The statistics of the images, and those of the data in the spaces named."""
        data = "; ".join(f"the data in {name} has {_words(self.wanted[name])}" for name in names)
        return f"values reach {self.found.low:.2f}..{self.found.high:.2f}, {_words(self.found)}; {data}"


def guess(images: Tensor, real: RealData, normalised: ValueSpace, zca: ValueSpace | None = None) -> Guess:
    """Compare images (n, c, h, w) of unknown space with `SAMPLE` real ones in every space.

    Args:
        images: as stored, of the shape of the data.
        real: the data they came from.
        normalised: the mean and std meant by `normalised`.
        zca: the whitened space, where it is known; else it is fitted on the sample, for small images only.
    """
    rows = torch.randperm(len(real), generator=stream(0, "import.sample"))[:SAMPLE]
    if zca is None and images[0].numel() <= MOST_COMPARED:
        zca = whitened_space(real.subset(rows), 0.1)
    pixels = real.pixels(rows).cpu().float() / 255
    spaces = {"normalised": normalised, "unit": pixel_space(real.shape[0]), **({} if zca is None else {"zca": zca})}
    views: dict[str, Callable[[Tensor], Tensor]] = {name: space.from_pixels for name, space in spaces.items()}
    wanted = {name: statistics(view(pixels)) for name, view in views.items()} | {"byte": statistics(pixels * 255)}
    found = statistics(images)
    return Guess(found, {name: distance(found, one) for name, one in wanted.items()}, wanted)


def whitened_space(real: RealData, eps: float) -> ValueSpace:
    """ZCA whitening of [0, 1] pixels fitted on the data (kornia's, which MTT uses, up to rounding)."""
    return replace(pixel_space(real.shape[0]), whitening=fit_whitening(real, eps))


def named(name: str) -> str:
    """The space of a name as people write it.

    Raises:
        ValueError: nobody writes it so.
    """
    space = ALIASES.get(name.lower(), name.lower())
    if space not in SPACES:
        raise ValueError(f"unknown value space '{name}', known: {', '.join(SPACES)} (zca is also called whitened)")
    return space


def _words(seen: Statistics) -> str:
    mean, std = (", ".join(f"{value:.2f}" for value in values) for values in (seen.mean, seen.std))
    return f"per-channel mean {mean} and std {std}, neighbours correlate {seen.neighbours:.2f}"
