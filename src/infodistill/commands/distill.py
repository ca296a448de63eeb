"""`infodistill distill`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infodistill.commands.speaking import one_sentence, say, show

if TYPE_CHECKING:
    from infodistill.running.conduct import Prepared
    from infodistill.scale.launch import Launch


@one_sentence
def distill(
    out: Annotated[Path, typer.Option(help="Folder of the run; the artefact ends up there.")],
    data: Annotated[
        str | None, typer.Option(help="digits, mnist, cifar10, ..., a folder, .npz, Parquet or hf:NAME.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="dm, dc, dsa, idc, idm, ncfm, mtt, datm, frepo, ... (docs/methods).  [default: dm]"),
    ] = None,
    add: Annotated[
        list[str] | None,
        typer.Option(
            help="Add a term: cmi, cmi=8000, cmi=ratio:0.1, mim=0.8. A list is a grid for --validate: "
            "cmi=0,ratio:0.01,ratio:0.1, or cmi=ratio:0,0.01,0.1."
        ),
    ] = None,
    ipc: Annotated[int | None, typer.Option(help="Images per class.  [default: the recipe's, 10]")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps in all, also with --resume.")] = None,
    net: Annotated[str | None, typer.Option(help="Network looked through, such as convnet3 or convnet2-w32.")] = None,
    recipe: Annotated[str | None, typer.Option(help="A shipped recipe (cifar10/dm-ipc10) or a TOML file.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change one recipe key: --set lr=0.5.")] = None,
    size: Annotated[int | None, typer.Option(help="Resize images of a folder to this many pixels.")] = None,
    skip_corrupt: Annotated[
        bool, typer.Option("--skip-corrupt", help="Leave out and count unreadable images.")
    ] = False,
    validate: Annotated[
        float | None, typer.Option(help="Choose strengths on this held-out fraction of the training data.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Key of every draw.  [default: 0]")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.  [default: auto]")] = None,
    precision: Annotated[str | None, typer.Option(help="float32 or bf16.  [default: float32]")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen and what it costs.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out, or start it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make a small synthetic set from a labelled image set.

    Example: infodistill distill --data digits --method dm --add cmi --ipc 10 --out runs/digits
    """
    from infodistill.progress import telling
    from infodistill.running.asking import Asked, requested
    from infodistill.running.conduct import prepare
    from infodistill.scale.ranks import settled

    place = settled()
    asked = Asked(
        data, method, tuple(add or ()), ipc, steps, net, recipe, tuple(set_ or ()), size, skip_corrupt,
        validate, seed, device, precision,
    )  # fmt: skip
    request = requested(asked, out if resume else None)
    with telling() as tell:
        prepared = prepare(request, tell=tell, say=say)
        if dry_run and (place is None or place.first):
            _dry_run(prepared, as_json)
        elif not dry_run:
            _run(prepared, out, place, resume=resume, as_json=as_json)


def _run(prepared: Prepared, out: Path, place: Launch | None, *, resume: bool, as_json: bool) -> None:
    from infodistill.evaluation.assessing import refresh_report
    from infodistill.running.conduct import conduct
    from infodistill.scale.conducting import conduct_by_ranks

    alone = place is None
    outcome = conduct(prepared, out, resume=resume) if alone else conduct_by_ranks(prepared, out, place, resume=resume)
    if outcome is None:  # another rank speaks
        return
    page = refresh_report(out)
    told: dict[str, Any] = {"out": str(out), "steps": outcome.step, "seconds": round(outcome.seconds, 3)}
    if as_json:
        show(told)
    else:
        say(f"report: {page}\nnext: infodistill evaluate {out}")


def _dry_run(prepared: Prepared, as_json: bool) -> None:
    from infodistill.progress import counted, duration
    from infodistill.running.estimate import estimate

    facts = estimate(prepared)
    if as_json:
        show(facts)
        return
    data, recipe, teachers = facts["data"], facts["recipe"], facts["teachers"]
    print(f"would read     {data['name']}: {data['images']} images {tuple(data['shape'])}, {data['classes']} classes")
    print(f"would test on  {data['test_images']} images")
    steps = counted(recipe["steps"], "step")
    print(f"would distil   {recipe['method']}, {recipe['ipc']} per class, {recipe['net']}, {steps}")
    for name, strengths in facts["terms"].items():
        print(f"with           {name}: " + "; ".join(f"{s['kind']} {s['value']:g}, {s['origin']}" for s in strengths))
    if teachers is not None:
        cached = f"{teachers['cached']} of {teachers['count']} are cached"
        count, time = counted(teachers["count"], "teacher"), duration(teachers["seconds"])
        print(f"would train    {count} {teachers['net']} ({cached}), {time}")
    if (experts := facts["experts"]) is not None:
        cached = f"{experts['cached']} of {experts['count']} are cached"
        count, epochs = counted(experts["count"], "expert"), counted(experts["epochs"], "epoch")
        print(f"would record   {count} {experts['net']} of {epochs} ({cached}),")
        print(f"               {counted(experts['epochs_kept'], 'epoch')} kept, {duration(experts['seconds'])}")
    print(f"speed          {facts['steps_per_second']:.2f} steps/s")
    print(f"time           {duration(facts['seconds'])}")
    print(f"memory         {facts['memory_bytes'] / 2**20:.0f} MiB")
    print(f"disk           {facts['disk_bytes'] / 2**20:.1f} MiB")
