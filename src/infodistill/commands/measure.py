"""`infodistill measure`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infodistill.commands.speaking import one_sentence, say, show

if TYPE_CHECKING:
    from infodistill.compute import Policy
    from infodistill.distilled import Distilled
    from infodistill.progress import Tell
    from infodistill.real import RealData
    from infodistill.recipe import Recipe
    from infodistill.sources.teachers import Teachers


@one_sentence
def measure(
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="An artefact folder.")] = None,
    data: Annotated[str | None, typer.Option(help="The artefact's data, or data to measure by itself.")] = None,
    ipc: Annotated[int, typer.Option(min=2, help="Without DIR: images per class of the random subset measured.")] = 10,
    size: Annotated[int | None, typer.Option(help="Without DIR: resize the data to this many pixels.")] = None,
    skip_corrupt: Annotated[
        bool, typer.Option("--skip-corrupt", help="Without DIR: leave out unreadable images.")
    ] = False,
    teachers: Annotated[int, typer.Option(min=1, help="Networks to look through, at most; trained apart.")] = 3,
    seed: Annotated[int, typer.Option(help="Key of every draw and training.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """How much information a set carries: usable information, diversity, what it shares with real data, bits per byte.

    Every number comes with an interval, that of random real images and of wrong labels, and what it can and cannot say.
    It is looked at through fresh networks, trained like the recipe's teachers but never those the set was made with.
    Stored in DIR, unless DATA is not what DIR was made from.

    Example: infodistill measure runs/digits
    """
    from infodistill.manifest import TENSORS, recorded

    tensors = None if folder is None else recorded(folder, TENSORS)  # before they are read
    if folder is not None and (size is not None or skip_corrupt):
        raise ValueError("--size and --skip-corrupt are for data measured by itself: DIR says how its data are read")
    reading = {"size": size, "skip_corrupt": skip_corrupt}
    facts, own = _measured(folder, data, ipc, reading=reading, teachers=teachers, seed=seed, device=device)
    if folder is not None and own:
        _store(folder, facts, tensors)
    elif folder is not None:
        say(f"not stored in '{folder}': this is not the data the set was made from, which the profile there is for")
    if as_json:
        show(facts)
        return
    _tell(facts)


def _tell(facts: dict[str, Any]) -> None:
    from infodistill.measures.set_information import NOTES
    from infodistill.progress import counted
    from infodistill.reporting.profile import profile_lines

    print(f"{counted(facts['images'], 'image')}, {counted(facts['networks'], 'teacher')}, {facts['unit']}")
    for line in profile_lines(facts):
        print(line)
    print("\nothers, mean ± standard deviation over teachers")
    for name in ("cmi", "nce", "nwj", "ceiling"):
        entry = facts[name]
        spread = f" ± {entry['std']:.4f}" if entry.get("n", 1) > 1 else ""
        spread += f" (n={entry['n']})" if "n" in entry else ""
        print(f"{name:8} {entry['mean']:.4f}{spread}   {entry['note']}")
    print(f"bounds of sampling, read on {facts['held_out']}; in brackets random real subsets of this size")
    for name in NOTES:
        print(_line(name, facts[name]))


def _line(name: str, entry: dict[str, Any]) -> str:
    value = f"– ({entry['reason']})" if entry["mean"] is None else f"{entry['mean']:.4f}"
    random = entry["random"]
    beside = "" if random is None else f" ({random['mean']:.4f} ± {random['std']:.4f})"
    return f"{name:8} {value}{beside}   {entry['note']}"


def _measured(
    folder: Path | None, data: str | None, ipc: int, *, reading: dict[str, Any], teachers: int, seed: int, device: str
) -> tuple[dict[str, Any], bool]:
    """What was measured, and whether on the data the artefact was made from."""
    from infodistill.compute import resolve
    from infodistill.data import load_data
    from infodistill.evaluation.assessing import data_of, open_artefact
    from infodistill.files import require_writable
    from infodistill.measures.measuring import profile
    from infodistill.measures.profiling import USUAL
    from infodistill.measures.seen import require_classes
    from infodistill.progress import telling

    if folder is None and data is None:
        raise ValueError("measure wants an artefact folder, or --data with data to measure by itself")
    distilled = None if folder is None else open_artefact(folder)
    real = load_data(str(data), **reading) if distilled is None else data_of(distilled, data, say)
    require_classes(real)
    made = None if distilled is None else distilled.meta.get("fingerprint")
    own = made in (None, real.fingerprint)
    if folder is not None and own:
        require_writable(folder)
    policy, recipe = resolve(device), _recipe(distilled.meta if distilled else {}, real.name, teachers)
    real = real.to(policy.device)
    batch = real.rows(real.sample(seed, ipc)) if distilled is None else distilled.batch().to(policy.device)
    with telling() as tell:
        pool, told = _teachers(recipe, real, seed=seed, policy=policy, tell=tell)
        size = None if distilled is None else set_bytes(distilled)
        least = min(64, int(real.counts[real.counts > 0].min()))
        facts = profile(batch, real, pool.views, per_class=least, seed=seed, stored=size, effort=USUAL, progress=tell)
    facts["against"]["teachers"] = told
    return facts, own


def _teachers(
    recipe: Recipe, real: RealData, *, seed: int, policy: Policy, tell: Tell
) -> tuple[Teachers, dict[str, Any]]:
    """The networks looked through, and what to say of them: never those CMI and MIM made a set through."""
    from infodistill.building import jobs
    from infodistill.data.cache import cache_dir
    from infodistill.seeding import key

    net = jobs.net_name(recipe.teachers.net, real.shape)
    jobs.spare_threads(3 * 256 * jobs.forward_flops(net, real.shape, real.num_classes))
    apart = key(seed, "measure.teachers")
    pool = jobs.teachers_for(recipe, real, seed=apart, policy=policy, cache=cache_dir(), progress=tell)
    say(f"teachers: {len(pool.views)} {net}")
    return pool, {"net": net, "count": len(pool.views), "digest": pool.fingerprint}


def set_bytes(distilled: Distilled) -> int:
    """All that is stored of a set, the whitening of its images included."""
    whitening = distilled.space.whitening
    held = () if whitening is None else whitening.tensors().values()
    own = distilled.images_bytes + distilled.labels_bytes + distilled.scalars_bytes
    return own + sum(value.numel() * value.element_size() for value in held)


def _recipe(meta: Any, name: str, most: int) -> Recipe:
    """The artefact's own recipe, else the one `distill` would take: its [teachers] say how the networks are trained.

    At most `most` of them.
    """
    from infodistill import recipe as recipes

    stored = {key: value for key, value in dict(meta.get("recipe", {})).items() if key != "name"}
    recipe = recipes.parse(stored or recipes.find(name.lower(), "dm")[1])
    fewer = recipe.teachers.model_copy(update={"count": min(most, recipe.teachers.count)})
    return recipe.model_copy(update={"teachers": fewer})


def _store(folder: Path, facts: dict[str, Any], tensors: str | None) -> None:
    from infodistill.artefact import record_measure
    from infodistill.evaluation.assessing import refresh_report

    record_measure(folder, facts, tensors=tensors)
    refresh_report(folder)
