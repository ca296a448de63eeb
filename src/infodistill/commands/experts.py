"""`infodistill experts`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from infodistill.commands.speaking import one_sentence, say, show

if TYPE_CHECKING:
    from infodistill.sources.expert_cost import ExpertCost


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
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Record and store the training trajectories that MTT and its descendants match; a run finds them in the cache.

    Says the time and the disk before it starts. Interrupted, it continues with the experts it lacks.

    Example: infodistill experts --data digits --method mtt --set experts.count=10
    """
    from infodistill.asking import Asked, requested
    from infodistill.conduct import prepare
    from infodistill.progress import telling
    from infodistill.sources.expert_cost import expert_cost
    from infodistill.sources.expert_recording import record_experts
    from infodistill.supplies import network, recording

    asked = Asked(
        data=data, method=None if recipe else method, ipc=ipc, recipe=recipe, net=net, set=tuple(set_ or ()), size=size,
        skip_corrupt=skip_corrupt, seed=seed, device=device, precision=precision,
    )  # fmt: skip
    with telling() as tell:
        ready = prepare(requested(asked), tell=tell, say=say)
        factory = network(ready.recipe.net, ready.real.shape)
        settings = recording(ready.recipe, seed=seed, policy=ready.policy, cache=ready.cache)
        cost = expert_cost(ready.real, factory, **settings)
        say(announced(cost, ready.recipe.net))
        store = record_experts(ready.real, factory, **settings, progress=tell)
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
    last = [100 * list(one.values())[-1] for one in told["accuracies"]]
    mean = sum(last) / len(last)
    print(f"{told['count']} experts {told['net']}, training accuracy at the last kept epoch: mean {mean:.1f} %")
    print(f"kept in {told['folder']} ({told['disk_bytes'] / 2**20:.1f} MiB)")
