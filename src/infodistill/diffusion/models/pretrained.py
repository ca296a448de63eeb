"""Opening a class-conditional diffusion model: a folder of ours, a diffusers pipeline, or one on the Hugging Face hub.

Weights are read from safetensors only. A hub model is named with the commit it is opened at, because branches move. Its
licence is read off its card and goes into `facts["licence"]`: DiT-XL/2-256, the standard of the field, is published
under cc-by-nc-4.0, for non-commercial use, and what is sampled from it is to be judged in that light.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from infodistill.diffusion.model import DiffusionModel, Pixels
from infodistill.diffusion.models.adapters import adapted
from infodistill.diffusion.models.architecture import class_codes
from infodistill.diffusion.models.class_ids import ids_by_name
from infodistill.diffusion.models.pipeline_parts import codec_of, config, network_of, read_index
from infodistill.diffusion.models.scheduler_config import prediction_of, table_of
from infodistill.diffusion.models.store import RECORD, load_model

PATTERNS = ("*.safetensors", "*.json", "README.md")
"""What is fetched of a hub model: no pickle, no code."""


def open_model(
    where: str,
    class_names: Sequence[str],
    *,
    revision: str | None = None,
    class_ids: Mapping[str, int] | None = None,
) -> DiffusionModel:
    """The model at `where`, sampling the classes of the data; frozen, in eval mode, on the CPU.

    Classes are found by name: a class of the data is the one class of the model that has its name, in any case, among
    its comma-separated labels. The null class is the row of the model's own table of class codes after its classes.

    Args:
        where: a folder, or OWNER/NAME on the hub (also `hf:OWNER/NAME`, `OWNER/NAME@REVISION`).
        class_names: the classes of the data, in its order.
        revision: commit of a hub model, 40 hexadecimal digits.
        class_ids: the model's ids of classes whose names say nothing ("n01440764") or too much ("crane").

    Raises:
        ValueError: in one sentence: nothing is there, it is another kind of model, it lacks weights or has them as
            pickles only, it does not know the classes, or diffusers is missing or broken.
    """
    folder, at = located(where, revision)
    if (folder / RECORD).is_file():
        return load_model(folder, class_names, class_ids)
    origin = {"source": where.partition("@")[0] if at else folder.name, "revision": at, "licence": licence(folder)}
    return _pipeline(folder, class_names, class_ids, origin)


def _pipeline(
    folder: Path, class_names: Sequence[str], class_ids: Mapping[str, int] | None, origin: Mapping[str, Any]
) -> DiffusionModel:
    index = read_index(folder)
    module, name = network_of(folder, index)
    labels = {int(one): str(label) for one, label in (index.get("id2label") or {}).items()}
    known = _known(module, labels)
    ids = ids_by_name(class_names, labels, class_ids, known=known)
    codec, schedule = codec_of(folder, index, module), config(folder, "scheduler")
    table, predicts = table_of(schedule), prediction_of(schedule)
    facts = {
        **origin,
        "pipeline": index.get("_class_name"),
        "architecture": name,
        "predicts": schedule.get("prediction_type", "epsilon"),
        "limit": _limit(schedule) if isinstance(codec, Pixels) else None,
        "class_ids": dict(zip(class_names, ids, strict=True)),
    }
    return adapted(module, table, class_names, predicts=predicts, codec=codec, ids=ids, known=known, facts=facts)


def located(where: str, revision: str | None = None) -> tuple[Path, str | None]:
    """The folder of a model, fetched from the hub if need be, and its revision there.

    Raises:
        ValueError: it is no folder and no hub name, a hub name without a commit, a folder with one, or the hub does
            not give it.
    """
    if Path(where).is_dir():
        if revision is not None:
            raise ValueError(f"'{where}' is a folder: --revision {revision} is for models on the hub, leave it out")
        return Path(where), None
    name, _, at = where.removeprefix("hf:").partition("@")
    at = revision or at
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", name):
        raise ValueError(f"'{where}' is neither a folder nor OWNER/NAME on the Hugging Face hub")
    if not re.fullmatch(r"[0-9a-f]{40}", at):
        asked = f"got revision '{at}'" if at else "and no revision was given"
        raise ValueError(f"'{where}' is no folder, and a hub model is opened at one commit (40 hex digits), {asked}")
    try:
        hub: Any = import_module("huggingface_hub")
    except ImportError as error:
        raise ValueError('a hub model needs huggingface_hub: pip install "infodistill[diffusion]"') from error
    try:
        return Path(hub.snapshot_download(name, revision=at, allow_patterns=list(PATTERNS))), at
    except Exception as error:  # the package raises its own, the network's and the file system's errors
        told = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"the hub did not give {name} at {at[:8]}: {told}") from error


def licence(folder: Path) -> str:
    """What the model's card (the head of README.md) says of its licence; "unknown" where it says nothing."""
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    head = re.match(r"---\n(.*?)\n---", text, re.S)
    found = re.search(r"^license:[ \t]*['\"]?([^'\"\n]+)", head.group(1), re.M) if head else None
    return found.group(1).strip() if found else "unknown"


def _limit(schedule: Mapping[str, Any]) -> float | None:
    """Where a pixel model's own scheduler clips the predicted clean image; `Plan.limit` does it here."""
    return float(schedule.get("clip_sample_range", 1.0)) if schedule.get("clip_sample") else None


def _known(module: Any, labels: Mapping[int, str]) -> int:
    """How many classes a network was built for; a table no label explains is taken to hold no null class."""
    rows = class_codes(module)
    if not rows:
        raise ValueError(f"this {type(module).__name__} knows no classes, wanted a class-conditional model")
    return max(labels) + 1 if labels else int(getattr(module.config, "num_embeds_ada_norm", None) or rows)
