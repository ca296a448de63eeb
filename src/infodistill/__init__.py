"""Information-theoretic dataset distillation for PyTorch.

    import infodistill

    real = infodistill.load_data("digits")
    job = infodistill.methods.dm(real, infodistill.nets.by_name("convnet2-w32"), ipc=10)

Names are imported when they are first used, so `import infodistill` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from infodistill import augment, information, methods, nets, sources
    from infodistill.compute import Policy, resolve
    from infodistill.data import load_data
    from infodistill.distillation import Distillation
    from infodistill.distilled import Distilled, load
    from infodistill.evaluation.evaluating import evaluate
    from infodistill.evaluation.result import Result
    from infodistill.real import RealData
    from infodistill.types import Batch, ValueSpace
    from infodistill.weights import Ratio, Weighted

__version__ = "0.1.0"

_HOME = {
    "Batch": "types",
    "Distillation": "distillation",
    "Distilled": "distilled",
    "Policy": "compute",
    "Ratio": "weights",
    "RealData": "real",
    "Result": "result",
    "ValueSpace": "types",
    "Weighted": "weights",
    "evaluate": "evaluation",
    "load": "distilled",
    "load_data": "data",
    "resolve": "compute",
}
_PARTS = ("augment", "information", "methods", "nets", "sources")


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return importlib.import_module(f"infodistill.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"infodistill.{_HOME[name]}"), name)
    raise AttributeError(f"module 'infodistill' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted((*globals(), *_HOME, *_PARTS))


__all__ = [
    "Batch",
    "Distillation",
    "Distilled",
    "Policy",
    "Ratio",
    "RealData",
    "Result",
    "ValueSpace",
    "Weighted",
    "augment",
    "evaluate",
    "information",
    "load",
    "load_data",
    "methods",
    "nets",
    "resolve",
    "sources",
]
