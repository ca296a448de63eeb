"""One quick evaluation on the toys, and a count of the network trainings it really does."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from infodistill.evaluation import evaluating
from infodistill.evaluation.evaluating import evaluate
from infodistill.evaluation.protocols import PROTOCOLS
from infodistill.nets.convnet import convnet

NET = {"small": convnet(depth=1, width=4)}
PROTOCOL = replace(PROTOCOLS["quick"], epochs=6, full_epochs=3, lr=0.05)
run = partial(evaluate, protocol=PROTOCOL, seeds=(0, 1, 2))


def count_trainings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images of every network training that really happens from now on."""
    sizes: list[int] = []
    original = evaluating.fit

    def counting(module: Any, data: Any, *rest: Any, **options: Any) -> None:
        sizes.append(len(data))
        original(module, data, *rest, **options)

    monkeypatch.setattr(evaluating, "fit", counting)
    return sizes


def values(result: Any, column: str, net: str = "small") -> tuple[float, ...]:
    return result.nets[net][column].values
