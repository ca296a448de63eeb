"""Artefacts of the toys with evaluations written by hand, as the tests of comparisons need them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from infodistill.artefact import record_result
from infodistill.comparison.completing import Asked
from infodistill.distilled import Distilled
from infodistill.evaluation.protocols import protocol_for
from infodistill.evaluation.recording import Conditions, conditions
from toys import artefact


def score(values: Sequence[float]) -> dict[str, Any]:
    spread = stdev(values) if len(values) > 1 else 0.0
    return {"mean": fmean(values), "std": spread, "n": len(values), "sets": 1, "nets_per_set": len(values)}


def evaluation(
    nets: Mapping[str, Sequence[float]],
    *,
    protocol: str = "quick",
    epochs: int = 300,
    ipc: int = 2,
    precision: str = "float32",
    random: Sequence[float] = (0.5, 0.52, 0.54, 0.56, 0.58),
    seconds: float = 4.0,
    seeds: Sequence[int] | None = None,
) -> dict[str, Any]:
    """A record as `Result.record` writes it."""
    first = next(iter(nets.values()))
    return {
        "protocol": protocol,
        "ipc": ipc,
        "nets": {
            net: {"distilled": score(v), "random": score(random), "full": None, "full_reason": "not asked"}
            for net, v in nets.items()
        },
        "images_bytes": 768 * ipc,
        "labels_bytes": 24 * ipc,
        "seconds": seconds,
        "device": "cpu",
        "values": {net: {"distilled": list(v), "random": list(random)} for net, v in nets.items()},
        "protocol_settings": {**protocol_for(protocol, "toys", ipc=ipc, classes=3).as_dict(), "epochs": epochs},
        "settings": {
            "seeds": list(seeds if seeds is not None else range(len(first))),
            "fingerprint": "a",
            "test_fingerprint": "b",
            "policy": {"precision": precision, "threads": 1},
        },
    }


def made(
    folder: Path,
    values: Sequence[float] | None = None,
    *,
    method: str = "dm",
    seed: int = 0,
    ipc: int = 2,
    images: int | None = None,
    **meta: Any,
) -> Path:
    """An artefact, evaluated with the network `small` unless `values` is None; `images` picks which images it has."""
    chosen = hash_of(method, seed) if images is None else images
    told = {"protocol": "quick", "net": "small", "seconds": 10.0, "recipe": {"method": method}, **meta}
    path = artefact(ipc, chosen, **{**told, "method": method}).with_meta(seed=seed).save(folder)
    if values is not None:
        record_result(path, evaluation({"small": values}, ipc=ipc))
    return path


def asked(evaluate: Callable[[Path, Sequence[str]], None], precision: str = "float32", epochs: int = 300) -> Asked:
    """Evaluations by `evaluate` that tell the conditions of `evaluation`."""

    def under(distilled: Distilled) -> Conditions:
        ipc = distilled.stored_ipc
        return conditions(evaluation({"small": [0.5]}, ipc=ipc, precision=precision, epochs=epochs))

    return Asked(evaluate, lambda distilled: replace(under(distilled), data=None), under)


def hash_of(method: str, seed: int) -> int:
    return 100 * sum(map(ord, method)) + seed
