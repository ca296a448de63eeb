"""What a sampling run was asked for: written first, and compared when the run is resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from infodistill.diffusion.running.plain_values import check_values
from infodistill.files import require_writable, write_atomically
from infodistill.running.runfolder import SAMPLE_REQUEST as REQUEST
from infodistill.serialise import read_object

OPTIONS: Mapping[str, tuple[str, ...]] = {
    "dit": ("add", "calibrate", "budget"),
    "igds": ("scale", "beta", "prototype", "contextual", "add", "calibrate", "budget"),
    "mgd3": ("scale", "calibrate", "budget"),
    "minimax": (),
    "igd": ("scale",),
}
"""The methods, and what else each is asked with."""

CHOSEN: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "dit": (("cfg", "add"), ()),
    "igds": (("scale", "beta", "add"), ()),
    "mgd3": (("scale",), ("pull",)),
}
"""What `calibrate` decides: options, and names in `set`."""


def _empty() -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class SampleRequest:
    """Everything that determines the images. None leaves a choice to the method or to the model.

    Attributes:
        data: as the user typed it.
        method: one of `OPTIONS`.
        ipc: images per class.
        generator: a folder or a hub name; None is the generator of this data, trained where there is none.
        revision: of a hub name.
        class_ids: the model's class of each name, where names do not tell.
        steps: of the sampler.
        sampler: `ddpm`, `ddim` or `dpm-solver`.
        cfg: weight of classifier-free guidance.
        scale: s of a prototype, or the pull of a rival.
        beta: contextual push over prototype push.
        prototype: a name of `estimators.PROTOTYPES`.
        contextual: a name of `estimators.CONTEXTUALS`.
        add: further terms and their pushes, `cmi=0.1`.
        calibrate: choose s, h and beta on a held-out part, at most `budget` settings.
        set: further settings of the method.
        together: classes per group.
        most: images per forward.
    """

    data: str
    method: str = "igds"
    ipc: int = 10
    generator: str | None = None
    revision: str | None = None
    class_ids: Mapping[str, int] | None = None
    steps: int = 50
    sampler: str = "ddpm"
    cfg: float | None = None
    scale: float | None = None
    beta: float | None = None
    prototype: str | None = None
    contextual: str | None = None
    add: tuple[str, ...] = ()
    calibrate: bool = False
    budget: int = 12
    set: Mapping[str, Any] = field(default_factory=_empty)
    seed: int = 0
    together: int | None = None
    most: int | None = None
    protocol: str | None = None
    size: int | None = None
    skip_corrupt: bool = False
    device: str = "auto"
    precision: str = "float32"

    def __post_init__(self) -> None:
        told = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        check_values(SampleRequest, told, "--")
        if self.method not in OPTIONS:
            raise ValueError(f"unknown method '{self.method}', sampling knows {', '.join(OPTIONS)}")
        for name in ("ipc", "steps", "budget", "together", "most", "size"):
            if told[name] is not None and told[name] < 1:
                raise ValueError(f"--{name} must be at least 1, got {told[name]}")
        self._check_options()
        self._check_guidance()

    def _check_options(self) -> None:
        """See that every option says something to the method, and that calibration chooses nothing that is given."""
        usual = {entry.name: entry.default for entry in fields(self)}
        others = {name for names in OPTIONS.values() for name in names} - set(OPTIONS[self.method])
        if odd := [name for name in usual if name in others and getattr(self, name) != usual[name]]:
            takes = ", ".join(OPTIONS[self.method]) or "no options of its own"
            raise ValueError(f"--{odd[0]} says nothing to the method {self.method}, which takes {takes}")
        if self.revision is not None and self.generator is None:
            raise ValueError("--revision is the commit of a hub model: name that with --generator")
        flags, settings = CHOSEN.get(self.method, ((), ()))
        said = [name for name in flags if getattr(self, name) != usual[name]]
        said += [f"set {name}" for name in settings if name in self.set]
        if self.calibrate and said:
            raise ValueError(f"--calibrate chooses how hard to push: leave --{said[0]} out")

    def _check_guidance(self) -> None:
        """See that there is something to guide by, at some noise level."""
        if self.method == "igds" and self.prototype == self.contextual == "none" and not self.add:
            raise ValueError("--prototype none and --contextual none leave nothing to guide by: take --method dit")
        window: object = self.set.get("window", (0.0, 1.0))
        ends = cast("list[Any]", list(window)) if isinstance(window, list | tuple) else []
        numbers = [end for end in ends if type(end) in (int, float)]
        if len(ends) != 2 or len(numbers) != 2 or not 0 <= ends[0] < ends[1] <= 1:
            raise ValueError(f"--set window wants two rising numbers in [0, 1], got {window}")
        for text in self.add:
            if text.partition("=")[2].strip().lower().lstrip("+-") in ("nan", "inf", "infinity"):
                raise ValueError(f"--add wants a finite push, got {text}")

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return json.loads(json.dumps(asdict(self)))

    def differs(self, other: SampleRequest) -> str | None:
        """The first part in which two requests differ, with both values; None if they are the same."""
        mine, theirs = self.as_dict(), other.as_dict()
        name = next((name for name in mine if mine[name] != theirs[name]), None)
        return None if name is None else f"{name} {_shown(theirs[name])}, not {_shown(mine[name])}"


def stored_request(folder: Path) -> SampleRequest | None:
    """What the sampling run in a folder was asked for; None if there is none.

    Raises:
        ValueError: the record cannot be read.
    """
    path = folder / REQUEST
    if not path.is_file():
        return None
    content = read_object(path)
    try:
        told = cast("dict[str, Any]", content["request"])
        changed: dict[str, Any] = {**told, "add": tuple(told.get("add", ()))}
        return SampleRequest(**changed)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from None


def check_folder(folder: Path, request: SampleRequest, *, resume: bool) -> None:
    """See that a folder can take this run.

    Raises:
        ValueError: it holds something else, a run that was not to be resumed, or one that was asked for otherwise.
        OSError: it cannot be written to.
    """
    known = stored_request(folder)
    if known is None and folder.exists() and (not folder.is_dir() or any(map(_meant, folder.iterdir()))):
        raise ValueError(f"'{folder}' exists and holds no sampling run: choose another --out")
    if known is not None and not resume:
        raise ValueError(f"'{folder}' already holds a run: continue it with --resume, or choose another --out")
    if known is not None and (odd := request.differs(known)):
        raise ValueError(f"the run in '{folder}' was started with {odd}: --resume takes the same settings")
    require_writable(folder)


def record(folder: Path, request: SampleRequest, facts: Mapping[str, Any]) -> None:
    """Write down what the run was asked for, and what it met: data, generator, device, threads."""
    text = json.dumps({"request": request.as_dict(), "facts": dict(facts)}, indent=1)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / REQUEST, lambda path: path.write_text(text, encoding="utf-8"))


def stored_facts(folder: Path) -> dict[str, Any]:
    """What `record` wrote down beside the request; {} if nothing. Raises ValueError for what cannot be read."""
    path = folder / REQUEST
    found: object = read_object(path).get("facts", {}) if path.is_file() else {}
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} cannot be read: its facts are a {type(found).__name__}")
    return cast("dict[str, Any]", found)


def withdraw(folder: Path) -> None:
    """Take the record back where nothing else was written: a mistake leaves the folder as it was."""
    if [path.name for path in folder.iterdir()] == [REQUEST]:
        (folder / REQUEST).unlink()
        folder.rmdir()


def _meant(path: Path) -> bool:
    """Not a file that a kill left half written."""
    return not path.name.endswith(".partial")


def _shown(value: object) -> str:
    return "the default" if value in (None, [], {}) else str(value)
