"""The network a person came for: trained on a distilled set, tested, and stored with what is needed to use it.

`model.safetensors` (weights), `model.json` (architecture, shape, classes, mean and std, accuracy, the artefact) and a
README with a loader that a test runs. Nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from safetensors.torch import save as save_tensors

from infodistill import nets
from infodistill.artefact import versions
from infodistill.compute import Policy, View
from infodistill.distilled import Distilled
from infodistill.evaluation.evaluating import Progress, full_known, protocol_of, trained
from infodistill.evaluation.protocols import EvaluationProtocol
from infodistill.manifest import TENSORS, recorded
from infodistill.real import RealData
from infodistill.serialise import pretty_json, sha256, write_bytes
from infodistill.training import accuracy
from infodistill.whitening import space_facts

WEIGHTS, ABOUT = "model.safetensors", "model.json"

LOADER = """\
import json
from pathlib import Path

import torch
from infodistill import nets
from safetensors.torch import load_file

folder = Path(".")  # where this file is
about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
tensors = load_file(folder / "model.safetensors")
net = nets.by_name(about["net"])(tuple(about["shape"]), len(about["classes"]))
net.load_state_dict({name: value for name, value in tensors.items() if not name.startswith("whitening.")})
net.eval()
mean, std = (torch.tensor(about["space"][name]).view(-1, 1, 1) for name in ("mean", "std"))
zca = tensors.get("whitening.matrix")  # None: the network wants no whitening
def classify(pixels):  # images (n, c, h, w) in [0, 1] -> class names
    x = (pixels - mean) / std
    x = x if zca is None else ((x - tensors["whitening.mean"]).flatten(1) @ zca).view_as(x)
    with torch.no_grad():
        return [about["classes"][label] for label in net(x).argmax(1)]
"""
"""Executed by a test."""


@dataclass(frozen=True)
class Trained:
    """A network, and the last-epoch test accuracies of it and of the others that were trained beside it."""

    view: View
    net: str
    seed: int
    accuracies: tuple[float, ...]
    full: tuple[float, ...]
    protocol: EvaluationProtocol

    @property
    def accuracy(self) -> float:
        return self.accuracies[0]

    def words(self) -> str:
        """What was reached, beside what the full data reaches where that is known."""
        text = f"{self.net}, {100 * self.accuracy:.1f} % on test data"
        if len(self.accuracies) > 1:
            spread = f"{100 * fmean(self.accuracies):.1f} ± {100 * stdev(self.accuracies):.1f}"
            text += f" (the first of {len(self.accuracies)} networks, {spread} %)"
        known = f"{100 * fmean(self.full):.1f} %" if self.full else "not known (infodistill evaluate DIR --full)"
        return f"{text}; trained on the full data: {known}"


def train(
    distilled: Distilled,
    real: RealData,
    net: str,
    *,
    seeds: Sequence[int] = (0,),
    protocol: EvaluationProtocol | None = None,
    policy: Policy | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Networks trained on the set as `evaluate` trains them: the one of the first seed is kept, never the best one.

    Choosing the best of several by test accuracy would make the number reported for it too high.

    Raises:
        ValueError: no seed, no such network, or whatever `evaluate` raises.
    """
    if not seeds:
        raise ValueError("at least one network has to be trained")
    factory, how = nets.by_name(net), protocol or protocol_of(distilled, real)
    found: list[tuple[View, float]] = []
    for seed in seeds:
        view = trained(distilled, real, factory, protocol=how, seed=seed, policy=policy, progress=progress)
        assert real.test is not None  # `trained` refuses data without it
        found.append((view, accuracy(view, real.test.to(next(view.module.parameters()).device))))
    full = full_known(distilled, real, (net, factory), protocol=how, policy=policy, cache=cache)
    return Trained(found[0][0], net, seeds[0], tuple(score for _, score in found), full, how)


def lasting(distilled: Distilled, protocol: EvaluationProtocol, epochs: int) -> EvaluationProtocol:
    """The protocol with exactly so many epochs, its schedule over them.

    Raises:
        ValueError: the set brings a plan that says itself how long.
    """
    if any(phase.get(name) is not None for phase in distilled.plan for name in ("epochs", "steps")):
        raise ValueError("--epochs is of no use here: the set brings a plan of its own epochs or steps")
    return replace(protocol, epochs=epochs, extra_passes=0, updates=None)


def save_network(result: Trained, distilled: Distilled, out: Path, artefact: Path | None = None) -> dict[str, Any]:
    """Write the three files; what is in `model.json` is returned. Weights are written before what names their hash."""
    weights = {name: value.detach().cpu().contiguous() for name, value in result.view.module.state_dict().items()}
    whitening = distilled.space.whitening
    if whitening is not None:
        weights |= {f"whitening.{name}": value.contiguous() for name, value in whitening.tensors().items()}
    content = save_tensors(weights)
    meta = distilled.meta
    about = {
        "net": result.net,
        "shape": list(distilled.shape),
        "classes": list(distilled.class_names),
        "space": space_facts(distilled.space),
        "accuracy": result.accuracy,
        "accuracies": list(result.accuracies),
        "full": list(result.full) or None,
        "seed": result.seed,
        "protocol": result.protocol.as_dict(),
        "data": meta.get("data"),
        "method": meta.get("method"),
        "trained_on_sha256": None if artefact is None else recorded(artefact, TENSORS),
        "sha256": sha256(content),
        "versions": versions(),
        "load": "see README.md",
    }
    write_bytes(out / WEIGHTS, content)
    write_bytes(out / "README.md", readme(about, result.words()).encode())
    write_bytes(out / ABOUT, pretty_json(about))
    return about


def readme(about: Mapping[str, Any], reached: str) -> str:
    """How to use the network, in Markdown."""
    classes = json.dumps(about["classes"], ensure_ascii=False)
    return (
        f"# {about['net']} for {about['data']}\n\n"
        f"Trained on a distilled set (method {about['method']}), not on the data itself.\n\n"
        f"{reached[0].upper()}{reached[1:]} "
        f"(protocol {about['protocol']['name']}, last epoch, seed {about['seed']}).\n\n"
        f"Images: {'×'.join(map(str, about['shape']))}. Classes: {classes}.\n\n"
        f"## Use it\n\n`pip install infodistill`, then\n\n```python\n{LOADER}```\n"
    )
