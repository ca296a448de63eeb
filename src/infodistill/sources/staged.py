"""Sets made subset after subset, and networks that start where the subsets so far lead.

Stage k learns subset S_k. Its networks were first trained on S_1, then S_1 and S_2, ... up to S_{k-1}, which are frozen
by then. PDD (Chen et al., ICLR 2024) matches gradients of such networks; in SeqMatch (Du et al., NeurIPS 2023) they are
where experts start, which are recorded when the stage begins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from infodistill.compute import Policy
from infodistill.evaluation.protocol import EvaluationProtocol, phases
from infodistill.nets.initialise import initialise
from infodistill.seeding import stream
from infodistill.serialise import canonical_json
from infodistill.sources.expert_recording import Start
from infodistill.sources.segments import Segment
from infodistill.synthetic import SyntheticSet
from infodistill.training import Fit, fit
from infodistill.types import Batch, NetFactory, Source

Record = Callable[[int, Start | None, str], Source[Segment]]
"""record(stage, start, origin) -> segments of the experts of a stage; `start` is None at stage 0, where networks are
fresh, and `origin` names what the starts were made from."""


@dataclass(frozen=True)
class Stages:
    """K subsets of `ipcs[k]` images per class, each learned for `steps` updates; rows of a set are class-major.

    In every class the first ipcs[0] rows are subset 0, the next ipcs[1] subset 1, and so on.

    Raises:
        ValueError: no subset, an empty one, or less than one update for each.
    """

    ipcs: tuple[int, ...]
    steps: int

    def __post_init__(self) -> None:
        if not self.ipcs or min(self.ipcs) < 1 or self.steps < 1:
            raise ValueError(
                f"stages need at least 1 image per class and 1 update each, got {self.ipcs} and {self.steps}"
            )

    @property
    def ipc(self) -> int:
        return sum(self.ipcs)

    def at(self, step: int) -> int:
        """The stage of an update; updates after the last stage's are more of it."""
        return min(step // self.steps, len(self.ipcs) - 1)

    def begins(self, step: int) -> bool:
        """Whether a stage other than the first begins with this update; an `Update.restarts`."""
        return step % self.steps == 0 and 0 < step < len(self.ipcs) * self.steps

    def begun(self, stage: int) -> int:
        """Images per class of subsets 0 .. stage."""
        return sum(self.ipcs[: stage + 1])

    def rows(self, classes: int, stage: int) -> Tensor:
        """The rows of subsets 0 .. stage in a set of so many classes, ascending, int64."""
        within = torch.arange(self.begun(stage))
        return (torch.arange(classes)[:, None] * self.ipc + within).flatten()

    def own(self, stage: int) -> Tensor:
        """(ipc,) bool: which rows of a class are of this stage's subset."""
        return torch.arange(len(self.ipcs)).repeat_interleave(torch.tensor(self.ipcs)) == stage

    def plan(
        self, classes: int, rates: Sequence[float | None], stage: int, *, copies: int = 1, epochs: int | None = None
    ) -> list[Mapping[str, Any]]:
        """Phases of stages 0 .. stage: all subsets so far, at the rate of the stage, for so many epochs.

        Rows count decoded images, `copies` of every stored one. None stands for what the protocol says.
        """
        phases: list[Mapping[str, Any]] = []
        for k, rate in enumerate(rates[: stage + 1]):
            rows = self.rows(classes, k)[:, None] * copies + torch.arange(copies)
            phases.append({"rows": rows.flatten().tolist(), "rates": rate, "epochs": epochs})
        return phases


class Clock(Source[int]):
    """The stage of the step: what the parts of a staged job agree on."""

    def __init__(self, stages: Stages) -> None:
        self.stages = stages

    def draw(self) -> int:
        return self.stages.at(self.step)


@dataclass(frozen=True)
class SoFar:
    """The trainings that the subsets before a stage prescribe, from the set as it stands: what evaluation replays.

    `rates` is the scalar of the set with one learned rate per stage, None where the protocol says the rate. `epochs`
    None: the protocol's.
    """

    syn: SyntheticSet
    stages: Stages
    rates: str | None
    protocol: EvaluationProtocol
    epochs: int | None = None

    def trainings(self, stage: int) -> list[tuple[Batch, Fit]]:
        """One training for each subset before `stage`."""
        return phases(self._plan(stage), self.protocol, self.syn.final(self.syn).batch().detach())

    def digest(self, stage: int) -> str:
        """A name for all that those trainings depend on: frozen images and labels, rates, protocol."""
        told = hashlib.blake2b(canonical_json([self._plan(stage), self.protocol.as_dict()]).encode(), digest_size=16)
        for batch, _ in self.trainings(stage)[-1:]:
            for tensor in (batch.x + 0.0, batch.target + 0.0):  # a zero has one sign here
                told.update(tensor.cpu().contiguous().numpy().data)
        return told.hexdigest()

    def _plan(self, stage: int) -> list[Mapping[str, Any]]:
        rates: list[float | None] = [None] * len(self.stages.ipcs)
        if self.rates is not None:
            rates = self.syn.scalars[self.rates].detach().cpu().tolist()
        copies = self.syn.decoded_per_class // self.syn.ipc
        return self.stages.plan(self.syn.num_classes, rates, stage - 1, copies=copies, epochs=self.epochs)


@dataclass(frozen=True)
class Taught:
    """A `Start`: a fresh network of its own for every expert, trained as prescribed, keyed by (seed, expert, phase)."""

    factory: NetFactory
    trainings: Sequence[tuple[Batch, Fit]]
    seed: int
    policy: Policy

    def __call__(self, expert: int) -> dict[str, Tensor]:
        first = self.trainings[0][0]
        channels, height, width = first.x.shape[1:]
        module = self.factory((int(channels), int(height), int(width)), first.target.shape[1])
        initialise(module, stream(self.seed, "staged.start", expert))
        module.to(self.policy.device)
        for phase, (rows, hyper) in enumerate(self.trainings):
            generator = stream(self.seed, "staged.start.train", expert, phase)
            fit(module, rows, hyper, generator, policy=self.policy, space=rows.space)
        return {name: value.detach().cpu() for name, value in module.named_parameters()}


@dataclass(slots=True)
class _Now:
    """The experts of one stage. Slots hide them from the walk over a job's state: their step is ours to set."""

    stage: int
    segments: Source[Segment]


class StagedExperts(Source[Segment]):
    """Segments of the experts of the current stage, recorded when the first one is drawn.

    So a job that stops at the end of a stage has recorded nothing for the next, and a resumed one finds (or makes) the
    experts of its stage again: the frozen subsets are in the set, and the origin names them.

    Args:
        record: makes or finds the experts of a stage.
        before: the trainings that the subsets so far prescribe.
        factory: the experts' network.
        seed: key of the networks that experts start from.
    """

    def __init__(self, record: Record, before: SoFar, factory: NetFactory, *, seed: int) -> None:
        self.record, self.before, self.factory, self.seed = record, before, factory, seed
        self.policy = Policy()
        self._now: _Now | None = None
        self._saved: dict[str, Any] | None = None

    def use(self, policy: Policy) -> None:
        self.policy = policy
        if self._now is not None:
            self._now.segments.use(policy)

    def draw(self) -> Segment:
        stage = self.before.stages.at(self.step)
        if self._now is None or self._now.stage != stage:
            self._now = _Now(stage, self._open(stage))
        self._now.segments.step = self.step
        return self._now.segments.draw()

    def _open(self, stage: int) -> Source[Segment]:
        start, origin = None, ""
        if stage:
            start = Taught(self.factory, self.before.trainings(stage), self.seed, self.policy)
            origin = f"stage {stage}, {self.before.digest(stage)}"
        segments = self.record(stage, start, origin)
        segments.use(self.policy)
        if self._saved is not None and self._saved["stage"] == stage:
            segments.load_state_dict(self._saved["segments"])
        self._saved = None
        return segments

    def state_dict(self) -> dict[str, Any]:
        now, told = self._now, self._saved
        if now is not None:
            told = {"stage": now.stage, "segments": now.segments.state_dict()}
        return {**super().state_dict(), "experts": told}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._now, self._saved = None, state["experts"]
