"""How much of an accuracy is the images: label-robust and augmentation-robust scores, from our own evaluations.

DD-Ranking (Li et al. 2025, arXiv 2505.13300) argues that a test accuracy mixes three things: the distilled images, what
learned labels tell the network, and what the augmentation of the protocol does, which helps random real images as well.
Its two scores compare within one protocol instead. All accuracies are fractions in [0, 1]:

    HLR = acc(full data, hard labels) - acc(set, hard labels)            what hard labels on the images do not recover
    IOR = acc(set) - acc(random real images)                             the gain over random, same ipc and protocol
    LRS = s(w IOR - (1 - w) HLR)                                         w = 1/2
    ARS = s(g IOR(with augmentation) + (1 - g) IOR(without))             g = 1/2
    s(a) = (e^a - e^-1) / (e - e^-1)                                     [-1, 1] -> [0, 1], increasing; s(0) = 0.269

They publish 100 times these. What the scores hide, and why the report shows the cells they were computed from:
one number cannot tell a set that recovers the full accuracy from one that beats a weak random baseline; s is convex, so
a point of accuracy counts e times as much at the top of the range as in its middle; HLR falls as the protocol
trains the full data for fewer epochs, and as ipc grows, so scores of other protocols, networks and sizes do not
compare; bytes of labels and time are not in them; and 0.269 means no better than nothing, not a quarter of the way.

Differs: for a set with soft labels, random images get the labels of one network trained on the full data under the
protocol (the temperature is 1), as learned labels belong to no other image; DD-Ranking tunes temperatures and rates.
A protocol without augmentation gets DSA for the augmented half of ARS. Steps that a plan replays know no augmentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import e, exp
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch

from infodistill.comparison.ranking import mean_error
from infodistill.compute import Policy, View
from infodistill.distilled import Distilled
from infodistill.evaluation.evaluating import evaluate, scored
from infodistill.evaluation.job import Job, Progress, prepared
from infodistill.evaluation.protocols import DSA_PER_IMAGE, EvaluationProtocol, flippable
from infodistill.evaluation.references import random_ipc
from infodistill.real import RealData
from infodistill.running.runs import Run
from infodistill.scale.fanout import Workers
from infodistill.seeding import key, stream
from infodistill.training import fit
from infodistill.types import LabelKind, NetFactory

Accuracies = Sequence[float]


def hard_label_recovery(full: float, distilled_hard: float) -> float:
    """HLR = acc(full, hard) - acc(set, hard), in [-1, 1]; small is good, negative: better than the full data."""
    return full - distilled_hard


def improvement_over_random(distilled: float, random: float) -> float:
    """IOR = acc(set) - acc(random), same ipc and protocol, in [-1, 1]; large is good, negative: worse than random."""
    return distilled - random


def normalised(value: float) -> float:
    """s(a) = (e^a - e^-1) / (e - e^-1): [-1, 1] onto [0, 1].

    Raises:
        ValueError: a lies outside [-1, 1], which differences of accuracies in [0, 1] cannot.
    """
    if not -1 <= value <= 1:
        raise ValueError(f"a mean of accuracy differences lies in [-1, 1], got {value:g}: accuracies are fractions")
    return (exp(value) - 1 / e) / (e - 1 / e)


def label_robust_score(ior: float, hlr: float, weight: float = 0.5) -> float:
    """LRS = s(w IOR - (1 - w) HLR), in [0, 1]."""
    return normalised(weight * ior - (1 - weight) * hlr)


def augmentation_robust_score(ior_with: float, ior_without: float, weight: float = 0.5) -> float:
    """ARS = s(g IOR(with augmentation) + (1 - g) IOR(without)), in [0, 1]."""
    return normalised(weight * ior_with + (1 - weight) * ior_without)


@dataclass(frozen=True)
class Cells:
    """Accuracies, network by network, that the scores are made of; `own` labels are soft where the set has such.

    The i-th networks of all cells start from the same weights.
    """

    full: Accuracies
    hard: Accuracies
    own: Accuracies
    random: Accuracies
    own_other: Accuracies
    random_other: Accuracies
    augmented: bool = True

    def scores(self, weight: float = 0.5) -> dict[str, float | None]:
        """hlr, ior, their parts with and without augmentation, lrs and ars, each with its standard error.

        Errors are those of networks (and random subsets), pair by pair, carried through s by its slope.
        """
        hlr = _differences(self.full, self.hard)
        ior = _differences(self.own, self.random)
        other = _differences(self.own_other, self.random_other)
        with_it, without = (ior, other) if self.augmented else (other, ior)
        alpha = [weight * i - (1 - weight) * h for i, h in zip(ior, hlr, strict=False)]
        beta = [weight * a + (1 - weight) * b for a, b in zip(with_it, without, strict=False)]
        here, there = (self.own, self.random), (self.own_other, self.random_other)
        pairs = (here, there) if self.augmented else (there, here)
        lrs = label_robust_score(_gap(*here), _gap(self.full, self.hard), weight)
        ars = augmentation_robust_score(_gap(*pairs[0]), _gap(*pairs[1]), weight)
        return {
            "hlr": _gap(self.full, self.hard),
            "hlr_error": mean_error(hlr),
            "ior": _gap(*here),
            "ior_error": mean_error(ior),
            "ior_augmented": _gap(*pairs[0]),
            "ior_augmented_error": mean_error(with_it),
            "ior_plain": _gap(*pairs[1]),
            "ior_plain_error": mean_error(without),
            "lrs": lrs,
            "lrs_error": _through(mean_error(alpha), lrs),
            "ars": ars,
            "ars_error": _through(mean_error(beta), ars),
        }


def _gap(a: Accuracies, b: Accuracies) -> float:
    return fmean(a) - fmean(b)


def _differences(a: Accuracies, b: Accuracies) -> list[float]:
    """Network by network, as many as both have (random subsets are five at least)."""
    return [x - y for x, y in zip(a, b, strict=False)]


def _through(error: float | None, score: float) -> float | None:
    """A standard error of a as one of s(a): times the slope e^a / (e - e^-1)."""
    return None if error is None else error * (score + 1 / (e * (e - 1 / e)))


def with_and_without(protocol: EvaluationProtocol, data: str) -> tuple[bool, EvaluationProtocol]:
    """Whether a protocol augments, and the protocol that differs from it in that alone."""
    if protocol.augment != "none" or protocol.mix != "none":
        return True, replace(protocol, augment="none", mix="none")
    augment = DSA_PER_IMAGE if flippable(data) else DSA_PER_IMAGE.replace("_flip", "")
    return False, replace(protocol, augment=augment)


def robustness(
    distilled: Distilled,
    real: RealData,
    nets: tuple[str, NetFactory],
    *,
    protocol: EvaluationProtocol,
    seeds: Sequence[int] = range(5),
    policy: Policy | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
    workers: Workers | None = None,
) -> dict[str, Any]:
    """The scores of one set with one network (name, factory), and every cell that was evaluated, as JSON.

    Trains 5 columns of `len(seeds)` networks (random subsets are 5 at least): the set and random images with and
    without augmentation, and the full data unless cached. Soft labels need 9 columns and a teacher on the full data,
    and 2 columns more where as many bytes hold more random images per class than the set has.

    Raises:
        ValueError: as `evaluate`.
    """
    name, factory = nets
    augmented, other = with_and_without(protocol, str(distilled.meta.get("data", real.name)))
    table: dict[tuple[str, str, bool], Accuracies] = {}
    for settings, here in ((protocol, augmented), (other, not augmented)):
        found = evaluate(
            distilled, real, {name: factory}, protocol=settings, seeds=seeds, random_subsets=max(5, len(seeds)),
            full=settings is protocol, policy=policy, cache=cache, progress=progress, workers=workers,
        ).nets[name]  # fmt: skip
        soft = "distilled_hard" in found
        table[("distilled", "soft" if soft else "hard", here)] = found["distilled"].values
        table |= {(c, "hard", here): found[c].values for c in ("random", "full") if c in found}
        table |= {("distilled", "hard", here): found["distilled_hard"].values} if soft else {}
    labels = "hard" if distilled.soft_labels is None else "soft"
    if labels == "soft":
        job = replace(prepared([distilled], real, protocol, seeds, policy), net=name, factory=factory)
        sets = _labelled(job, distilled)
        for settings, here in ((protocol, augmented), (other, not augmented)):
            one = partial(scored, real=job.real, factory=factory, protocol=settings, policy=policy, progress=progress)
            table["random", labels, here] = [one(s, seeds=(number,)).mean for number, s in enumerate(sets)]
    return _record(table, labels, augmented, (protocol, other), seeds)


def _labelled(job: Job, distilled: Distilled) -> list[Distilled]:
    """The random subsets of the evaluation with the labels of a network trained on the full data."""
    module, space = job.build(key("robust.teacher")), job.real.space
    hyper = job.protocol.fit(job.protocol.full_epochs)
    fit(module, job.protocol.targeted(job.real), hyper, stream(0, "robust.teacher"), policy=job.policy, space=space)
    view, sets = View.own(module, policy=job.policy, space=space), list[Distilled]()
    for number in range(max(5, len(job.seeds))):
        rows = job.real.rows(job.real.sample(key(number, "evaluate.random"), random_ipc(distilled, job.real)))
        with torch.no_grad():
            logits = view.logits(rows.x, rows.space).float()
        labels = logits if job.protocol.kind is LabelKind.SCORES else logits.softmax(1)
        names, kind = distilled.class_names, job.protocol.kind
        sets.append(Distilled(rows.x, rows.y, space, names, soft_labels=labels, label_kind=kind))
    return sets


def _record(
    table: Mapping[tuple[str, str, bool], Accuracies],
    labels: str,
    augmented: bool,
    protocols: tuple[EvaluationProtocol, EvaluationProtocol],
    seeds: Sequence[int],
) -> dict[str, Any]:
    cells = Cells(
        full=table["full", "hard", augmented],
        hard=table["distilled", "hard", augmented],
        own=table["distilled", labels, augmented],
        random=table["random", labels, augmented],
        own_other=table["distilled", labels, not augmented],
        random_other=table["random", labels, not augmented],
        augmented=augmented,
    )
    rows = [
        {"data": data, "labels": kind, "augmented": here, "mean": fmean(v), "std": _std(v), "n": len(v)}
        for (data, kind, here), v in table.items()
    ]
    augments = [one.augment + ("" if one.mix == "none" else f" + {one.mix}") for one in protocols]
    told = {"labels": labels, "augmentation": augments[0 if augmented else 1], "seeds": list(seeds), "weight": 0.5}
    return {**cells.scores(), **told, "cells": rows}


def _std(values: Accuracies) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def robust_sections(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """What the report shows: run, protocol, network and record of every score there is."""
    for run in runs:
        for protocol, result in (run.results or {}).items():
            for net, record in result.get("robust", {}).items():
                yield {"label": run.label, "protocol": protocol, "net": net, **record}
