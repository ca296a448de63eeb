"""Recording the trajectories of experts: networks trained on the real data, their parameters kept along the way.

Every expert has its own keyed streams, so it is the same whatever was recorded before it: an interrupted recording
continues with the experts it lacks, and a larger one contains the smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from infodistill.compute import Policy, View
from infodistill.nets.initialise import initialise
from infodistill.real import RealData
from infodistill.seeding import stream
from infodistill.sources.expert_store import (
    FACTS,
    ExpertStore,
    open_store,
    store_facts,
    store_name,
    told_of,
    write_expert,
    write_facts,
)
from infodistill.training import Fit, accuracy, fit
from infodistill.types import Net, NetFactory

SAMPLE = 1000
"""Training images an expert's accuracy is measured on, at most; a tenth of the data, but at least 100 (our choice)."""

Start = Callable[[int], Mapping[str, Tensor]]
"""start(expert) -> the parameters its training begins with, by name."""

Told = Callable[[str, int, int], None]
"""progress(what, done, total)."""


@dataclass(frozen=True)
class Recording:
    """What expert i is made from. `fit.epochs` is the last epoch kept: later ones would be read by nobody."""

    real: RealData
    factory: NetFactory
    fit: Fit
    keep: tuple[int, ...]
    seed: int
    policy: Policy
    start: Start | None = None
    begun: str = ""

    def facts(self) -> dict[str, Any]:
        """What the store says of itself."""
        module = self.factory(self.real.shape, self.real.num_classes)
        return store_facts(
            module, self.real, self.fit, seed=self.seed, precision=self.policy.precision, origin=self.begun
        )

    def folder(self, cache: Path) -> Path:
        """Where its experts are kept."""
        return cache / "experts" / store_name(self.facts())

    def missing(self, folder: Path, count: int) -> list[int]:
        """Which of `count` experts are not there, or not with all the epochs wanted."""
        return [expert for expert in range(count) if not _has(folder, expert, self.keep)]

    def fresh(self, expert: int) -> Net:
        """The network of expert i before its training."""
        module = self.factory(self.real.shape, self.real.num_classes)
        initialise(module, stream(self.seed, "expert.init", expert))
        if self.start is not None:
            given = self.start(expert)
            with torch.no_grad():
                for name, value in module.named_parameters():
                    value.copy_(given[name])
        return module.to(self.policy.device)

    def train(self, expert: int, on_epoch: Callable[[int], None]) -> tuple[Tensor, dict[str, Any]]:
        """One trajectory, float32 (epochs kept, parameters) on the CPU, and how it went.

        Raises:
            FloatingPointError: the training diverged; the message names the expert and the epoch.
        """
        module = self.fresh(expert)
        taken = Taken(module, self, self._sample())
        taken.snapshot(0)

        def after(epoch: int, loss: float) -> None:
            taken.losses.append(loss)
            taken.snapshot(epoch + 1)
            on_epoch(epoch + 1)

        generator = stream(self.seed, "expert.train", expert)
        try:
            fit(module, self.real, self.fit, generator, policy=self.policy, on_epoch=after)
        except FloatingPointError as error:
            raise FloatingPointError(f"expert {expert}: {error}") from error
        told = {"epochs": list(self.keep), "losses": taken.losses, "accuracies": taken.accuracies}
        return taken.trajectory, told

    def _sample(self) -> RealData:
        count = min(SAMPLE, max(len(self.real) // 10, 100))
        rows = torch.randperm(len(self.real), generator=stream(self.seed, "expert.accuracy"))[:count]
        return self.real.subset(rows)


class Taken:
    """Snapshots of one expert while it trains."""

    def __init__(self, module: Net, recording: Recording, sample: RealData) -> None:
        self.module, self.keep, self.sample = module, recording.keep, sample
        self.trajectory = torch.empty(len(self.keep), sum(value.numel() for value in module.parameters()))
        self.losses, self.accuracies = list[float](), list[float]()
        # Evaluation would be a compiled graph of its own, for a fraction of a percent of the work.
        self.policy, self.space = replace(recording.policy, compile=False), recording.real.space

    def snapshot(self, epoch: int) -> None:
        """Copy the parameters (on a CPU a detached tensor is still the live one) and measure, if the epoch is kept."""
        if epoch not in self.keep:
            return
        flat = torch.cat([value.detach().flatten() for value in self.module.parameters()])
        self.trajectory[self.keep.index(epoch)].copy_(flat)
        self.accuracies.append(accuracy(View.own(self.module, policy=self.policy, space=self.space), self.sample))


def record_experts(
    real: RealData,
    factory: NetFactory,
    *,
    count: int,
    fit: Fit,
    cache: Path,
    keep: Sequence[int] | None = None,
    seed: int = 0,
    policy: Policy | None = None,
    progress: Told | None = None,
    start: Start | None = None,
    begun: str = "",
) -> ExpertStore:
    """Train `count` experts on all of `real` and keep their trajectories, or find those recorded before.

    Only the epochs up to the last kept are trained. Experts that keep other epochs than are wanted here are recorded
    again with both, in the same place.

    Args:
        real: the training data, in the value space to distil in.
        factory: makes the network; without buffers (batch norm), which no trajectory holds.
        count: experts.
        fit: how they are trained; MTT: 50 epochs, batch 256, lr 0.01, no momentum, no decay, DSA.
        cache: the folder whose `experts/<digest>` they are kept in.
        keep: epochs kept, 0 being the start; all of them by default.
        seed: key of starts and trainings, with the number of the expert.
        policy: how networks run.
        progress: told the epochs done of all experts' epochs.
        start: what training begins with instead of fresh networks (SeqMatch).
        begun: what `start` is, in words or as a digest; it names the store together with the other settings.

    Raises:
        ValueError: no experts, epochs that the training does not have, a start without a name, or a network with
            buffers.
        FloatingPointError: an expert diverged.
    """
    if count < 1:
        raise ValueError(f"at least 1 expert is recorded, got {count}")
    recording = recording_of(real, factory, fit=fit, keep=keep, seed=seed, policy=policy, start=start, begun=begun)
    folder, last = recording.folder(cache), recording.keep[-1]
    missing = recording.missing(folder, count)
    record(recording, folder, missing, _offset(progress, (count - len(missing)) * last, count * last))
    module = factory(real.shape, real.num_classes)
    return open_store(folder, module, real, count=count, epochs=recording.keep)


def record(recording: Recording, folder: Path, experts: Sequence[int], told: Callable[[int], None]) -> None:
    """Train these experts one after the other into the store in `folder`; `told` hears how many epochs are done.

    Several processes may do so at once with experts of their own: every expert is a file, keyed by its number.

    Raises:
        FloatingPointError: an expert diverged.
    """
    if experts and not (folder / FACTS).exists():
        write_facts(folder, recording.facts())
    for place, expert in enumerate(experts):
        before = place * recording.keep[-1]
        _record(recording, folder, expert, lambda epoch, before=before: told(before + epoch))


def recording_of(
    real: RealData,
    factory: NetFactory,
    *,
    fit: Fit,
    keep: Sequence[int] | None = None,
    seed: int = 0,
    policy: Policy | None = None,
    start: Start | None = None,
    begun: str = "",
) -> Recording:
    """The checked recording that `record_experts` makes of these arguments."""
    epochs = tuple(sorted(set(range(fit.epochs + 1) if keep is None else keep)))
    if wrong := [epoch for epoch in epochs if not 0 <= epoch <= fit.epochs]:
        raise ValueError(f"epoch {wrong[0]} cannot be kept of a training of {fit.epochs} epochs")
    if not epochs:
        raise ValueError("experts keep at least 1 epoch, got none")
    if (start is None) != (not begun):
        raise ValueError("a given start needs a name, and a name a start: `start` and `begun` come both or neither")
    return Recording(real, factory, replace(fit, epochs=epochs[-1]), epochs, seed, policy or Policy(), start, begun)


def wider(recording: Recording, folder: Path, expert: int) -> Recording:
    """The recording that also keeps the epochs which the expert's file in the store has."""
    before = told_of(folder, expert)
    keep = sorted({*recording.keep, *(before["epochs"] if before else ())})
    return keeping(recording, keep)


def keeping(recording: Recording, keep: Sequence[int]) -> Recording:
    """The recording with these epochs kept, ascending."""
    return replace(recording, keep=tuple(keep), fit=replace(recording.fit, epochs=keep[-1]))


def _record(recording: Recording, folder: Path, expert: int, on_epoch: Callable[[int], None]) -> None:
    trajectory, told = wider(recording, folder, expert).train(expert, on_epoch)
    write_expert(folder, expert, trajectory, told)


def _has(folder: Path, expert: int, epochs: Sequence[int]) -> bool:
    told = told_of(folder, expert)
    return told is not None and set(epochs) <= set(told["epochs"])


def _offset(progress: Told | None, before: int, total: int) -> Callable[[int], None]:
    def tell(epoch: int) -> None:
        if progress is not None:
            progress("epochs of experts", min(before + epoch, total), total)

    return tell
