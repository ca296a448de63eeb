"""The dataset card: README.md of an artefact, in the layout dataset hubs read, with a loader in plain PyTorch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from infodistill.distilled import Distilled
from infodistill.evaluation.result import COLUMNS, in_words
from infodistill.reporting.pictures import grid_caption
from infodistill.serialise import safe_name
from infodistill.types import LabelKind, ValueSpace

LOADER = """\
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.utils.data import TensorDataset

folder = Path(".")  # where this card is
about = json.loads((folder / "distilled.json").read_text(encoding="utf-8"))
tensors = load_file(folder / "distilled.safetensors")
targets = tensors.get("scores", tensors.get("soft_labels", tensors["labels"]))  # cross_entropy; scores: mse_loss
dataset = TensorDataset(tensors["images"], targets)
mean, std = (torch.tensor(about["space"][name]).view(-1, 1, 1) for name in ("mean", "std"))
zca = tensors.get("whitening.matrix")  # None: the images are not whitened
def prepare(pixels):  # real images (n, c, h, w) in [0, 1] -> what a network trained on `dataset` expects
    x = (pixels - mean) / std
    return x if zca is None else ((x - tensors["whitening.mean"]).flatten(1) @ zca).view_as(x)
"""
"""Plain PyTorch; executed by a test."""


def card(distilled: Distilled, results: Mapping[str, Any] | None = None) -> str:
    """The Markdown text. `results`: protocol name -> recorded evaluation."""
    meta = distilled.meta
    name = f"{meta.get('data', 'dataset')}, distilled"
    parts = [
        _front(distilled),
        f"# {_text(name)}\n",
        f"{len(distilled)} images ({distilled.ipc} per class, {distilled.num_classes} classes) on which a network "
        f"trains in place of the full data.{_tiles(distilled)} Made with infodistill.\n",
        f"![distilled images](grid.png)\n\n{grid_caption(distilled)}\n",
        _facts(distilled),
        _results(results),
        f"## Use it without infodistill\n\n```python\n{LOADER}```\n",
        _notes(distilled),
    ]
    return "\n".join(parts)


def _tiles(distilled: Distilled) -> str:
    if distilled.stored_ipc == distilled.ipc:
        return ""
    return f" They are the tiles of {distilled.stored_ipc} stored images per class, enlarged (`factors.rows`)."


def _front(distilled: Distilled) -> str:
    """YAML header. Every value is a JSON string, which is valid YAML whatever a name contains."""
    meta, n = distilled.meta, len(distilled)
    sizes = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))
    size = next((text for limit, text in sizes if n < limit), "100K<n<1M")
    tags = ["dataset-distillation", safe_name(str(meta.get("method", "unknown"))), safe_name(str(meta.get("data", "")))]
    lines = [
        f"pretty_name: {json.dumps(str(meta.get('data', 'dataset')) + ', distilled')}",
        f"license: {json.dumps(str(meta.get('license', 'unknown')))}",
        'task_categories: ["image-classification"]',
        f"size_categories: {json.dumps([size])}",
        f"tags: {json.dumps(list(dict.fromkeys(tags)))}",
    ]
    return "---\n" + "\n".join(lines) + "\n---\n"


def _facts(distilled: Distilled) -> str:
    meta, space, (c, h, w) = distilled.meta, distilled.space, distilled.shape
    protocol = meta.get("protocol")
    facts = {
        "Source data": meta.get("data"),
        "Source fingerprint (sha256)": meta.get("fingerprint"),
        "Method": meta.get("method"),
        "Imported from": _imported(meta.get("imported")),
        "Steps": meta.get("steps"),
        "Network": meta.get("net"),
        "Seed": meta.get("seed"),
        "Images": f"{len(distilled)} × {c}×{h}×{w} float32, {_made_of(distilled)}{distilled.images_bytes:,} bytes",
        "Labels": f"{label_words(distilled)}, {distilled.labels_bytes:,} bytes",
        "Learned beside them": _listed(distilled.scalars),
        "Value space": f"(pixel − mean) / std, mean {_numbers(space.mean)}, std {_numbers(space.std)}{_zca(space)}",
        "Classes, in label order": ", ".join(distilled.class_names),
        "Evaluation protocol": protocol.get("name") if isinstance(protocol, Mapping) else protocol,
        "Made with": ", ".join(f"{k} {v}" for k, v in dict(meta.get("versions", {})).items()) or None,
    }
    known = {name: str(value) for name, value in facts.items() if value is not None}
    rows = [f"| {name} | {value if name in _OURS else _text(value)} |" for name, value in known.items()]
    return "\n".join(["## What this is\n", "| | |", "|---|---|", *rows, ""])


def _imported(facts: object) -> str | None:
    """Where an imported set came from, and what looked wrong about it."""
    if not isinstance(facts, Mapping):
        return None
    told = {str(key): str(value) for key, value in facts.items()}
    warning = f"; WARNING: {told['warning']}" if "warning" in told else ""
    return f"{told.get('file')}, values {told.get('space')}, labels {told.get('labels')}{warning}"


_OURS = ("Images", "Labels", "Learned beside them", "Value space")
"""Facts in our own words, which need no escaping."""


def label_words(distilled: Distilled) -> str:
    """What the labels are, in words."""
    if distilled.soft_labels is None:
        return "hard"
    return "soft" if distilled.label_kind is LabelKind.PROBABILITIES else "regression scores"


def _made_of(distilled: Distilled) -> str:
    """Images that are stored decoded, for use, but count as what they were decoded from."""
    if not distilled.factors:
        return ""
    return f"decoded from {_listed(distilled.factors)}, which take "


def _listed(tensors: Mapping[str, Tensor]) -> str | None:
    if not tensors:
        return None
    shapes = {name: "×".join(map(str, value.shape)) or "one number" for name, value in tensors.items()}
    return ", ".join(f"{_text(name)} ({shape})" for name, shape in shapes.items())


def _results(results: Mapping[str, Any] | None) -> str:
    if not results:
        return "## Results\n\nNot evaluated yet: `infodistill evaluate .` (`--data` if the data has moved).\n"
    lines = ["## Results\n", "Test accuracy in %, mean ± standard deviation over fresh networks, last epoch.\n"]
    lines += ["| protocol | network | training set | accuracy | networks |", "|---|---|---|---|---|"]
    for protocol, result in results.items():
        for net, columns in result["nets"].items():
            for column in (name for name in COLUMNS if columns.get(name)):
                s = columns[column]
                names = f"{_text(protocol)} | {_text(net)} | {column.replace('_', ' ')}"
                lines.append(f"| {names} | {in_words(s)} | {s['n']} |")
    return "\n".join([*lines, ""])


def _notes(distilled: Distilled) -> str:
    licence = distilled.meta.get("license", "not recorded: the licence of the source data carries over, check it")
    scores = (
        "- The labels (`scores`) are centred regression targets, not logits and not probabilities: train networks on "
        "them by squared error and predict the largest output; `labels` holds the classes for cross-entropy.\n"
    )
    return (
        "## Read before use\n\n"
        f"{scores if distilled.label_kind is LabelKind.SCORES else ''}"
        "- Train on the tensors, not on screenshots of them: PNG clips and rounds the values.\n"
        "- Test images must go through `prepare`; without it accuracy falls to chance.\n"
        f"- Licence: {_text(str(licence))}.\n"
        "- Privacy: distilled images can show recognisable content of the source data.\n"
        "- `distilled.json` holds every setting and the sha256 of every file.\n"
    )


def _zca(space: ValueSpace) -> str:
    if space.whitening is None:
        return ""
    eps, digest, count = space.whitening.eps, space.whitening.digest, space.whitening.matrix.numel()
    return f"; then ZCA-whitened, eps {eps:g}, sha256 {digest[:12]}…, its matrix of {4 * count:,} bytes counted nowhere"


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"


def _text(value: str) -> str:
    """A value that cannot break the table or smuggle markup in."""
    return re.sub(r"[\\`<>|\[\]!()]", lambda found: f"&#{ord(found[0])};", " ".join(value.split()))
