"""The README of an export: how to read it, what it lost, and what both forms reach."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from infodistill.distilled import Distilled
from infodistill.evaluation.job import protocol_carried
from infodistill.evaluation.result import Score
from infodistill.publishing.form import Form
from infodistill.serialise import safe_name

OWN = "infodistill"
"""The entry of the header that only we read: the protocol and the network the set is evaluated by."""


def readme(source: Distilled, form: Form, accuracy: Accuracy | None) -> str:
    """The Markdown text, with the YAML header that hubs and `datasets` read."""
    meta, made = source.meta, form.distilled
    name = f"{meta.get('data', 'dataset')}, distilled"
    losses = form.losses or ("nothing",)
    lines = [
        _front(meta, {**form.front, **_own(source)}),
        f"# {_text(name)}\n",
        f"{len(made)} images in {made.num_classes} classes on which a network trains in place of the full data, "
        f"exported by infodistill (method: {_text(str(meta.get('method', 'unknown')))}).\n",
        "## What this form loses\n",
        *(f"- {_text(loss)}" for loss in losses),
        "\nThe artefact this was made from holds the exact tensors and every setting.\n",
        f"## Accuracy of both forms\n\n{words(accuracy)}\n",
        f"## Reading it\n\n{form.reading}",
        _space(made),
        "Classes, in label order: " + ", ".join(_text(one) for one in made.class_names) + ".\n",
        f"Licence: {_text(str(meta.get('license', 'not recorded: that of the source data carries over, check it')))}. "
        "Distilled images can show recognisable content of the source data.\n",
    ]
    return "\n".join(lines)


class Accuracy:
    """Scores of the tensors and of the exported form by the same networks under one protocol."""

    def __init__(self, protocol: str, net: str, tensors: Score, form: Score) -> None:
        self.protocol, self.net, self.tensors, self.form = protocol, net, tensors, form

    @property
    def difference(self) -> Score:
        """Exported minus tensors, network by network: both start from the same weights."""
        return Score(tuple(b - a for a, b in zip(self.tensors.values, self.form.values, strict=True)))

    def as_dict(self) -> dict[str, Any]:
        forms = {"tensors": self.tensors, "exported": self.form, "difference": self.difference}
        return {"protocol": self.protocol, "net": self.net, **{name: one.as_dict() for name, one in forms.items()}}


def words(accuracy: Accuracy | None) -> str:
    """Both accuracies and their paired difference in a sentence."""
    if accuracy is None:
        return "Not evaluated (`--no-evaluate`)."
    gap, n = accuracy.difference, accuracy.tensors.n
    error = f" ± {100 * gap.std / n**0.5:.1f}" if n > 1 else ""
    trained = f"mean ± standard deviation of {n} networks {accuracy.net}, protocol {accuracy.protocol}"
    return (
        f"Tensors {accuracy.tensors.text()} %, this form {accuracy.form.text()} % ({trained}); "
        f"paired difference {100 * gap.mean:+.1f}{error} points (± standard error)."
    )


def _front(meta: Mapping[str, Any], front: Mapping[str, Any]) -> str:
    """YAML header; every value is JSON, which is YAML whatever a name contains."""
    tags = ["dataset-distillation", safe_name(str(meta.get("method", "unknown"))), safe_name(str(meta.get("data", "")))]
    facts = {
        "pretty_name": f"{meta.get('data', 'dataset')}, distilled",
        "license": str(meta.get("license", "unknown")),
        "task_categories": ["image-classification"],
        "tags": list(dict.fromkeys(tags)),
        **front,
    }
    return "---\n" + "\n".join(f"{name}: {json.dumps(value)}" for name, value in facts.items()) + "\n---\n"


def _own(source: Distilled) -> dict[str, Any]:
    """What an import of the export goes on with; nothing for a set that says nothing of it."""
    meta = source.meta
    carried = protocol_carried(source, str(meta.get("data", ""))).as_dict() if "protocol" in meta else None
    told = {"protocol": carried, "net": meta.get("net")}
    kept = {name: value for name, value in told.items() if value is not None}
    return {OWN: kept} if kept else {}


def _space(form: Distilled) -> str:
    mean, std = (", ".join(f"{value:.6g}" for value in values) for values in (form.space.mean, form.space.std))
    if form.space.whitening is not None:
        return (
            f"The values are ZCA-whitened [0, 1] pixels (eps {form.space.whitening.eps:g}, fitted on the training "
            "images): test images have to be whitened alike (DD-Ranking: use_zca).\n"
        )
    return f"Networks see (pixel - mean) / std with pixels in [0, 1], mean ({mean}), std ({std}); test images too.\n"


def _text(value: str) -> str:
    """A value that cannot smuggle markup in."""
    return re.sub(r"[\\`<>|\[\]!]", lambda found: f"&#{ord(found[0])};", " ".join(value.split()))
