"""Networks by name. A factory builds one for an image shape and a number of classes; sources initialise it by key."""

from __future__ import annotations

import re

from infodistill.nets.classic import alexnet, lenet, mlp, vgg11
from infodistill.nets.convnet import ConvNet, convnet
from infodistill.nets.initialise import initialise
from infodistill.nets.resnet import resnet18, resnet18_idc, resnetap10
from infodistill.nets.timm_models import PREFIX, timm_model
from infodistill.nets.vit import vit
from infodistill.types import Net, NetFactory

NETS: dict[str, NetFactory] = {
    "convnet3": convnet(depth=3, width=128),
    "resnet18": resnet18(),
    "resnet18-idc": resnet18_idc(),
    "resnetap10": resnetap10(),
    "vgg11": vgg11(),
    "alexnet": alexnet(),
    "lenet": lenet(),
    "mlp": mlp(),
    "vit": vit(),
}
"""The fixed names; `by_name` also reads the pattern convnet<D>-w<W> and timm:<NAME>."""

_CONVNET = re.compile(r"convnet([1-9]\d?)(?:-w([1-9]\d{0,4}))?")


def names() -> tuple[str, ...]:
    """What `by_name` accepts: the fixed names, then the patterns of ConvNets and of models of the timm library."""
    return (*NETS, "convnet<depth>", "convnet<depth>-w<width>", "timm:<name>")


def by_name(name: str) -> NetFactory:
    """The factory of a name; `convnet2-w32` is a ConvNet of depth 2 and width 32 (width 128 when left out).

    `timm:NAME` is a model of the timm library, which is imported when a network is built.

    Raises:
        ValueError: the name is not known.
    """
    if name in NETS:
        return NETS[name]
    if name.startswith(PREFIX):
        return timm_model(name.removeprefix(PREFIX))
    match = _CONVNET.fullmatch(name)
    if match is None:
        raise ValueError(f"unknown network {name!r}: known are {', '.join(names())}")
    return convnet(depth=int(match[1]), width=int(match[2] or 128))


__all__ = [
    "NETS",
    "ConvNet",
    "Net",
    "NetFactory",
    "alexnet",
    "by_name",
    "convnet",
    "initialise",
    "lenet",
    "mlp",
    "names",
    "resnet18",
    "resnet18_idc",
    "resnetap10",
    "timm_model",
    "vgg11",
    "vit",
]
