"""`infodistill teachers`."""

from __future__ import annotations

from typing import Annotated

import typer

from infodistill.commands.speaking import one_sentence, say, show


@one_sentence
def teachers(
    data: Annotated[str, typer.Option(help="The data to train on, as for distill.")],
    method: Annotated[str, typer.Option(help="Whose recipe gives the settings, if no recipe is named.")] = "dm",
    ipc: Annotated[int | None, typer.Option(help="Which of the recipes.")] = None,
    recipe: Annotated[str | None, typer.Option(help="The recipe whose teachers are trained.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change a key: --set teachers.count=20.")] = None,
    size: Annotated[int | None, typer.Option(help="Resize images of a folder to this many pixels.")] = None,
    skip_corrupt: Annotated[
        bool, typer.Option("--skip-corrupt", help="Leave out and count unreadable images.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Key of every draw.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="float32 or bf16.")] = "float32",
    workers: Annotated[
        str | None, typer.Option(help="1, ray or ray:N: networks by so many workers of one thread each, the same bits.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train and store the pretrained networks that `--add cmi` looks through; a run finds them in the cache.

    Example: infodistill teachers --data digits --set teachers.count=10
    """
    from infodistill.building import jobs
    from infodistill.progress import counted, telling
    from infodistill.running.asking import Asked, requested
    from infodistill.running.conduct import prepare
    from infodistill.scale.asked import fan_of

    asked = Asked(
        data=data, method=None if recipe else method, ipc=ipc, recipe=recipe, set=tuple(set_ or ()), size=size,
        skip_corrupt=skip_corrupt, seed=seed, device=device, precision=precision,
    )  # fmt: skip
    with telling() as tell:
        ready = prepare(requested(asked), tell=tell, say=say)
        pool = jobs.teachers_for(
            ready.recipe, ready.real, seed=seed, policy=ready.policy, cache=ready.cache, progress=tell,
            workers=fan_of(workers, device),
        )  # fmt: skip
    told = {
        "net": ready.recipe.teachers.net,
        "count": len(pool.views),
        "accuracies": pool.accuracies,
        "cache": str(ready.cache),
    }
    if as_json:
        show(told)
    else:
        listed = " ".join(f"{100 * accuracy:.1f}" for accuracy in pool.accuracies)
        print(f"{counted(len(pool.accuracies), 'teacher')} {told['net']}, training accuracy in %: {listed}")
        print(f"kept in {ready.cache}/teachers")
