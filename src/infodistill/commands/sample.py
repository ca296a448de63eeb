"""`infodistill sample`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infodistill.commands.speaking import one_sentence, say, show

if TYPE_CHECKING:
    from infodistill.diffusion.running.request import SampleRequest


@one_sentence
def sample(
    out: Annotated[Path, typer.Option(help="Folder of the run; the artefact ends up there.")],
    data: Annotated[str | None, typer.Option(help="digits, mnist, a folder of class folders, ... (as distill)")] = None,
    method: Annotated[str | None, typer.Option(help="dit (plain), igds, mgd3, minimax, igd.  [default: igds]")] = None,
    ipc: Annotated[int | None, typer.Option(help="Images per class.  [default: 10]")] = None,
    generator: Annotated[
        str | None,
        typer.Option(help="A model folder or hub name (OWNER/NAME).  [default: this data's, trained if need be]"),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Commit of a hub model.")] = None,
    class_ids: Annotated[Path | None, typer.Option(help='JSON: {"class name": the model\'s class id}.')] = None,
    steps: Annotated[int | None, typer.Option(help="Sampler steps.  [default: 50]")] = None,
    sampler: Annotated[str | None, typer.Option(help="ddpm, ddim or dpm-solver.  [default: ddpm]")] = None,
    cfg: Annotated[
        float | None, typer.Option(help="Weight of classifier-free guidance.  [default: 1 own, 4 foreign models]")
    ] = None,
    scale: Annotated[float | None, typer.Option(help="Push of the prototype term, or of a rival.")] = None,
    beta: Annotated[float | None, typer.Option(help="Contextual push / prototype push.  [default: by --ipc]")] = None,
    prototype: Annotated[
        str | None, typer.Option(help="Bound on I(X;Y): p1, p2, p3, p3-coupled or none.  [default: p3]")
    ] = None,
    contextual: Annotated[
        str | None, typer.Option(help="Bound on H(X|Y): c1-own, c2, c3, c5, c7 or none.  [default: c2]")
    ] = None,
    add: Annotated[list[str] | None, typer.Option(help="Add a term: cmi=0.1, mim=0.1 (a push).")] = None,
    calibrate: Annotated[bool, typer.Option("--calibrate", help="Choose s, h and beta on a held-out part.")] = False,
    budget: Annotated[int | None, typer.Option(help="Most settings --calibrate may try.  [default: 12]")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change one setting: --set window=[0,0.5].")] = None,
    seed: Annotated[int | None, typer.Option(help="Key of every draw.  [default: 0]")] = None,
    together: Annotated[int | None, typer.Option(help="Classes per group; a stopped run loses one group.")] = None,
    most: Annotated[int | None, typer.Option(help="Images per forward of the network.  [default: 128]")] = None,
    protocol: Annotated[
        str | None, typer.Option(help="How it is to be evaluated.  [default: quick up to 32 px, else imagenet-hard]")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Resize images of a folder to this many pixels.")] = None,
    skip_corrupt: Annotated[
        bool, typer.Option("--skip-corrupt", help="Leave out and count unreadable images.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.  [default: auto]")] = None,
    precision: Annotated[str | None, typer.Option(help="float32 or bf16.  [default: float32]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out, or start it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen and what it costs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make a small synthetic set by sampling a diffusion model, guided by information or not.

    Example: infodistill sample --data digits --method igds --ipc 10 --out runs/igds
    """
    from infodistill.diffusion.models.class_ids import read_class_ids
    from infodistill.diffusion.running.request import stored_request
    from infodistill.recipe import settings

    asked: dict[str, Any] = {
        "data": data, "method": method, "ipc": ipc, "generator": generator, "revision": revision, "steps": steps,
        "class_ids": None if class_ids is None else read_class_ids(class_ids), "sampler": sampler, "cfg": cfg,
        "scale": scale, "beta": beta, "prototype": prototype, "contextual": contextual, "add": tuple(add or ()) or None,
        "calibrate": calibrate or None, "budget": budget, "set": settings(set_ or ()) or None,
        "seed": seed, "together": together, "most": most, "protocol": protocol, "size": size,
        "skip_corrupt": skip_corrupt or None, "device": device, "precision": precision,
    }  # fmt: skip
    request = _requested(asked, stored_request(out) if resume else None)
    if dry_run:
        _dry_run(request, as_json)
    else:
        _run(request, out, resume=resume, as_json=as_json)


def _requested(asked: dict[str, Any], stored: SampleRequest | None) -> SampleRequest:
    """What the flags mean. Resuming takes those of the run in the folder where they are not given again."""
    from dataclasses import replace

    from infodistill.diffusion.running.request import SampleRequest

    said = {name: value for name, value in asked.items() if value is not None}
    if stored is not None:
        return replace(stored, **said)
    if "data" not in said:
        raise ValueError("--data is missing: name a data set (digits) or give a folder of class folders")
    return SampleRequest(**said)


def _run(request: SampleRequest, out: Path, *, resume: bool, as_json: bool) -> None:
    from infodistill.diffusion.running.conduct import conduct, prepare
    from infodistill.diffusion.running.request import check_folder, stored_facts
    from infodistill.evaluation.assessing import refresh_report
    from infodistill.progress import telling

    check_folder(out, request, resume=resume)  # before the data are read or a generator is trained
    with telling() as tell:
        prepared = prepare(request, device=stored_facts(out).get("device"), tell=tell, say=say)
        made = conduct(prepared, out, resume=resume)
    page = refresh_report(out)
    if as_json:
        show({"out": str(out), "images": len(made), "ipc": made.ipc, "seconds": made.meta["seconds"]})
    else:
        say(f"report: {page}\nnext: infodistill evaluate {out}")


def _dry_run(request: SampleRequest, as_json: bool) -> None:
    from infodistill.diffusion.running.rehearsal import rehearsed
    from infodistill.progress import counted, duration

    facts = rehearsed(request, say=say)
    if as_json:
        show(facts)
        return
    data = facts["data"]
    print(f"would read     {data['name']}: {data['images']} images {tuple(data['shape'])}, {data['classes']} classes")
    print(f"would test on  {data['test_images']} images")
    for line in facts["trains"]:
        print(f"would train    {line}")
    groups, steps = counted(facts["groups"], "group"), counted(facts["steps"], "step")
    print(f"would sample   {facts['images']} images in {groups}, {steps} each")
    if facts["seconds"] is not None:
        print(f"speed          {facts['steps_per_second']:.2f} steps/s a group")
        print(f"time           {duration(facts['seconds'])}")
    print(f"evaluated by   {facts['protocol']}")
    print(f"disk           {facts['disk_bytes'] / 2**20:.1f} MiB")
