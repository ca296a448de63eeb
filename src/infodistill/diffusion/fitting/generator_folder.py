"""What lies in the folder of a generator's training, and where such folders are kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from infodistill.diffusion.fitting.generator_plan import PIXEL_SIDE, GeneratorPlan
from infodistill.diffusion.models.store import RECORD as MODEL
from infodistill.real import RealData
from infodistill.serialise import read_object

RECORD = "generator.json"


def cached_folder(real: RealData, plan: GeneratorPlan, cache: Path) -> Path:
    """Where the generator of a plan is kept."""
    return cache / "generators" / f"{real.fingerprint[:20]}-{plan.name}"


def find_generator(real: RealData, cache: Path) -> Path | None:
    """A finished generator of exactly these images in the cache; None if there is none.

    Of several, the way that is the default for their size (pixels or latents) comes first, then the name decides.
    """
    first = "latents" if max(real.shape[1:]) > PIXEL_SIDE else "pixels"
    found = [path for path in sorted((cache / "generators").glob(f"{real.fingerprint[:20]}-*")) if finished(path)]
    found.sort(key=lambda path: f"-{first}-" not in path.name)
    return found[0] if found else None


def finished(folder: Path) -> bool:
    """Whether the folder holds a generator whose training came to its end."""
    return (folder / RECORD).exists() and read_object(folder / RECORD).get("status") == "done"


def contents(folder: Path) -> dict[str, Any]:
    """What `generator.json` says.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it cannot be read.
    """
    found = read_object(folder / RECORD)
    data: object = found.get("data")
    if not isinstance(data, dict) or not {"name", "fingerprint"} <= set(cast("dict[str, Any]", data)):
        raise ValueError(f"{RECORD} in '{folder}' does not say of which data it is: it was edited")
    return found


def stored_plan(folder: Path) -> GeneratorPlan | None:
    """The plan of the training in a folder; None if there is none.

    Raises:
        ValueError: its record cannot be read.
    """
    if not (folder / RECORD).exists():
        return None
    try:
        return GeneratorPlan.from_dict(contents(folder)["plan"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{RECORD} in '{folder}' holds no plan of a training ({error}): it was edited") from None


def stored_device(folder: Path) -> str | None:
    """Where the training in a folder was begun; None if there is none, or it does not say."""
    told: object = contents(folder).get("device") if (folder / RECORD).exists() else None
    return told if isinstance(told, str) else None


def described(folder: Path) -> dict[str, Any]:
    """What a stored model is, JSON-able; `training` is None for one that was not trained here.

    Raises:
        FileNotFoundError: no model lies there.
    """
    if not (folder / MODEL).exists():
        state = ": its training is not finished, continue it with --resume" if (folder / RECORD).exists() else ""
        raise FileNotFoundError(f"'{folder}' holds no model{state}")
    model = read_object(folder / MODEL)
    ours = read_object(folder / RECORD) if (folder / RECORD).exists() else {}
    facts: dict[str, Any] = model["facts"]
    return {
        "folder": str(folder),
        "network": model["network"],
        "denoises": f"{'latents' if model['latents'] else 'pixels'} {tuple(model['shape'])}",
        "classes": ", ".join(model["classes"]),
        "data": facts.get("data", {}).get("name"),
        "licence": facts.get("licence"),
        "training": short(ours["training"]) if ours.get("training") else None,
    }


def short(told: Mapping[str, Any]) -> dict[str, Any]:
    """The outcome of the trainings without their curves."""
    return {
        what: {name: value for name, value in history.items() if name not in ("losses", "validations")}
        for what, history in told.items()
    }
