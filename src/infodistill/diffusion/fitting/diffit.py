"""DiffFit: fine-tune a diffusion model by its biases, normalisation and class codes alone (Xie et al., ICCV 2023)."""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from infodistill.diffusion.model import DiffusionModel

CODES = ("y_embed", "class_embed", "label")
"""How the names of class codes begin: in the authors' DiT, in diffusers, in our residual MLP."""

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.BatchNorm2d)


def diffit_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """What DiffFit trains, by name: every bias, the affine of every normalisation, every class code, every gamma.

    The authors choose by words in the names of their DiT: bias, norm, gamma, y_embed. In diffusers' DiT "norm1" is the
    whole conditioning of a block (time MLP and modulation), so the word would choose most of what they freeze; here
    normalisation is known by its type, and a class code lies in a part whose name begins with one of `CODES`. diffusers
    holds a table of class codes per block, equal in the authors' model, which may part here.

    Differs: their DiT has DiffFit's scales (`gamma`, 1 at the start) in half of its blocks; diffusers' has none, and
    none are added.

    Raises:
        ValueError: the network has no such parameter.
    """
    norms = tuple(f"{name}." for name, part in module.named_modules() if isinstance(part, NORMS))
    chosen = {
        name: value
        for name, value in module.named_parameters()
        if name.endswith(("bias", "gamma"))
        or name.startswith(norms)
        or any(part.startswith(CODES) for part in name.split("."))
    }
    if not chosen:
        raise ValueError("the network has no bias, normalisation or class code to fine-tune")
    return chosen


def own_copy(model: DiffusionModel) -> DiffusionModel:
    """The model with a module of its own and a denoiser that runs it; the codec, which does not train, is shared.

    Raises:
        ValueError: the denoiser does not run the module, so that training it would change nothing.
    """
    copied = copy.deepcopy(model, {id(model.codec): model.codec})
    parameters = list(copied.module.parameters())
    with only(copied.module, parameters), torch.enable_grad():
        x = torch.zeros(1, *model.shape, device=model.device)
        label = torch.zeros(1, dtype=torch.int64, device=model.device)
        told = copied.denoise(x, x.new_full((1,), model.sigma_at(0.5)), label).x0.sum()
        if told.requires_grad and _reaches(told, parameters):
            return copied
    raise ValueError("the denoiser of this model does not run its module, so fine-tuning would change nothing")


def _reaches(value: Tensor, parameters: list[nn.Parameter]) -> bool:
    found = cast("tuple[Tensor | None, ...]", torch.autograd.grad(value, parameters, allow_unused=True))
    return any(gradient is not None for gradient in found)


@contextmanager
def only(module: nn.Module, chosen: Iterable[nn.Parameter]) -> Generator[None]:
    """Inside, these parameters ask for gradients and no other of the module; outside, each as it did."""
    wanted = [(value, value.requires_grad) for value in module.parameters()]
    module.requires_grad_(False)
    for value in chosen:
        value.requires_grad_(True)
    try:
        yield
    finally:
        for value, want in wanted:
            value.requires_grad_(want)
