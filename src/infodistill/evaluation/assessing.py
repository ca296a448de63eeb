"""Artefact folders at work: open one with the data it came from, evaluate it, keep its report up to date."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from infodistill import nets
from infodistill.artefact import record_result, seal
from infodistill.building import jobs
from infodistill.comparison.completing import Asked
from infodistill.comparison.crossing import cross_names, refusals
from infodistill.comparison.robustness import robustness
from infodistill.compute import Policy, resolve
from infodistill.data import load_data
from infodistill.data.cache import cache_dir
from infodistill.data.noted import scope
from infodistill.distilled import Distilled, load
from infodistill.evaluation.evaluating import evaluate, protocol_of
from infodistill.evaluation.job import protocol_carried, protocol_named
from infodistill.evaluation.protocols import EvaluationProtocol
from infodistill.evaluation.recording import Conditions, conditions_of
from infodistill.evaluation.result import Result
from infodistill.evaluation.whereabouts import located
from infodistill.manifest import TENSORS, recorded
from infodistill.progress import Tell
from infodistill.real import RealData
from infodistill.report import report
from infodistill.running.conduct import Say, quiet
from infodistill.running.runfolder import SAMPLE_REQUEST, stored_request
from infodistill.scale.fanout import Workers
from infodistill.serialise import canonical_json
from infodistill.types import NetFactory


def open_artefact(folder: Path) -> Distilled:
    """The verified artefact in a folder, told where its data lies as seen from here (`whereabouts.located`).

    Raises:
        ValueError: it is damaged, or the run in the folder is not finished.
        FileNotFoundError: there is nothing.
    """
    if not (folder / "distilled.json").exists() and stored_request(folder) is not None:
        raise ValueError(f"the run in '{folder}' is not finished: infodistill distill --out {folder} --resume")
    if not (folder / "distilled.json").exists() and (folder / SAMPLE_REQUEST).exists():
        raise ValueError(f"the run in '{folder}' is not finished: infodistill sample --out {folder} --resume")
    return located(load(folder), folder)


def data_of(distilled: Distilled, data: str | None, say: Say = quiet) -> RealData:
    """The data an artefact came from, or the data given instead; another fingerprint is told, other classes refused."""
    source: dict[str, Any] = dict(distilled.meta.get("source", {}))
    name = data or source.get("data")
    if name is None:
        raise ValueError("this artefact does not say what data it came from: give --data")
    try:
        real = load_data(name, size=source.get("size"), skip_corrupt=bool(source.get("skip_corrupt")))
    except FileNotFoundError as error:
        if data is not None:
            raise
        raise FileNotFoundError(
            f"{error}; the artefact was made from '{name}', give --data if it is elsewhere"
        ) from None
    distilled.check(real)
    if real.fingerprint != distilled.meta.get("fingerprint"):
        say("note: this is not the very data the set was distilled from (its fingerprint is another)")
    if (over := scope(real)) is not None:
        say(f"note: {over}")
    return real


@dataclass(frozen=True)
class Opened:
    """An artefact with its data, the protocol to evaluate it under (None: its own) and how to execute that.

    `tensors` is the sha256 that was recorded for them before they were read.
    """

    distilled: Distilled
    real: RealData
    factories: Mapping[str, NetFactory]
    protocol: EvaluationProtocol | None
    policy: Policy
    tensors: str | None = None


def opened(
    folder: Path,
    *,
    data: str | None = None,
    protocol: str | None = None,
    net: Sequence[str] | None = None,
    device: str = "auto",
    precision: str = "float32",
    say: Say = quiet,
) -> Opened:
    """All that an evaluation of one artefact needs, every name resolved."""
    tensors, distilled = recorded(folder, TENSORS), open_artefact(folder)
    names = net or [str(distilled.meta.get("net", "convnet3"))]
    factories = {name: nets.by_name(name) for name in names}
    chosen = protocol_named(protocol, distilled) if protocol else None
    real = data_of(distilled, data, say)
    jobs.spare_threads(
        max(3 * min(256, len(distilled)) * jobs.forward_flops(n, distilled.shape, real.num_classes) for n in names)
    )
    return Opened(distilled, real, factories, chosen, resolve(device, precision), tensors)


def evaluated(
    folder: Path,
    *,
    data: str | None = None,
    protocol: str | None = None,
    net: Sequence[str] | None = None,
    seeds: int = 5,
    full: bool = False,
    device: str = "auto",
    precision: str = "float32",
    tell: Tell | None = None,
    say: Say = quiet,
    workers: Workers | None = None,
) -> Result:
    """The evaluation of one artefact; nothing is written but the cache of reference columns."""
    it = opened(folder, data=data, protocol=protocol, net=net, device=device, precision=precision, say=say)
    result = evaluate(
        it.distilled, it.real, it.factories, protocol=it.protocol, seeds=range(seeds), random_subsets=max(5, seeds),
        full=full, policy=it.policy, cache=cache_dir(), progress=tell, workers=workers,
    )  # fmt: skip
    return replace(result, tensors=it.tensors)


def evaluate_and_record(folder: Path, net: Sequence[str], **options: Any) -> None:
    """Evaluate an artefact with these networks, and store what was found with it."""
    record_result(folder, evaluated(folder, net=net, **options).record())
    refresh_report(folder)


def asked_for(*, data: str | None, protocol: str | None, device: str, precision: str, **options: Any) -> Asked:
    """What a comparison is made of: evaluations with these options, and the conditions these are made under."""
    known: dict[str, tuple[str, str | None]] = {}

    def fingerprints(distilled: Distilled) -> tuple[str, str | None]:
        place = canonical_json([data, distilled.meta.get("source")])
        if place not in known:
            real = data_of(distilled, data)
            known[place] = real.fingerprint, None if real.test is None else real.test.fingerprint
        return known[place]

    def under(distilled: Distilled, read: Sequence[str | None] | None) -> Conditions:
        own = protocol_carried(distilled, str(distilled.meta.get("data", "")))
        chosen = protocol_named(protocol, distilled) if protocol else own
        return conditions_of(read, chosen.as_dict(), resolve(device, precision).precision)

    how = {"data": data, "protocol": protocol, "device": device, "precision": precision}
    return Asked(
        partial(evaluate_and_record, **how, **options),
        lambda distilled: under(distilled, None if data is None else fingerprints(distilled)),
        lambda distilled: under(distilled, fingerprints(distilled)),
    )


def evaluated_across(folder: Path, *, say: Say = quiet, **options: Any) -> Iterator[Result]:
    """Evaluations of one artefact with every network of the cross-architecture table, one after another.

    Those that do not take images of its size are left out, and the reason told.
    """
    distilled = open_artefact(folder)
    names = cross_names(str(distilled.meta.get("net", "convnet3")))
    refused = refusals(names, distilled.shape, distilled.num_classes)
    for name, reason in refused.items():
        say(f"not possible, {name}: {reason}")
    for name in names:
        if name not in refused:
            yield evaluated(folder, net=[name], say=say, **options)
            say = quiet  # what is said of the data was said


def robust_scores(
    folder: Path, *, seeds: int = 5, tell: Tell | None = None, workers: Workers | None = None, **options: Any
) -> dict[str, Any]:
    """Label- and augmentation-robust scores by network (`comparison.robustness`); trains on the full data too."""
    it = opened(folder, **options)
    protocol = it.protocol or protocol_of(it.distilled, it.real)
    return {
        name: robustness(
            it.distilled, it.real, (name, factory), protocol=protocol, seeds=range(seeds), policy=it.policy,
            cache=cache_dir(), progress=tell, workers=workers,
        )
        for name, factory in it.factories.items()
    }  # fmt: skip


def refresh_report(folder: Path) -> Path:
    """Write the folder's own report again and take it into the artefact's hashes.

    Raises:
        ValueError: results, measures or the log there are not those that were recorded.
    """
    page = report([folder], folder)
    seal(folder, written=(page.name,))
    return page
