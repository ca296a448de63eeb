"""`infodistill select`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infodistill.commands.speaking import one_sentence, say, show

if TYPE_CHECKING:
    from infodistill.distilled import Distilled
    from infodistill.real import RealData

METHODS = ("nearest", "random", "herding", "k-centre")


@one_sentence
def select(
    data: Annotated[str, typer.Option(help="digits, mnist, cifar10, ..., a folder, .npz, Parquet or hf:NAME.")],
    out: Annotated[Path, typer.Option(help="Folder of the artefact.")],
    method: Annotated[str, typer.Option(help=f"{', '.join(METHODS)}.")] = "nearest",
    ipc: Annotated[int, typer.Option(min=1, help="Images per class.")] = 10,
    seed: Annotated[int, typer.Option(help="Key of every draw.")] = 0,
    net: Annotated[str | None, typer.Option(help="Network it is evaluated by.  [default: by size]")] = None,
    protocol: Annotated[str | None, typer.Option(help="How it is evaluated.  [default: by size]")] = None,
    size: Annotated[int | None, typer.Option(help="Resize images of a folder to this many pixels.")] = None,
    skip_corrupt: Annotated[bool, typer.Option("--skip-corrupt", help="Leave out unreadable images.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda; for the network of herding and k-centre.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Choose real images instead of making some: the rival that every synthetic set has to beat.

    `nearest` takes the image nearest to each k-means centre of a class; herding and k-centre look through a network.

    Example: infodistill select --data digits --method nearest --ipc 10 --out runs/nearest
    """
    import time

    from infodistill.comparison.crossing import refusals
    from infodistill.data import load_data
    from infodistill.data.noted import announce
    from infodistill.diffusion.running.making import default_net, default_protocol
    from infodistill.evaluation.assessing import refresh_report
    from infodistill.evaluation.protocols import protocol_for
    from infodistill.files import require_writable

    if method not in METHODS:
        raise ValueError(f"unknown method '{method}', select knows {', '.join(METHODS)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"'{out}' exists and is not empty: choose another --out")
    require_writable(out)
    real = load_data(data, size=size, skip_corrupt=skip_corrupt)
    name, how = net or default_net(real.shape), protocol or default_protocol(real.shape)
    if why := refusals([name], real.shape, real.num_classes).get(name):
        raise ValueError(why)
    facts: dict[str, Any] = {
        "net": name,
        "protocol": protocol_for(how, real.name, ipc=ipc, classes=real.num_classes).as_dict(),
        "source": {"data": data, "size": size, "skip_corrupt": skip_corrupt},
        "data_notes": dict(real.notes),
    }
    announce(real, say)
    start = time.perf_counter()
    made = _selected(real, method, ipc, seed=seed, device=device)
    seconds = round(time.perf_counter() - start, 3)
    made.with_meta(**facts, seed=seed, seconds=seconds).save(out)
    page = refresh_report(out)
    if as_json:
        show({"out": str(out), "images": len(made), "ipc": made.ipc, "seconds": seconds})
    else:
        say(f"selected {len(made)} images in {seconds:.1f} s: {out}\nreport: {page}\nnext: infodistill evaluate {out}")


def _selected(real: RealData, method: str, ipc: int, *, seed: int, device: str) -> Distilled:
    from infodistill.methods.nearest import nearest
    from infodistill.methods.selection import herding, k_centre, random

    if method in ("nearest", "random"):
        return (nearest if method == "nearest" else random)(real, ipc, seed=seed)
    if ipc > (smallest := int(real.counts.min())):  # before a network is trained
        raise ValueError(f"ipc must lie in 1..{smallest} (the images of the smallest class), got {ipc}")
    from infodistill import recipe as recipes
    from infodistill.building import jobs
    from infodistill.compute import resolve
    from infodistill.data.cache import cache_dir
    from infodistill.progress import counted, telling

    policy = resolve(device)
    recipe = recipes.parse(recipes.find(real.name.lower(), "dm")[1])
    with telling() as tell:
        pool = jobs.teachers_for(
            recipe, real.to(policy.device), seed=seed, policy=policy, cache=cache_dir(), progress=tell
        )
    say(f"features: the first of {counted(len(pool.views), 'teacher')} {recipe.teachers.net}")
    return (herding if method == "herding" else k_centre)(real.to(policy.device), pool.views[0], ipc)
