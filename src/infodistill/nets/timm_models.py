"""Any network of the timm library by name (`timm:resnet50`), trained from scratch, behind the extra `vision`.

Stages are what timm calls the features, and the flat feature before its classifier. Weights are drawn by timm's own
law, keyed like ours: a fresh model is built from the generator and copied in place.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from infodistill.seeding import build_seeded
from infodistill.types import Net, NetFactory

Shape = tuple[int, int, int]
PREFIX = "timm:"


class TimmNet(Net):
    """A timm model as our `Net`. No pretrained weights: a comparison of distilled sets starts from scratch."""

    def __init__(self, shape: Shape, classes: int, *, name: str) -> None:
        super().__init__()
        self.made = (name, shape, classes)
        self.model = _create(name, shape, classes)
        self.law = timm_law

    def stages(self, x: Tensor) -> tuple[Tensor, ...]:
        features = self.model.forward_features(x)
        return features, self.model.forward_head(features, pre_logits=True)

    def head(self, feature: Tensor) -> Tensor:
        return self.model.get_classifier()(feature)


def timm_law(layer: nn.Module, generator: torch.Generator) -> None:
    """Fill a whole `TimmNet` as timm initialises it; its inner layers are left to that."""
    if isinstance(layer, TimmNet):
        fresh = build_seeded(lambda: _create(*layer.made), generator)
        layer.model.load_state_dict(fresh.state_dict())


def timm_model(name: str) -> NetFactory:
    """A factory of the timm model `name`. timm is imported when a network is built.

    Raises (the factory):
        ImportError: timm is not installed, or cannot be imported.
        ValueError: timm knows no such model, or it does not take images of this size.
    """
    return partial(TimmNet, name=name)


def _create(name: str, shape: Shape, classes: int) -> Any:
    """The model for `shape`; `img_size` is given to those that take it (transformers are built for one size)."""
    try:
        timm: Any = importlib.import_module("timm")
    except ImportError:
        raise ImportError(f'the network {PREFIX}{name} needs timm: pip install "infodistill[vision]"') from None
    except (RuntimeError, OSError) as error:  # a torchvision built for another torch
        raise ImportError(f"the network {PREFIX}{name} needs timm, which cannot be imported here: {error}") from None
    told = {"pretrained": False, "in_chans": shape[0], "num_classes": classes}
    try:
        try:
            return timm.create_model(name, img_size=shape[1:], **told)
        except TypeError:
            return timm.create_model(name, **told)
    except Exception as error:  # timm raises RuntimeError, AssertionError and others for names and sizes
        size = f"{shape[1]}x{shape[2]}"
        raise ValueError(f"timm makes no '{name}' for images of {shape[0]} x {size}: {error}") from None
