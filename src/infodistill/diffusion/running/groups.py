"""The groups of classes of a sampling run on disk: one file each, written when it is finished."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from infodistill.diffusion.model import DiffusionModel
from infodistill.diffusion.running.watching import Filming, Recorder
from infodistill.diffusion.samplers import Frame
from infodistill.diffusion.sampling import Plan, Sampled, Steer, sample
from infodistill.files import write_atomically
from infodistill.progress import Tell


@dataclass(frozen=True)
class Finished:
    """A group as it lies on disk."""

    sampled: Sampled
    guidance: dict[str, Tensor]
    film: Tensor | None
    seconds: float


@dataclass(frozen=True)
class Groups:
    """The groups of one run, each sampled once.

    Attributes:
        model: what is sampled.
        steer: between its denoiser and the sampler.
        plan: how.
        folder: of the files.
        recorder: what `steer` tells what it does.
        tell: told after every step.
    """

    model: DiffusionModel
    steer: Steer
    plan: Plan
    folder: Path
    recorder: Recorder
    tell: Tell | None = None

    def every(self) -> list[Finished]:
        """All groups, those that are missing sampled now."""
        return [self.group(number, classes) for number, classes in enumerate(self.listed)]

    @cached_property
    def listed(self) -> list[tuple[int, ...]]:
        """The classes of every group."""
        return self.plan.groups(range(self.model.num_classes))

    def group(self, number: int, classes: tuple[int, ...]) -> Finished:
        """A group, from disk where it is finished."""
        path = self.folder / f"{number:04d}.safetensors"
        known = _read(path, classes)
        if known is None:
            self._sample(number, classes, path)
            known = _read(path, classes)
        assert known is not None
        self._told((number + 1) * self.plan.steps)
        return known

    def _sample(self, number: int, classes: tuple[int, ...], path: Path) -> None:
        model, plan, start = self.model, self.plan, time.perf_counter()
        film = Filming(model, plan.steps)
        self.recorder.take()

        def on_frame(group: tuple[int, ...], frame: Frame) -> None:
            if number == 0:
                film(group, frame)
            self._told(number * plan.steps + frame.step)

        whole = replace(plan, together=None)
        [made] = sample(model, whole, self.steer, classes=classes, on_frame=on_frame)
        tensors = {"y": made.y, "x": made.x, "pixels": made.pixels}
        tensors |= {f"guidance.{name}": value for name, value in self.recorder.take().items()}
        tensors |= {"film": film.take()} if number == 0 else {}
        told = {"classes": json.dumps(classes), "seconds": repr(time.perf_counter() - start)}
        held = {name: value.contiguous() for name, value in tensors.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda partial: save_file(held, partial, told))

    def _told(self, done: int) -> None:
        if self.tell is not None:
            self.tell("sample", done, len(self.listed) * self.plan.steps)


def _read(path: Path, classes: tuple[int, ...]) -> Finished | None:
    """A finished group; None if it is not there or cannot be read, and then it is sampled (again)."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            told = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError):
        return None
    if tuple(json.loads(told["classes"])) != classes:
        return None
    head = "guidance."
    guidance = {name.removeprefix(head): value for name, value in tensors.items() if name.startswith(head)}
    sampled = Sampled(classes, tensors["y"], tensors["x"], tensors["pixels"])
    return Finished(sampled, guidance, tensors.get("film"), float(told["seconds"]))
