"""`distilled.json`, the manifest of an artefact: what its tensors mean, and the sha256 of every file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

from infodistill.serialise import canonical_json, pretty_json, read_object, sha256, write_bytes

SCHEMA_VERSION = 1
TENSORS = "distilled.safetensors"
MANIFEST = "distilled.json"
RESULTS, MEASURE, METRICS = "results.json", "measure.json", "metrics.jsonl"
GUIDANCE, TRAJECTORY = "guidance.safetensors", "trajectory.png"
COMPANIONS = ("README.md", "grid.png", METRICS, GUIDANCE, TRAJECTORY, RESULTS, MEASURE, "report.html")


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


def seal(folder: Path, manifest: Mapping[str, Any] | None = None, *, written: Collection[str] = ()) -> None:
    """(Re)write the manifest: the files named in `written` get their hashes of now, all others keep what was recorded.

    Raises:
        ValueError: the tensors are not those that were recorded.
    """
    content = dict(read_manifest(folder) if manifest is None else manifest)
    kept = cast("dict[str, str]", content.get("sha256", {}))
    present = [name for name in (TENSORS, *COMPANIONS) if (folder / name).is_file()]
    now = {name: sha256((folder / name).read_bytes()) for name in present if name in written or name == TENSORS}
    if TENSORS not in written and now.get(TENSORS) != kept.get(TENSORS):
        raise ValueError(f"{TENSORS} in '{folder.name}' does not match its sha256: it is truncated or was edited")
    content["sha256"] = {name: now.get(name) or kept[name] for name in present if name in now or name in kept}
    content["manifest_sha256"] = _own_hash(content)
    write_bytes(folder / MANIFEST, pretty_json(content))


def changed_files(folder: str | Path) -> list[str]:
    """Companions that are missing or differ from what was sealed (a card edited by hand is legitimate, and listed)."""
    path = Path(folder)
    hashes = cast("dict[str, str]", read_manifest(path)["sha256"])
    return [n for n, h in hashes.items() if not (path / n).is_file() or sha256((path / n).read_bytes()) != h]


def recorded(folder: Path, name: str) -> str | None:
    """The sha256 recorded for a file; None if it is not there or not recorded (the log of a run in progress)."""
    if not (folder / name).is_file() or not (folder / MANIFEST).is_file():
        return None
    return read_manifest(folder)["sha256"].get(name)


def check(folder: Path, name: str, found: str, wanted: str) -> None:
    """Refuse a companion whose hash is not the recorded one."""
    if found != wanted:
        raise ValueError(
            f"{name} in '{folder.name}' has sha256 {found[:12]}…, {MANIFEST} wants {wanted[:12]}…: it was edited or "
            "its writing was cut short; delete it to go on without it"
        )


def _own_hash(manifest: Mapping[str, Any]) -> str:
    return sha256(canonical_json({k: v for k, v in manifest.items() if k != "manifest_sha256"}).encode())
