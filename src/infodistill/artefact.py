"""The artefact folder: a distilled set on disk that describes itself and can be checked.

`distilled.safetensors` (images, labels, ...), `distilled.json` (what they mean, and the sha256 of every file),
`README.md` (dataset card with a plain-PyTorch loader), `grid.png`, and, when there was a run, `metrics.jsonl`,
`results.json`, `measure.json` and `report.html`. Nothing is pickled. Every file is replaced atomically and the
manifest comes last, so a crash leaves the old artefact, the new one, or one that `load` refuses.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from infodistill.card import card
from infodistill.distilled import Distilled
from infodistill.pictures import grid_png
from infodistill.serialise import canonical_json, pretty_json, read_object, sha256, write_bytes
from infodistill.types import ValueSpace

SCHEMA_VERSION = 1
TENSORS = "distilled.safetensors"
MANIFEST = "distilled.json"
COMPANIONS = ("README.md", "grid.png", "metrics.jsonl", "results.json", "measure.json", "report.html")


def save(distilled: Distilled, path: Path, files: Mapping[str, bytes]) -> Path:
    """Write the artefact; `files` are companions to write with it (metrics.jsonl, ...), others there are kept."""
    distilled = distilled.with_meta(versions=distilled.meta.get("versions", versions()))
    content = {TENSORS: save_tensors(_tensors(distilled)), "grid.png": grid_png(distilled), **files}
    for name, value in content.items():
        write_bytes(path / name, value)
    write_bytes(path / "README.md", card(distilled, results_of(path)).encode())
    seal(path, _manifest(distilled))
    return path


def _tensors(distilled: Distilled) -> dict[str, Tensor]:
    out = {"images": distilled.images.float(), "labels": distilled.y.long()}
    if distilled.soft_labels is not None:
        out["soft_labels"] = distilled.soft_labels
    out |= {f"scalars.{name}": value for name, value in distilled.scalars.items()}
    out |= {f"whitening.{name}": value for name, value in distilled.whitening.items()}
    return {name: value.detach().cpu().contiguous() for name, value in out.items()}


def _manifest(distilled: Distilled) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "classes": list(distilled.class_names),
        "ipc": distilled.ipc,
        "shape": list(distilled.shape),
        "space": {"mean": list(distilled.space.mean), "std": list(distilled.space.std)},
        "plan": [dict(phase) for phase in distilled.plan],
        "images_bytes": distilled.images_bytes,
        "labels_bytes": distilled.labels_bytes,
        **{name: value for name, value in distilled.meta.items() if name not in _RESERVED},
        "versions": distilled.meta["versions"],
    }


_RESERVED = frozenset(
    [
        "schema_version",
        "classes",
        "ipc",
        "shape",
        "space",
        "plan",
        "images_bytes",
        "labels_bytes",
        "versions",
        "sha256",
        "manifest_sha256",
    ]
)


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


def read_manifest(folder: Path) -> dict[str, Any]:
    """The verified content of `distilled.json`."""
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"'{folder}' holds no distilled set: {MANIFEST} is missing")
    manifest = read_object(path)
    version = manifest.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(f"{MANIFEST} has schema version {version}, this release reads version {SCHEMA_VERSION}")
    if manifest.get("manifest_sha256") != _own_hash(manifest) or not isinstance(manifest.get("sha256"), dict):
        raise ValueError(f"{MANIFEST} in '{folder.name}' does not match its own sha256: it was edited")
    return manifest


def seal(folder: Path, manifest: Mapping[str, Any] | None = None) -> None:
    """(Re)write the manifest with the sha256 of every file now in the folder; call it after adding a companion."""
    content = dict(read_manifest(folder) if manifest is None else manifest)
    present = [name for name in (TENSORS, *COMPANIONS) if (folder / name).is_file()]
    kept = content.get("sha256", {})
    hashes = {name: sha256((folder / name).read_bytes()) for name in present}
    if TENSORS in kept and hashes.get(TENSORS) != kept[TENSORS]:
        raise ValueError(f"{TENSORS} in '{folder.name}' does not match its sha256: it is truncated or was edited")
    content["sha256"] = hashes
    content["manifest_sha256"] = _own_hash(content)
    write_bytes(folder / MANIFEST, pretty_json(content))


def changed_files(folder: str | Path) -> list[str]:
    """Companions that are missing or differ from what was sealed (a card edited by hand is legitimate, and listed)."""
    path = Path(folder)
    hashes = cast("dict[str, str]", read_manifest(path)["sha256"])
    return [n for n, h in hashes.items() if not (path / n).is_file() or sha256((path / n).read_bytes()) != h]


def results_of(folder: Path) -> dict[str, Any] | None:
    """What `record_result` stored: the last evaluation under each protocol, or None."""
    path = folder / "results.json"
    return read_object(path) if path.is_file() else None


def record_result(folder: str | Path, result: Mapping[str, Any]) -> None:
    """Store one evaluation (`Result.record()`) beside the artefact, by protocol, and refresh the card."""
    path = Path(folder)
    results = {**(results_of(path) or {}), str(result["protocol"]): dict(result)}
    write_bytes(path / "results.json", pretty_json(results))
    write_bytes(path / "README.md", card(load(path), results).encode())
    seal(path)


def versions() -> dict[str, str]:
    """Versions that can change a number."""
    return {
        "infodistill": metadata.version("infodistill"),
        "torch": metadata.version("torch"),
        "python": platform.python_version(),
    }


def _from_parts(tensors: Mapping[str, Tensor], manifest: Mapping[str, Any]) -> Distilled:
    space = manifest["space"]
    known = ("images", "labels", "soft_labels")
    named = {name: value for name, value in tensors.items() if name not in known}
    return Distilled(
        tensors["images"],
        tensors["labels"],
        ValueSpace(tuple(space["mean"]), tuple(space["std"])),
        tuple(manifest["classes"]),
        soft_labels=tensors.get("soft_labels"),
        scalars=_named(named, "scalars."),
        whitening=_named(named, "whitening."),
        plan=tuple(manifest["plan"]),
        meta={k: v for k, v in manifest.items() if k not in _RESERVED or k == "versions"},
    )


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _own_hash(manifest: Mapping[str, Any]) -> str:
    return sha256(canonical_json({k: v for k, v in manifest.items() if k != "manifest_sha256"}).encode())
