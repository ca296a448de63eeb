"""The artefact folder: a distilled set on disk that describes itself and can be checked.

`distilled.safetensors` (images, labels, ...), `distilled.json` (what they mean, and the sha256 of every file),
`README.md` (dataset card with a plain-PyTorch loader), `grid.png`, and, when there was a run, `metrics.jsonl`,
`results.json`, `measure.json` and `report.html`. Nothing is pickled. Every file is replaced atomically and the
manifest comes last, so a crash leaves the old artefact, the new one, or one that `load` refuses. What is reported of
a set (its log, results and measures) is checked like the set itself, and goes when other tensors take its place.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from infodistill.card import card
from infodistill.distilled import Distilled
from infodistill.evaluation.recording import require_evaluations, require_own, stored
from infodistill.evaluation.result import STAMP
from infodistill.evaluation.whereabouts import placed
from infodistill.manifest import (
    COMPANIONS,
    GUIDANCE,
    MANIFEST,
    MEASURE,
    METRICS,
    RESULTS,
    SCHEMA_VERSION,
    TENSORS,
    TRAJECTORY,
    changed_files,
    check,
    read_manifest,
    recorded,
    seal,
)
from infodistill.reporting.pictures import grid_png
from infodistill.serialise import pretty_json, read_object, sha256, write_bytes
from infodistill.types import LabelKind
from infodistill.whitening import space_facts, space_from

TARGETS = {LabelKind.PROBABILITIES: "soft_labels", LabelKind.SCORES: "scores"}
"""The tensor that holds learned labels. A reader that knows no scores finds the hard labels, not logits."""

FINDINGS = (GUIDANCE, TRAJECTORY, RESULTS, MEASURE, "report.html")
"""What is true of one set of tensors only."""


def save(distilled: Distilled, path: Path, files: Mapping[str, bytes]) -> Path:
    """Write the artefact; `files` are companions to write with it (metrics.jsonl, ...), others there are kept.

    Evaluations and measures there are kept if they are about these very tensors, and removed otherwise.
    """
    distilled = placed(distilled, path)
    distilled = distilled.with_meta(versions=distilled.meta.get("versions", versions()))
    content = {TENSORS: save_tensors(_tensors(distilled)), "grid.png": grid_png(distilled), **files}
    kept = _still_true(path, sha256(content[TENSORS]))
    results = results_of(path) if RESULTS in kept else None
    for name, value in content.items():
        write_bytes(path / name, value)
    for name in set(FINDINGS) - set(kept) - set(files):
        (path / name).unlink(missing_ok=True)
    write_bytes(path / "README.md", card(distilled, results).encode())
    seal(path, {**_manifest(distilled), "sha256": kept}, written=(*content, "README.md"))
    return path


def _still_true(folder: Path, tensors: str) -> dict[str, str]:
    """Recorded hashes of the unchanged companions in a folder, if its artefact has the tensors of this hash."""
    try:
        hashes, changed = read_manifest(folder)["sha256"], changed_files(folder)
    except (FileNotFoundError, ValueError):
        return {}
    same = hashes.get(TENSORS) == tensors
    return {name: value for name, value in hashes.items() if name in COMPANIONS and name not in changed and same}


def _tensors(distilled: Distilled) -> dict[str, Tensor]:
    out = {"images": distilled.images.float(), "labels": distilled.y.long()}
    if distilled.soft_labels is not None:
        out[TARGETS[distilled.label_kind]] = distilled.soft_labels
    out |= {f"scalars.{name}": value for name, value in distilled.scalars.items()}
    out |= {f"factors.{name}": value for name, value in distilled.factors.items()}
    whitening = distilled.space.whitening
    out |= {} if whitening is None else {f"whitening.{name}": value for name, value in whitening.tensors().items()}
    return {name: value.detach().cpu().contiguous() for name, value in out.items()}


def _manifest(distilled: Distilled) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "classes": list(distilled.class_names),
        "ipc": distilled.stored_ipc,
        "shape": list(distilled.shape),
        "space": space_facts(distilled.space),
        "plan": [dict(phase) for phase in distilled.plan],
        "images_bytes": distilled.images_bytes,
        "labels_bytes": distilled.labels_bytes,
        "label_kind": distilled.label_kind.value,
        **{name: value for name, value in distilled.meta.items() if name not in _RESERVED},
        "versions": distilled.meta["versions"],
    }


_RESERVED = frozenset([
    *("schema_version", "classes", "ipc", "shape", "space", "plan", "images_bytes", "labels_bytes", "label_kind"),
    *("versions", "sha256", "manifest_sha256"),
])  # fmt: skip


def load(path: Path) -> Distilled:
    """Read and verify an artefact.

    Raises:
        FileNotFoundError: the folder holds no artefact.
        ValueError: it is truncated, was edited, or has a schema version this release does not know.
    """
    manifest = read_manifest(path)
    content = (path / TENSORS).read_bytes() if (path / TENSORS).is_file() else b""
    wanted = manifest["sha256"].get(TENSORS)
    if (found := sha256(content)) != wanted:
        raise ValueError(
            f"{TENSORS} in '{path.name}' has sha256 {found[:12]}…, {MANIFEST} wants {str(wanted)[:12]}…: "
            "the artefact is truncated or was edited"
        )
    try:
        return _from_parts(load_tensors(content), manifest)
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"'{path.name}' is not a complete artefact: {type(error).__name__} {error}") from None


def log_of(folder: Path) -> bytes | None:
    """The verified metrics.jsonl, or None. Lines that a run made longer has added since are left out."""
    wanted = recorded(folder, METRICS)
    if wanted is None:
        return None
    content, total, end = (folder / METRICS).read_bytes(), hashlib.sha256(), 0
    for line in content.splitlines(keepends=True):
        if total.hexdigest() == wanted:
            break
        total.update(line)
        end += len(line)
    check(folder, METRICS, total.hexdigest(), wanted)
    return content[:end]


def results_of(folder: Path) -> dict[str, Any] | None:
    """What `record_result` stored: the last evaluation of this set under each protocol, or None.

    Raises:
        ValueError: the file is not the one that was recorded, or holds no evaluations.
    """
    found = _findings(folder, RESULTS)
    if found is None:
        return None
    tensors = recorded(folder, TENSORS)
    own = {n: r for n, r in found.items() if not isinstance(r, dict) or r.get(STAMP, tensors) == tensors}
    require_evaluations(folder.name, own)
    return own or None


def measure_of(folder: Path) -> dict[str, Any] | None:
    """What `record_measure` stored, or None if nothing is known of this set; raises like `results_of`."""
    found, tensors = _findings(folder, MEASURE), recorded(folder, TENSORS)
    return found if found is not None and found.pop(STAMP, tensors) == tensors else None


def companion_of(folder: Path, name: str) -> bytes | None:
    """The verified content of a companion, such as what guidance did; None if there is none."""
    wanted = recorded(folder, name)
    if wanted is None:
        return None
    content = (folder / name).read_bytes()
    check(folder, name, sha256(content), wanted)
    return content


def record_result(folder: str | Path, result: Mapping[str, Any]) -> None:
    """Store one evaluation (`Result.record()`) beside the artefact, by protocol, and refresh the card.

    What was evaluated before is kept, see `recording.stored`. ValueError: the evaluation is of another set.
    """
    path = Path(folder)
    distilled, known, now = load(path), results_of(path) or {}, recorded(path, TENSORS)
    require_own(path.name, distilled, result, now)
    protocol = str(result["protocol"])
    results = {**known, protocol: stored(known.get(protocol), {**result, STAMP: now})}
    write_bytes(path / RESULTS, pretty_json(results))
    write_bytes(path / "README.md", card(distilled, results).encode())
    seal(path, written=(RESULTS, "README.md"))


def record_measure(folder: str | Path, facts: Mapping[str, Any], *, tensors: str | None = None) -> None:
    """Store an information profile beside the artefact whose `tensors` (sha256; None: those there now) were read.

    Raises:
        ValueError: other tensors have taken their place since.
    """
    path = Path(folder)
    now = recorded(path, TENSORS)
    if tensors is not None and now != tensors:
        raise ValueError(
            f"the set in '{path.name}' was replaced while it was measured (its tensors had sha256 {tensors[:12]}…, "
            f"now {str(now)[:12]}…): nothing was stored, measure it again"
        )
    write_bytes(path / MEASURE, pretty_json({**facts, STAMP: now}))
    seal(path, written=(MEASURE,))


def _findings(folder: Path, name: str) -> dict[str, Any] | None:
    """The verified content of a JSON companion, None where none was recorded or it is gone."""
    return None if companion_of(folder, name) is None else read_object(folder / name)


def versions() -> dict[str, str]:
    """Versions that can change a number."""
    return {
        "infodistill": metadata.version("infodistill"),
        "torch": metadata.version("torch"),
        "python": platform.python_version(),
    }


def _from_parts(tensors: Mapping[str, Tensor], manifest: Mapping[str, Any]) -> Distilled:
    named = {name: value for name, value in tensors.items() if "." in name}
    kind = next((kind for kind, name in TARGETS.items() if name in tensors), LabelKind.PROBABILITIES)
    return Distilled(
        tensors["images"],
        tensors["labels"],
        space_from(manifest["space"], _named(named, "whitening.")),
        tuple(manifest["classes"]),
        soft_labels=tensors.get(TARGETS[kind]),
        scalars=_named(named, "scalars."),
        factors=_named(named, "factors."),
        label_kind=kind,
        plan=tuple(manifest["plan"]),
        meta={k: v for k, v in manifest.items() if k not in _RESERVED or k == "versions"},
    )


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
