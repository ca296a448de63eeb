"""Segments of made-up experts, in memory: random walks in parameter space, and settings the tests share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from infodistill.augment import dsa_per_image
from infodistill.distillation import Distillation
from infodistill.nets.convnet import convnet
from infodistill.nets.initialise import initialise
from infodistill.running.checkpoint import load_checkpoint, save_checkpoint
from infodistill.seeding import stream
from infodistill.sources.expert_recording import Start
from infodistill.sources.segments import Segment
from infodistill.types import Net, NetFactory, Source

NET = convnet(depth=2, width=4)
AUGMENT = dsa_per_image("color_crop_cutout_scale_rotate")
Window = Callable[[int], tuple[int, int]]


def whole(step: int) -> tuple[int, int]:
    """Starts 0 to 3, at every step."""
    del step
    return 0, 4


class Walks(Source[Segment]):
    """`count` walks of six epochs: each epoch moves every parameter by N(0, size^2). Drawn by (seed, step)."""

    def __init__(
        self,
        factory: NetFactory = NET,
        shape: tuple[int, int, int] = (1, 8, 8),
        classes: int = 3,
        *,
        seed: int = 0,
        size: float = 0.02,
        window: Window = whole,
        count: int = 2,
        start: Callable[[int], Mapping[str, Tensor]] | None = None,
    ) -> None:
        self.seed, self.window = seed, window
        self.module = factory(shape, classes).requires_grad_(False)
        starts = [start(e) if start else _fresh(self.module, seed + e) for e in range(count)]
        self.walks = [[_epoch(at, seed + e, size, t) for t in range(6)] for e, at in enumerate(starts)]

    def draw(self) -> Segment:
        generator, (low, high) = stream(self.seed, "walks", self.step), self.window(self.step)
        walk = self.walks[int(torch.randint(len(self.walks), (), generator=generator))]
        t = int(torch.randint(low, high, (), generator=generator))
        return Segment(self.module, walk[t], walk[t + 2], t, None)


def _fresh(module: Net, seed: int) -> dict[str, Tensor]:
    initialise(module, stream(seed, "walk"))
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def _epoch(start: Mapping[str, Tensor], seed: int, size: float, epoch: int) -> dict[str, Tensor]:
    generator, point = stream(seed, "walk.steps"), {name: value.clone() for name, value in start.items()}
    for _ in range(epoch):
        for value in point.values():
            value += size * torch.randn(value.shape, generator=generator)
    return point


@dataclass(eq=False)
class Recorder:
    """Walks from the starts given; remembers what was asked for."""

    asked: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    starts: dict[int, Start | None] = field(default_factory=dict[int, "Start | None"])

    def __call__(self, stage: int, start: Start | None, origin: str) -> Walks:
        self.asked.append((stage, origin))
        self.starts[stage] = start
        return Walks(seed=10 * stage, start=start)

    def __deepcopy__(self, memo: dict[int, Any]) -> Recorder:
        return self


def after(job: Distillation, steps: int) -> list[Tensor]:
    """Everything the set learns after some more steps, apart."""
    for _ in job.run(steps):
        pass
    return [tensor.detach().clone() for tensor in job.syn.trainable()]


def same(left: list[Tensor], right: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def resumed(make: Callable[[], Distillation], path: Any, stop: int, steps: int) -> tuple[Distillation, Distillation]:
    """One job of `steps` steps, and one that was saved at `stop`, rebuilt, loaded from disk and continued."""
    straight, first, second = make(), make(), make()
    after(straight, steps)
    after(first, stop)
    save_checkpoint(path / "checkpoint", first.state_dict())
    second.load_state_dict(load_checkpoint(path / "checkpoint"))
    after(second, steps - stop)
    return straight, second
