"""A term of images, for models that denoise something else: batches are decoded before the term looks.

CMI, MIM and every term that looks through a classifier guide a latent model this way. Decoding costs: distances between
latents (`features.Pooled`) need none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from infodistill.diffusion.guidance import NoReal, PerImage
from infodistill.diffusion.model import Codec
from infodistill.types import Batch, Term, ValueSpace


@dataclass(frozen=True)
class InPixels:
    """`term` of the decoded batches: x -> decode(x) in [0, 1] -> `space`. For a pixel model that converts, no more.

    The gradient passes the decoder; values outside [0, 1] are not cut, so it does not vanish there. Where the term has
    `per_image`, so has this.

    Args:
        term: a cost of images in `space`.
        codec: of the diffusion model.
        space: the value space the term is shown, usually the data's, which its networks were trained in.
        per_class: real images of every class that are decoded for the term, the first ones of the batch it is given;
            None all of them, 0 none, for terms that read no real images. A latent model decodes them at every step.

    Raises:
        ValueError: per_class below 0.
    """

    term: Term
    codec: Codec
    space: ValueSpace
    per_class: int | None = None

    def __post_init__(self) -> None:
        if self.per_class is not None and self.per_class < 0:
            raise ValueError(f"real images per class must be at least 0, got {self.per_class}")
        if isinstance(self.term, PerImage):  # an attribute of the object: others must not look as if they had one
            object.__setattr__(self, "per_image", self._per_image)

    def __call__(self, syn: Batch, real: Batch) -> Tensor:
        return self.term(self.shown(syn), self._real(real))

    def _per_image(self, syn: Batch, real: Batch) -> Tensor:
        assert isinstance(self.term, PerImage)
        return self.term.per_image(self.shown(syn), self._real(real))

    @torch.no_grad()
    def _real(self, real: Batch) -> Batch:
        if isinstance(real, NoReal):  # nothing to decode; a term that reads it is refused there
            return real
        return self.shown(real if self.per_class is None else real.rows(_first(real.y, self.per_class)))

    def shown(self, batch: Batch) -> Batch:
        """A batch as the term sees it."""
        if not len(batch):
            return replace(batch, x=batch.x.new_zeros(0, len(self.space.mean), 1, 1), space=self.space)
        return replace(batch, x=self.space.from_pixels(self.codec.decode(batch.x)), space=self.space)


def _first(y: Tensor, count: int) -> Tensor:
    """Rows of the first `count` images of every class, ascending."""
    order, counts = y.argsort(stable=True), torch.bincount(y)
    rank = torch.arange(len(y), device=y.device) - (counts.cumsum(0) - counts)[y[order]]
    return order[rank < count].sort().values
