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
from dataclasses import replace
from functools import partial
from pathlib import Path

from infodistill.compute import Policy, View
from infodistill.distilled import ALL_ROWS, Distilled
from infodistill.evaluation.job import Job, Progress, prepared, protocol_of, under
from infodistill.evaluation.protocols import EvaluationProtocol, phases
from infodistill.evaluation.references import References, random_ipc, same_bytes_ipc
from infodistill.evaluation.result import Result, Score
from infodistill.evaluation.trials import DISTILLED, FULL, HARD, RANDOM, Ask, Bench, Trial, answered, planned
from infodistill.real import RealData
from infodistill.scale.fanout import Workers
from infodistill.seeding import key, stream
from infodistill.training import Fit, accuracy, fit
from infodistill.types import Batch, NetFactory, Rows, ValueSpace

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
    workers: Workers | None = None,
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
        progress: told after every epoch, with workers after every network.
        workers: who trains the networks, see `scale.fanout`; None is this process with all its threads.

    Raises:
        ValueError: the data does not fit the set, has no test part, or a class is smaller than `ipc`; or the labels of
            the set are not what the protocol's loss is for.
    """
    sets = [distilled] if isinstance(distilled, Distilled) else list(distilled)
    sets = sets if protocol is None else [under(distilled, protocol, real) for distilled in sets]
    job = prepared(sets, real, protocol or protocol_of(sets[0], real) if sets else None, seeds, policy)
    job = replace(job, references=References(cache), progress=progress)
    start = time.perf_counter()
    bench = Bench(job, nets, sets)

    def made(references: References, ask: Ask) -> dict[str, dict[str, Score]]:
        jobs = (replace(job, net=name, factory=factory, references=references) for name, factory in nets.items())
        return {one.net: _columns(one, sets, random_subsets, full, ask=ask) for one in jobs}

    columns = made(job.references, partial(tried, bench) if workers is None else _asking(bench, made, workers))
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


def trained(
    distilled: Distilled,
    real: RealData,
    factory: NetFactory,
    *,
    protocol: EvaluationProtocol | None = None,
    seed: int = 0,
    policy: Policy | None = None,
    progress: Progress | None = None,
) -> View:
    """The network `evaluate` tests for this seed, trained on the set, in the value space of the set; raises alike."""
    job, distilled = _alone(distilled, real, factory, protocol, (seed,), policy=policy, progress=progress)
    return _trained(job, _trainings(job, distilled), distilled.space, seed, f"network {seed}")


def scored(
    distilled: Distilled,
    real: RealData,
    factory: NetFactory,
    *,
    protocol: EvaluationProtocol | None = None,
    seeds: Sequence[int] = range(5),
    policy: Policy | None = None,
    progress: Progress | None = None,
) -> Score:
    """The `distilled` column of `evaluate` and nothing else: for a comparison of two forms of one set."""
    job, distilled = _alone(distilled, real, factory, protocol, tuple(seeds), policy=policy, progress=progress)
    return _distilled(job, 1, DISTILLED, partial(tried, Bench(job, {job.net: factory}, [distilled])))


def full_known(
    distilled: Distilled,
    real: RealData,
    net: tuple[str, NetFactory],
    *,
    protocol: EvaluationProtocol | None = None,
    policy: Policy | None = None,
    cache: Path | None = None,
) -> tuple[float, ...]:
    """The accuracies of the `full` column that are in the cache; nothing is trained."""
    job, _ = _alone(distilled, real, net[1], protocol, (0,), policy=policy, progress=None)
    job = replace(job, references=References(cache), net=net[0])
    return tuple(job.references.get(job.key("full")))


def _alone(
    distilled: Distilled,
    real: RealData,
    factory: NetFactory,
    protocol: EvaluationProtocol | None,
    seeds: tuple[int, ...],
    *,
    policy: Policy | None,
    progress: Progress | None,
) -> tuple[Job, Distilled]:
    distilled = distilled if protocol is None else under(distilled, protocol, real)
    job = prepared([distilled], real, protocol or protocol_of(distilled, real), seeds, policy)
    return replace(job, factory=factory, progress=progress, net="training"), distilled


def _asking(bench: Bench, made: Callable[[References, Ask], object], workers: Workers) -> Ask:
    """Have all networks trained by workers, told network by network."""
    trials, job = planned(made, bench.job.references), bench.job
    shared = replace(bench, job=replace(job, references=References(), progress=None))

    def told(done: int) -> None:
        if job.progress is not None:
            job.progress("networks", done, len(trials))

    results = workers(tried, shared, trials, told)
    return answered(trials, results, partial(tried, bench))


def _columns(job: Job, sets: Sequence[Distilled], random_subsets: int, full: bool, *, ask: Ask) -> dict[str, Score]:
    first = sets[0]
    columns = {"random": _random(job, random_ipc(first, job.real), random_subsets, ask)}
    if first.soft_labels is not None or first.scalars or first.factors:
        columns["random_same_bytes"] = _random(job, same_bytes_ipc(first, job.real), random_subsets, ask)
    columns["distilled"] = _distilled(job, len(sets), DISTILLED, ask)
    if first.soft_labels is not None:
        columns["distilled_hard"] = _distilled(job, len(sets), HARD, ask)
    count = len(job.seeds) if full else len(job.references.get(job.key("full")))
    if count:
        columns["full"] = _full(job, count, ask)
    return columns


def _distilled(job: Job, sets: int, what: str, ask: Ask) -> Score:
    values = [ask(Trial(job.net, what, seed, place=place)) for place in range(sets) for seed in job.seeds]
    return Score(tuple(values), sets)


def _random(job: Job, ipc: int, subsets: int, ask: Ask) -> Score:
    def train(number: int) -> float:
        return ask(Trial(job.net, RANDOM, number, ipc=ipc))

    return Score(job.references.complete(job.key(f"random-{ipc}"), subsets, train), subsets)


def _full(job: Job, count: int, ask: Ask) -> Score:
    def train(number: int) -> float:
        return ask(Trial(job.net, FULL, number))

    return Score(job.references.complete(job.key("full"), count, train))


def tried(bench: Bench, trial: Trial) -> float:
    """Last-epoch test accuracy of one fresh network: a function of its arguments alone, whoever calls it."""
    job = replace(bench.job, net=trial.net, factory=bench.nets[trial.net])
    if trial.what == RANDOM:
        batch = job.real.rows(job.real.sample(key(trial.seed, "evaluate.random"), trial.ipc))
        trainings: Sequence[tuple[Rows, Fit]] = [(batch, job.protocol.fit(rows=len(batch)))]
        return _train_and_test(job, trainings, job.real.space, trial.seed, f"random {trial.ipc}/class")
    if trial.what == FULL:
        trainings = [(job.real, job.protocol.fit(job.protocol.full_epochs))]
        return _train_and_test(job, trainings, job.real.space, trial.seed, FULL)
    distilled = bench.sets[trial.place].hard() if trial.what == HARD else bench.sets[trial.place]
    return _train_and_test(job, _trainings(job, distilled), distilled.space, trial.seed, trial.what)


def _trainings(job: Job, distilled: Distilled) -> list[tuple[Batch, Fit]]:
    return phases(distilled.plan or (ALL_ROWS,), job.protocol, distilled.batch().to(job.policy.device))


def _train_and_test(job: Job, trainings: Sequence[tuple[Rows, Fit]], space: ValueSpace, seed: int, what: str) -> float:
    """Last-epoch test accuracy of one fresh network."""
    return accuracy(_trained(job, trainings, space, seed, what), job.test)


def _trained(job: Job, trainings: Sequence[tuple[Rows, Fit]], space: ValueSpace, seed: int, what: str) -> View:
    """One fresh network after its last epoch; its weights, batches and augmentation depend on `seed` alone."""
    module, generator = job.build(seed), stream(seed, "evaluate.train")
    total, done = sum(hyper.epochs for _, hyper in trainings), 0
    for rows, hyper in trainings:
        tick = _ticker(job.progress, f"{job.net}: {what}", done, total)
        fit(module, job.protocol.targeted(rows), hyper, generator, policy=job.policy, space=space, on_epoch=tick)
        done += hyper.epochs
    return View.own(module, policy=job.policy, space=space)


def _ticker(progress: Progress | None, what: str, before: int, total: int) -> Callable[[int, float], None] | None:
    def tick(epoch: int, loss: float) -> None:
        del loss
        if progress is not None:
            progress(what, before + epoch + 1, total)

    return None if progress is None else tick
