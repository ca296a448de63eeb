"""Honest evaluation: fresh networks, the last epoch, and the reference columns without which a number means little.

`distilled`  networks trained on the set.
`random`     on random real subsets with as many images per class, hard labels.
`random_same_bytes`  on random real subsets of the same bytes, where the set has learned labels, scalars or factors.
`distilled_hard`     on the set with hard labels, where it has learned ones.
`full`       on all real data, for the protocol's `full_epochs`; only if cached or asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from infodistill.compute import Policy, View
from infodistill.distilled import ALL_ROWS, Distilled
from infodistill.nets.initialise import initialise
from infodistill.protocols import EvaluationProtocol, phases, protocol_for
from infodistill.real import RealData
from infodistill.references import References, random_ipc, same_bytes_ipc
from infodistill.result import Result, Score
from infodistill.seeding import build_seeded, key, stream
from infodistill.serialise import sha256
from infodistill.training import Fit, accuracy, fit
from infodistill.types import Net, NetFactory, Rows, ValueSpace
from infodistill.whitening import in_space

Progress = Callable[[str, int, int], None]
"""progress(what, done, total): epochs done for one network, called after every epoch."""

NOT_ASKED = "training on the full data was not asked for (--full) and is not cached"


def evaluate(
    distilled: Distilled | Sequence[Distilled],
    real: RealData,
    nets: Mapping[str, NetFactory],
    *,
    protocol: EvaluationProtocol | None = None,
    seeds: Sequence[int] = range(5),
    random_subsets: int = 5,
    full: bool = False,
    policy: Policy | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Result:
    """Train fresh networks on a distilled set, and on its references, and test them on `real.test`.

    Everything is keyed: the same call gives the same numbers, and two sets evaluated with the same seeds see the same
    initial networks (a paired comparison). Several sets (one method from several seeds) share the columns: the mean is
    over sets x networks. Images and test data meet in the value space of the set, and references are whitened as it is.

    Args:
        distilled: the set, or several sets of the same classes, images per class and protocol.
        real: the data it came from, with `.test`.
        nets: name -> factory of every architecture to evaluate; two or more make a cross-architecture table.
        protocol: how networks are trained; None takes the artefact's own. A plan is replayed under its own only.
        seeds: one network per seed and set.
        random_subsets: distinct random real subsets, one network each; fewer than 5 make a weak reference.
        full: train `len(seeds)` networks on all real data where they are not cached.
        policy: device, precision, chunks.
        cache: folder of reference columns: computed once per data x network x ipc x protocol x precision.
        progress: told after every epoch.

    Raises:
        ValueError: the data does not fit the set, has no test part, or a class is smaller than `ipc`; or the labels of
            the set are not what the protocol's loss is for.
    """
    sets = [distilled] if isinstance(distilled, Distilled) else list(distilled)
    sets = sets if protocol is None else [_under(distilled, protocol, real) for distilled in sets]
    job = _job(sets, real, protocol or protocol_of(sets[0], real) if sets else None, seeds, policy)
    job = replace(job, references=References(cache), progress=progress)
    start = time.perf_counter()
    columns = {
        name: _columns(replace(job, net=name, factory=factory), sets, random_subsets, full)
        for name, factory in nets.items()
    }
    return Result(
        protocol=job.protocol,
        ipc=sets[0].stored_ipc,
        nets=columns,
        full_reasons={name: None if "full" in found else NOT_ASKED for name, found in columns.items()},
        images_bytes=sets[0].images_bytes,
        labels_bytes=sets[0].labels_bytes,
        seconds=time.perf_counter() - start,
        device=job.policy.device,
        settings=job.settings(),
    )


def protocol_of(distilled: Distilled, real: RealData) -> EvaluationProtocol:
    """The protocol an artefact carries (in full or by name); `dsa` when it carries none."""
    stored = distilled.meta.get("protocol", "dsa")
    if isinstance(stored, Mapping):
        return EvaluationProtocol.from_dict(stored)
    name, classes = str(distilled.meta.get("data", real.name)), distilled.num_classes
    return protocol_for(str(stored), name, ipc=distilled.stored_ipc, classes=classes)


def _under(distilled: Distilled, protocol: EvaluationProtocol, real: RealData) -> Distilled:
    """The set with its plan where the protocol is its own; under another it is one whole, like real images."""
    # A replayed plan would give the same number whatever protocol it is printed under.
    foreign = "protocol" in distilled.meta and protocol.name != protocol_of(distilled, real).name
    return replace(distilled, plan=(ALL_ROWS,)) if foreign else distilled


@dataclass(frozen=True)
class _Job:
    """What all trainings of one architecture share."""

    real: RealData
    test: RealData
    protocol: EvaluationProtocol
    seeds: tuple[int, ...]
    policy: Policy
    references: References = field(default_factory=References)
    progress: Progress | None = None
    net: str = ""
    factory: NetFactory | None = None

    def settings(self) -> dict[str, Any]:
        return {
            "data": self.real.name,
            "fingerprint": self.real.fingerprint,
            "test_fingerprint": self.test.fingerprint,
            "test_images": len(self.test),
            "seeds": list(self.seeds),
            "policy": self.policy.as_dict(),
        }

    def key(self, kind: str) -> dict[str, Any]:
        """Everything a reference accuracy depends on."""
        how = {name: value for name, value in self.protocol.as_dict().items() if name not in ("name", "note")}
        space = self.real.space
        return {
            "kind": kind,
            "net": self.net,
            "architecture": self.architecture,
            "data": self.real.fingerprint,
            "test": self.test.fingerprint,
            "space": [list(space.mean), list(space.std), *([space.whitening.digest] if space.whitening else [])],
            "protocol": how,
            "precision": self.policy.precision,
        }

    @cached_property
    def architecture(self) -> str:
        """Fingerprint of what the factory builds: two networks of one name are never mixed up."""
        module = self.build(0)
        shapes = [(name, tuple(value.shape)) for name, value in module.state_dict().items()]
        law = getattr(getattr(module, "law", None), "__name__", "")  # how its weights are drawn
        return sha256(f"{module!r}{shapes}{law}".encode())[:16]

    def build(self, seed: int) -> Net:
        """A fresh network whose weights depend on the seed alone."""
        factory = self.factory
        assert factory is not None
        generator = stream(seed, "evaluate.net")
        module = build_seeded(lambda: factory(self.real.shape, self.real.num_classes), generator)
        initialise(module, generator)
        return module.to(self.policy.device)


def _job(
    sets: Sequence[Distilled],
    real: RealData,
    protocol: EvaluationProtocol | None,
    seeds: Sequence[int],
    policy: Policy | None,
) -> _Job:
    """Check everything before the first network is trained."""
    if not sets or protocol is None or not seeds:
        raise ValueError(f"an evaluation needs at least one set and one seed, got {len(sets)} and {len(seeds)}")
    for distilled in sets:
        distilled.check(real)
        protocol.check(distilled)
        if (mine := distilled.stored_ipc) != (first := sets[0].stored_ipc):
            raise ValueError(f"sets of {first} and {mine} images per class cannot share a column")
        if distilled.space.whitening != sets[0].space.whitening:
            raise ValueError("sets of which one is whitened, or whitened otherwise, cannot share a column")
    how, space = policy or Policy(), sets[0].space
    there = (real if real.space.whitening == space.whitening else in_space(real, space)).to(how.device)
    if there.test is None:
        raise ValueError(f"the data '{real.name}' has no test part to evaluate on")
    return _Job(there, there.test, protocol, tuple(seeds), how)


def _columns(job: _Job, sets: Sequence[Distilled], random_subsets: int, full: bool) -> dict[str, Score]:
    first = sets[0]
    columns = {"random": _random(job, random_ipc(first, job.real), random_subsets)}
    if first.soft_labels is not None or first.scalars or first.factors:
        columns["random_same_bytes"] = _random(job, same_bytes_ipc(first, job.real), random_subsets)
    columns["distilled"] = _distilled(job, sets, "distilled")
    if first.soft_labels is not None:
        columns["distilled_hard"] = _distilled(job, [s.hard() for s in sets], "distilled, hard")
    count = len(job.seeds) if full else len(job.references.get(job.key("full")))
    if count:
        columns["full"] = _full(job, count)
    return columns


def _distilled(job: _Job, sets: Sequence[Distilled], what: str) -> Score:
    values: list[float] = []
    for distilled in sets:
        batch = distilled.batch().to(job.policy.device)
        trainings = phases(distilled.plan or (ALL_ROWS,), job.protocol, batch)
        values += [_train_and_test(job, trainings, distilled.space, seed, what) for seed in job.seeds]
    return Score(tuple(values), len(sets))


def _random(job: _Job, ipc: int, subsets: int) -> Score:
    def train(number: int) -> float:
        batch = job.real.rows(job.real.sample(key(number, "evaluate.random"), ipc))
        trainings = [(batch, job.protocol.fit(rows=len(batch)))]
        return _train_and_test(job, trainings, job.real.space, number, f"random {ipc}/class")

    return Score(job.references.complete(job.key(f"random-{ipc}"), subsets, train), subsets)


def _full(job: _Job, count: int) -> Score:
    def train(number: int) -> float:
        trainings = [(job.real, job.protocol.fit(job.protocol.full_epochs))]
        return _train_and_test(job, trainings, job.real.space, number, "full data")

    return Score(job.references.complete(job.key("full"), count, train))


def _train_and_test(job: _Job, trainings: Sequence[tuple[Rows, Fit]], space: ValueSpace, seed: int, what: str) -> float:
    """Last-epoch test accuracy of one fresh network; its weights, batches and augmentation depend on `seed` alone."""
    module, generator = job.build(seed), stream(seed, "evaluate.train")
    total, done = sum(hyper.epochs for _, hyper in trainings), 0
    for rows, hyper in trainings:
        tick = _ticker(job.progress, f"{job.net}: {what}", done, total)
        fit(module, job.protocol.targeted(rows), hyper, generator, policy=job.policy, space=space, on_epoch=tick)
        done += hyper.epochs
    return accuracy(View.own(module, policy=job.policy, space=space), job.test)


def _ticker(progress: Progress | None, what: str, before: int, total: int) -> Callable[[int, float], None] | None:
    def tick(epoch: int, loss: float) -> None:
        del loss
        if progress is not None:
            progress(what, before + epoch + 1, total)

    return None if progress is None else tick
