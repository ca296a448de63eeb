"""`infodistill experts`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from infodistill.commands.speaking import one_sentence, say, show

if TYPE_CHECKING:
    from infodistill.progress import Tell
    from infodistill.real import RealData
    from infodistill.running.asking import Asked
    from infodistill.scale.fanout import Workers
    from infodistill.sources.expert_cost import ExpertCost
    from infodistill.sources.expert_store import ExpertStore
    from infodistill.types import NetFactory


@one_sentence
def experts(
    data: Annotated[str, typer.Option(help="The data to train on, as for distill.")],
    method: Annotated[str, typer.Option(help="Whose recipe gives the settings, if no recipe is named.")] = "mtt",
    ipc: Annotated[int | None, typer.Option(help="Which of the recipes.")] = None,
    recipe: Annotated[str | None, typer.Option(help="The recipe whose experts are recorded.")] = None,
    net: Annotated[str | None, typer.Option(help="The network, if not that of the recipe.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change a key: --set experts.count=20.")] = None,
    size: Annotated[int | None, typer.Option(help="Resize images of a folder to this many pixels.")] = None,
    skip_corrupt: Annotated[
        bool, typer.Option("--skip-corrupt", help="Leave out and count unreadable images.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Key of every draw.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="float32 or bf16.")] = "float32",
    workers: Annotated[
        str,
        typer.Option(
            help="Processes side by side on their shares of the cores, faster for small networks; or ray, or ray:N."
        ),
    ] = "1",
    part: Annotated[str | None, typer.Option(hidden=True, help="What a worker does: part i/n.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Record and store the training trajectories that MTT and its descendants match; a run finds them in the cache.

    Says the time and the disk before it starts. Interrupted, it continues with the experts it lacks.

    Example: infodistill experts --data digits --method mtt --set experts.count=10
    """
    from infodistill.building.supplies import network, recording
    from infodistill.progress import telling
    from infodistill.running.asking import Asked, requested
    from infodistill.running.conduct import prepare
    from infodistill.scale.asked import asked_workers
    from infodistill.sources.expert_cost import expert_cost

    asked = Asked(
        data=data, method=None if recipe else method, ipc=ipc, recipe=recipe, net=net, set=tuple(set_ or ()), size=size,
        skip_corrupt=skip_corrupt, seed=seed, device=device, precision=precision,
    )  # fmt: skip
    count = asked_workers(workers, device)
    with telling() as tell:
        ready = prepare(requested(asked), tell=tell, say=say)
        factory = network(ready.recipe.net, ready.real.shape)
        settings = recording(ready.recipe, seed=seed, policy=ready.policy, cache=ready.cache)
        if part is not None:
            _record_part(ready.real, factory, part, settings)
            return
        cost = expert_cost(ready.real, factory, **settings)
        say(announced(cost, ready.recipe.net))
        store = _recorded(ready.real, factory, settings, tell, asked, count)
    told = {
        "net": ready.recipe.net,
        "count": store.count,
        "cached": cost.cached,
        "epochs": list(store.epochs),
        "accuracies": [dict(zip(one["epochs"], one["accuracies"], strict=True)) for one in store.told],
        "disk_bytes": store.nbytes,
        "folder": str(store.folder),
    }
    show(told) if as_json else _print(told)


def _record_part(real: RealData, factory: NetFactory, part: str, settings: dict[str, Any]) -> None:
    """A worker's experts: those whose number leaves its part as the remainder."""
    from infodistill.commands.side_by_side import part_of
    from infodistill.sources.expert_recording import record, recording_of

    (first, parts), how = part_of(part), dict(settings)
    count, cache = how.pop("count"), how.pop("cache")
    recording = recording_of(real, factory, **how)
    folder = recording.folder(cache)
    record(recording, folder, [i for i in recording.missing(folder, count) if i % parts == first], lambda epochs: None)


def _recorded(
    real: RealData, factory: NetFactory, settings: dict[str, Any], tell: Tell, asked: Asked, workers: int | Workers
) -> ExpertStore:
    """All experts, those that are missing by workers where they were asked for."""
    from infodistill.commands.side_by_side import run_parts
    from infodistill.scale.recording import record_by
    from infodistill.sources.expert_recording import record_experts, recording_of

    if workers != 1:
        how = {name: value for name, value in settings.items() if name not in ("count", "cache")}
        recording, count = recording_of(real, factory, **how), settings["count"]
        folder = recording.folder(settings["cache"])
        missing = len(recording.missing(folder, count))
        if missing and isinstance(workers, int):
            run_parts(
                flags(asked), workers, lambda: tell("experts", count - len(recording.missing(folder, count)), count)
            )
        elif not isinstance(workers, int):
            record_by(workers, recording, folder, count, lambda done: tell("experts", count - missing + done, count))
    return record_experts(real, factory, **settings, progress=tell)


def flags(asked: Asked) -> list[str]:
    """The command line of `infodistill experts` that asks for the same."""
    named = {"data": asked.data, "method": asked.method, "ipc": asked.ipc, "recipe": asked.recipe, "net": asked.net}
    named |= {"size": asked.size, "seed": asked.seed, "device": asked.device, "precision": asked.precision}
    words = [word for name, value in named.items() if value is not None for word in (f"--{name}", str(value))]
    words += [word for setting in asked.set for word in ("--set", setting)]
    return ["experts", *words, *(["--skip-corrupt"] if asked.skip_corrupt else [])]


def announced(cost: ExpertCost, net: str) -> str:
    """What is about to happen, its time and its place on disk."""
    from infodistill.progress import duration

    missing = cost.count - cost.cached
    if not missing:
        return f"experts: all {cost.count} {net} are there, in {cost.folder}"
    return (
        f"experts: {missing} of {cost.count} {net} to record, {cost.epochs} epochs each, {cost.epochs_kept} snapshots "
        f"kept; about {duration(cost.seconds)} and {cost.disk_bytes / 2**20:.0f} MiB on disk"
    )


def _print(told: dict[str, Any]) -> None:
    from infodistill.progress import counted

    last = [100 * list(one.values())[-1] for one in told["accuracies"]]
    mean = sum(last) / len(last)
    experts = f"{counted(told['count'], 'expert')} {told['net']}"
    print(f"{experts}, training accuracy at the last kept epoch: mean {mean:.1f} %")
    print(f"kept in {told['folder']} ({told['disk_bytes'] / 2**20:.1f} MiB)")
