"""From a network's own language to the contract: noise, velocity or clean image, as a denoiser in x = x0 + sigma noise.

The network is fed z = x / sqrt(1 + sigma^2) at a place t of its table of abar = 1 / (1 + sigma^2); `predictions` turns
what it says into the clean image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from infodistill.diffusion.contract import UNCONDITIONAL, Prediction
from infodistill.diffusion.model import Codec, DiffusionModel, Pixels, signed_pixels
from infodistill.diffusion.models.architecture import denoised_shape, null_id
from infodistill.diffusion.models.networks import module_call
from infodistill.diffusion.models.predictions import Clean, from_velocity
from infodistill.diffusion.schedules import level_of, sigmas_of

Call = Callable[[Tensor, Tensor, Tensor], Tensor]
"""call(z (n, c, h, w), t (n,) places in the table, ids (n,)) -> (n, c, h, w); (n, 2 c, h, w) with a learned range."""

REACH = 1.5
"""A sigma may leave the table by this factor at either end and is treated as the end; further off it is refused."""

EXACT = 1e-3
"""A place this near to an entry of the table is that entry: rounding of sigma must not move the time off the grid."""


def between(place: Tensor) -> Tensor:
    """For networks that read time as a number: the place itself, log-linear in sigma between entries of the table."""
    nearest = place.round()
    return torch.where((place - nearest).abs() < EXACT, nearest, place).float()


def nearest(place: Tensor) -> Tensor:
    """For networks that look time up: the nearest entry of the table."""
    return place.round().long()


@dataclass(frozen=True)
class Denoiser:
    """A network as the contract's `Denoise`.

    Attributes:
        call: the network.
        alphas_bar: (T,) its table, falling; float64.
        clean: what turns its prediction into x0.
        ids: its class id for every class of the data, in the data's order.
        null: its id of no class; None where it has none.
        place: `between` or `nearest`.

    Called with a learned range (2 c channels), the second half v in [-1, 1] becomes the spread (v + 1) / 2.

    Raises:
        ValueError: on a call: a sigma further than `REACH` off the table, a class that is not there, UNCONDITIONAL
            without a null class, or a network that answers with another number of channels.
    """

    call: Call
    alphas_bar: Tensor
    clean: Clean
    ids: tuple[int, ...]
    null: int | None = None
    place: Callable[[Tensor], Tensor] = between

    def __call__(self, x: Tensor, sigma: Tensor, y: Tensor) -> Prediction:
        self._check(sigma, y)
        wide = sigma.double().view(-1, 1, 1, 1)
        z = x * (1 + wide.square()).rsqrt().to(x)
        told = self.call(z, self.place(level_of(sigma, self.alphas_bar)), self._own_ids(y))
        channels = x.shape[1]
        if told.shape[1] not in (channels, 2 * channels):
            raise ValueError(
                f"the network answers {told.shape[1]} channels to {channels}, wanted as many or twice that"
            )
        predicted, v = told[:, :channels], told[:, channels:]
        x0 = self.clean(x, wide.to(x), predicted)
        return Prediction(x0, (v + 1) / 2 if v.shape[1] else None)

    def _own_ids(self, y: Tensor) -> Tensor:
        # The null id, if any, is the last entry, so that UNCONDITIONAL = -1 finds it.
        table = self.ids if self.null is None else (*self.ids, self.null)
        return torch.tensor(table, dtype=torch.int64, device=y.device)[y]

    def _check(self, sigma: Tensor, y: Tensor) -> None:
        low, high = sigmas_of(self.alphas_bar[[0, -1]].double()).tolist()
        ends = torch.stack([sigma.min(), sigma.max(), y.min().to(sigma), y.max().to(sigma)])
        first, last, least, most = ends.tolist()  # one transfer from an accelerator, not four
        if not (low / REACH <= first and last <= high * REACH):
            raise ValueError(f"the network knows sigma {low:.3g} to {high:.3g}, got {first:.3g} to {last:.3g}")
        if least < UNCONDITIONAL or most >= len(self.ids):
            raise ValueError(f"classes count 0..{len(self.ids) - 1}, got {least:g}..{most:g}")
        if self.null is None and least == UNCONDITIONAL:
            raise ValueError(
                "this model has no null class: it cannot be asked for no class (weight 1 does not need it)"
            )


def adapted(
    module: nn.Module,
    alphas_bar: Tensor,
    class_names: Sequence[str],
    *,
    predicts: Clean = from_velocity,
    codec: Codec | None = None,
    ids: Sequence[int] | None = None,
    known: int | None = None,
    facts: Mapping[str, Any] | None = None,
) -> DiffusionModel:
    """A network of ours or of diffusers as a diffusion model; the network is shared and put in eval mode.

    Args:
        module: a residual MLP, DiT or UNet.
        alphas_bar: (T,) its table.
        class_names: the classes in the order of the data.
        predicts: one of `predictions.PREDICTIONS`.
        codec: from pixels to what it denoises; None: pixels in [-1, 1].
        ids: its class ids of these classes; None: 0, 1, 2, ...
        known: how many classes it was built for, which says whether it has a null class beyond; None: as many as named.
        facts: JSON-able, see `DiffusionModel`.

    Raises:
        ValueError: the network has fewer or more class codes than the classes it knows and a null class.
    """
    ids = tuple(range(len(class_names)) if ids is None else ids)
    null, shape = null_id(module, known or len(class_names)), denoised_shape(module)
    denoise = Denoiser(partial(module_call, module.eval()), alphas_bar.double(), predicts, ids, null)
    codec = codec or Pixels()
    told = {"architecture": type(module).__name__, **(facts or {})}
    space = signed_pixels(shape[0]) if isinstance(codec, Pixels) else None
    names = tuple(class_names)
    return DiffusionModel(denoise, alphas_bar.double(), shape, codec, names, space, null is not None, module, told)
