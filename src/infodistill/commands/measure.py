"""`infodistill measure`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infodistill.commands.speaking import one_sentence, say, show

if TYPE_CHECKING:
    from infodistill.recipe import Recipe


@one_sentence
def measure(
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="An artefact folder.")] = None,
    data: Annotated[str | None, typer.Option(help="The artefact's data, or data to measure by itself.")] = None,
    ipc: Annotated[int, typer.Option(min=2, help="Without DIR: images per class of the random subset measured.")] = 10,
    seed: Annotated[int, typer.Option(help="Key of every draw, and of the teachers.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """How much information a set carries: CMI under pretrained teachers, bounds with the real data, diversity.

    Example: infodistill measure runs/digits
    """
    from infodistill.set_information import NOTES

    facts = _measured(folder, data, ipc, seed=seed, device=device)
    if folder is not None:
        _store(folder, facts)
    if as_json:
        show(facts)
        return
    print(f"{facts['images']} images, {facts['networks']} teachers, {facts['unit']}")
    for name in ("cmi", "nce", "nwj", "ceiling"):
        entry = facts[name]
        spread = f" ± {entry['std']:.4f} (n={entry['n']})" if "std" in entry else ""
        print(f"{name:8} {entry['mean']:.4f}{spread}   {entry['note']}")
    print(f"bounds of sampling, read on {facts['held_out']}; in brackets random real subsets of this size")
    for name in NOTES:
        print(_line(name, facts[name]))


def _line(name: str, entry: dict[str, Any]) -> str:
    value = "–" if entry["mean"] is None else f"{entry['mean']:.4f}"
    random = entry["random"]
    beside = "" if random is None else f" ({random['mean']:.4f} ± {random['std']:.4f})"
    return f"{name:8} {value}{beside}   {entry['note']}"


def _measured(folder: Path | None, data: str | None, ipc: int, *, seed: int, device: str) -> dict[str, Any]:
    from infodistill import jobs
    from infodistill.assessing import data_of, open_artefact
    from infodistill.compute import resolve
    from infodistill.data import load_data
    from infodistill.data.cache import cache_dir
    from infodistill.measuring import profile
    from infodistill.progress import telling

    if folder is None and data is None:
        raise ValueError("measure wants an artefact folder, or --data with data to measure by itself")
    distilled = None if folder is None else open_artefact(folder)
    real = load_data(str(data)) if distilled is None else data_of(distilled, data, say)
    policy, recipe = resolve(device), _recipe(distilled.meta if distilled else {}, real.name)
    real = real.to(policy.device)
    batch = real.rows(real.sample(seed, ipc)) if distilled is None else distilled.batch().to(policy.device)
    with telling() as tell:
        pool = jobs.teachers_for(recipe, real, seed=seed, policy=policy, cache=cache_dir(), progress=tell)
    say(f"teachers: {len(pool.views)} {recipe.teachers.net}")
    return profile(batch, real, pool.views, per_class=min(64, int(real.counts.min())), seed=seed)


def _recipe(meta: Any, name: str) -> Recipe:
    """The artefact's own recipe, else the one `distill` would take: its [teachers] are the networks looked through."""
    from infodistill import recipe as recipes

    stored = {key: value for key, value in dict(meta.get("recipe", {})).items() if key != "name"}
    return recipes.parse(stored or recipes.find(name.lower(), "dm")[1])


def _store(folder: Path, facts: dict[str, Any]) -> None:
    from infodistill.artefact import record_measure
    from infodistill.assessing import refresh_report

    record_measure(folder, facts)
    refresh_report(folder)
