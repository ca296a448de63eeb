"""A run on disk: what was asked for, its checkpoint, its log, and in the end the artefact.

run.json          what was asked for, written first
checkpoint        the whole state, at step 0, every minute and at the end
metrics.jsonl     value, weight and gradient norm of every term, every few steps
distilled.*, ...  the artefact, when the run is done
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from infodistill.distillation import Distillation, Progress
from infodistill.files import require_writable, write_atomically
from infodistill.progress import Tell
from infodistill.running.checkpoint import load_checkpoint, save_checkpoint
from infodistill.whitening import space_facts

REQUEST, CHECKPOINT, METRICS = "run.json", "checkpoint", "metrics.jsonl"
SAMPLE_REQUEST = "sample.json"  # of a sampling run, see diffusion.request
SAVE_EVERY = 60.0  # seconds


@dataclass(frozen=True)
class Request:
    """Everything that determines a run. `recipe` and `add` are resolved; `data` is as the user typed it."""

    data: str
    recipe_name: str
    recipe: dict[str, Any]
    add: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, "list[dict[str, Any]]"])
    seed: int = 0
    size: int | None = None
    skip_corrupt: bool = False
    validate: float | None = None
    device: str = "auto"
    precision: str = "float32"

    @property
    def steps(self) -> int:
        return int(self.recipe["steps"])

    def differs(self, other: Request) -> list[str]:
        """The parts in which two requests differ, the number of steps aside (a run may be made longer)."""
        mine, theirs = asdict(self), asdict(other)
        for told in (mine, theirs):
            told["recipe"] = {key: value for key, value in told["recipe"].items() if key != "steps"}
        return [name for name in mine if mine[name] != theirs[name]]


def stored_request(folder: Path) -> Request | None:
    """What the run in this folder was asked for; None if there is no run.

    Raises:
        ValueError: the record cannot be read.
    """
    path = folder / REQUEST
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        known = {entry.name for entry in fields(Request)}
        return Request(**{name: told[name] for name in told if name in known})
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None


def check_folder(folder: Path, request: Request, *, resume: bool) -> None:
    """See that a folder can take this run.

    Raises:
        ValueError: the folder holds something already and `resume` was not asked for, or another run.
        OSError: the folder cannot be written to.
    """
    stored = stored_request(folder)
    if stored is None and folder.exists() and (not folder.is_dir() or any(map(_meant, folder.iterdir()))):
        raise ValueError(f"'{folder}' exists and holds no run: choose another --out")
    if stored is not None and not resume:
        raise ValueError(f"'{folder}' already holds a run: continue it with --resume, or choose another --out")
    if stored is not None and (odd := stored.differs(request)):
        raise ValueError(
            f"the run in '{folder}' was started with another {', '.join(odd)}: --resume takes the same settings"
        )
    if stored is not None and (folder / CHECKPOINT).exists():
        _check_steps(int(load_checkpoint(folder / CHECKPOINT)["job"]["step"]), folder, request.steps)
    require_writable(folder)


def _meant(path: Path) -> bool:
    """Not a file that a kill left half written."""
    return not path.name.endswith(".partial")


def _check_steps(step: int, folder: Path, steps: int) -> None:
    if step > steps:
        raise ValueError(f"the run in '{folder}' is at step {step} already, more than the {steps} steps asked for")


def record_request(folder: Path, request: Request) -> None:
    """Write down what the run in this folder was asked for."""
    text = json.dumps(asdict(request), indent=1)
    write_atomically(folder / REQUEST, lambda path: path.write_text(text, encoding="utf-8"))


def follow(
    job: Distillation,
    folder: Path,
    steps: int,
    *,
    tell: Tell | None = None,
    what: str = "distil",
    log_every: int | None = None,
    deadline: float | None = None,
) -> float:
    """Run a job up to `steps` rounds in all, from its checkpoint if there is one; returns the seconds spent so far.

    A `deadline` (time.monotonic) ends it early, with a checkpoint.

    Raises:
        ValueError: the run is already past `steps`, or its checkpoint cannot be read.
        FloatingPointError: a term stopped being finite; the last good checkpoint is kept.
    """
    path, log = folder / CHECKPOINT, folder / METRICS
    before = restore(job, path)
    _check_steps(job.step, folder, steps)
    _cut(log, job.step)
    start = saved = time.monotonic()
    every = log_every or max(1, steps // 200)
    if job.step == 0:
        _save(job, path, before)
    if tell is not None:
        tell(what, job.step, steps)
    with log.open("a", encoding="utf-8") as lines:
        for progress in job.run(steps - job.step):
            now = time.monotonic()
            if progress.step % every == 0 or progress.step in (1, steps):
                _note(lines, progress, before + now - start)
                if tell is not None:
                    tell(what, progress.step, steps, f"loss {progress.loss:.4g}")
            if now - saved > SAVE_EVERY:
                _save(job, path, before + now - start)
                saved = now
            if deadline is not None and now > deadline:
                break
    seconds = before + time.monotonic() - start
    _save(job, path, seconds)
    return seconds


def _save(job: Distillation, path: Path, seconds: float) -> None:
    told = {"data": job.real.fingerprint, "space": space_facts(job.real.space)}
    save_checkpoint(path, {"job": job.state_dict(), "seconds": seconds, **told})


def restore(job: Distillation, path: Path) -> float:
    """Put a job where its checkpoint was, if there is one; the seconds spent until then.

    Raises:
        ValueError: the checkpoint cannot be read, or is of other data or another job.
    """
    if not path.exists():
        return 0.0
    state = load_checkpoint(path)
    if state["data"] != job.real.fingerprint:
        raise ValueError(f"the data has changed since the checkpoint {path} was written: its fingerprint is another")
    if (then := state.get("space", now := space_facts(job.real.space))) != now:
        raise ValueError(f"the checkpoint {path} belongs to the value space {then}, the data is now in {now}")
    job.load_state_dict(state["job"])
    if job.policy.threads is not None:  # another number of threads adds in another order
        torch.set_num_threads(job.policy.threads)
    return float(state["seconds"])


def _note(lines: Any, progress: Progress, seconds: float) -> None:
    lines.write(json.dumps({**progress.as_dict(), "seconds": round(seconds, 3)}) + "\n")
    lines.flush()


def _cut(log: Path, step: int) -> None:
    """Drop what was logged after the checkpoint, and a line that a kill left half written."""
    kept = [line for line in _entries(log) if line["step"] <= step]
    text = "".join(json.dumps(line) + "\n" for line in kept)
    write_atomically(log, lambda path: path.write_text(text, encoding="utf-8"))


def _entries(log: Path) -> list[Mapping[str, Any]]:
    entries: list[Mapping[str, Any]] = []
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return entries
