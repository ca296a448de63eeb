"""In-place initialisation by key: the same module object gets fresh weights, without the global generator.

Re-using a module keeps compiled and captured graphs valid (fixed addresses and shapes); values are drawn on the CPU in
float32 whatever the device and dtype of the parameters, so a key names the same network everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]

Law = Callable[[nn.Module, torch.Generator], None]
"""law(layer, generator) fills the parameters and buffers that this one layer owns."""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw every parameter of `module` afresh, in place (same storage, same `requires_grad`).

    The law is PyTorch's default (`uniform_fan_in`), which all published matching methods use, unless the module carries
    another one in an attribute `law`. The draws are a function of the generator's state and the module's layers.

    Raises:
        ValueError: a layer owns parameters and the law does not know its kind.
    """
    law: Law = getattr(module, "law", uniform_fan_in)
    with torch.no_grad():
        for layer in module.modules():
            law(layer, generator)


def uniform_fan_in(layer: nn.Module, generator: torch.Generator) -> None:
    """PyTorch's default: weight and bias ~ U(-b, b), b = 1 / sqrt(fan_in); norms 1 and 0, statistics reset.

    This is Kaiming-uniform with a = sqrt(5): the gain sqrt(1/3) and the sqrt(3) of a uniform law cancel.
    """
    if isinstance(layer, (*_CONVOLUTIONS, nn.Linear)):
        bound = 1 / math.sqrt(layer.weight[0].numel())
        for parameter in layer.parameters(recurse=False):
            parameter.copy_(_empty(parameter).uniform_(-bound, bound, generator=generator))
    else:
        _reset_norm(layer)


def normal_fan_out(layer: nn.Module, generator: torch.Generator) -> None:
    """He et al.'s law for ResNets (IDC family): convolution weight ~ N(0, 2 / (k k c_out)), the rest as the default."""
    if isinstance(layer, _CONVOLUTIONS):
        std = math.sqrt(2 / (layer.weight[0, 0].numel() * layer.out_channels))
        layer.weight.copy_(_empty(layer.weight).normal_(0, std, generator=generator))
        if layer.bias is not None:
            bound = 1 / math.sqrt(layer.weight[0].numel())
            layer.bias.copy_(_empty(layer.bias).uniform_(-bound, bound, generator=generator))
    else:
        uniform_fan_in(layer, generator)


def _reset_norm(layer: nn.Module) -> None:
    if isinstance(layer, (nn.GroupNorm, nn.LayerNorm, _NormBase)):
        for name, parameter in layer.named_parameters(recurse=False):
            parameter.fill_(1.0 if name == "weight" else 0.0)
        if isinstance(layer, _NormBase):
            layer.reset_running_stats()
    elif any(True for _ in layer.parameters(recurse=False)):
        known = "convolutions, linear layers and norms"
        raise ValueError(f"cannot initialise a {type(layer).__name__}: the law knows {known}, set `law` on the module")


def _empty(parameter: Tensor) -> Tensor:
    return torch.empty(parameter.shape, dtype=torch.float32, device="cpu")
