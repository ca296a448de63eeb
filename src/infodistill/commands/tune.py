"""`infodistill tune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infodistill.commands.speaking import one_sentence, say, show

if TYPE_CHECKING:
    from infodistill.progress import Tell
    from infodistill.tuning.settings import Trial
    from infodistill.tuning.tuned import Distilling, Held, Sampling


@one_sentence
def tune(
    out: Annotated[Path, typer.Option(help="Folder: trials, tune.json, tune.png, and the artefact in best/.")],
    data: Annotated[str, typer.Option(help="digits, mnist, cifar10, ..., a folder, .npz, Parquet or hf:NAME.")],
    try_: Annotated[
        list[str], typer.Option("--try", help="An axis: cmi=0,ratio:0.01  steps=200,1000  ipc=1,5  beta=0,0.5,1")
    ],
    method: Annotated[str, typer.Option(help="A method of distill, or of sample (igds, dit, mgd3, igd).")] = "dm",
    add: Annotated[list[str] | None, typer.Option(help="A term in every setting, as for distill or sample.")] = None,
    ipc: Annotated[int | None, typer.Option(help="Images per class.  [default: the recipe's, 10]")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of every setting.")] = None,
    net: Annotated[str | None, typer.Option(help="Network looked through (distill).")] = None,
    recipe: Annotated[str | None, typer.Option(help="A shipped recipe or a TOML file (distill).")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change one key in every setting.")] = None,
    generator: Annotated[str | None, typer.Option(help="A model folder or hub name (sample).")] = None,
    size: Annotated[int | None, typer.Option(help="Resize images of a folder to this many pixels.")] = None,
    skip_corrupt: Annotated[bool, typer.Option("--skip-corrupt", help="Leave out unreadable images.")] = False,
    validate: Annotated[float, typer.Option(help="Held-out fraction of the training images.")] = 0.1,
    nets: Annotated[int, typer.Option(help="Networks that judge a setting.")] = 3,
    budget: Annotated[int, typer.Option(help="Most settings tried; of a larger grid a keyed draw.")] = 12,
    minutes: Annotated[float | None, typer.Option(help="Begin no further setting after so long, in all calls.")] = None,
    only: Annotated[bool, typer.Option("--only", help="Choose, and do not run the choice on all images.")] = False,
    seed: Annotated[int, typer.Option(help="Key of every draw.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="float32 or bf16.")] = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Choose strengths, steps, images per class or beta on held-out training images; test images choose nothing.

    A stopped call goes on where it was.

    Example: infodistill tune --data digits --method dm --ipc 10 --try cmi=0,ratio:0.01,ratio:0.1 --out runs/tuned
    """
    from infodistill.diffusion.running.request import OPTIONS
    from infodistill.progress import telling
    from infodistill.tuning.tuned import Held

    held, given = Held(validate, nets, seed), {"seed": seed, "device": device, "precision": precision}
    shared: dict[str, Any] = {"data": data, "method": method, "size": size, "skip_corrupt": skip_corrupt, **given}
    shared |= {"steps": steps, "ipc": ipc, "add": tuple(add or ())}
    alone = {"net": net, "recipe": recipe} if method in OPTIONS else {"generator": generator}
    if odd := [name for name, value in alone.items() if value is not None]:
        raise ValueError(f"--{odd[0]} says nothing to the method {method}")
    with telling() as tell:
        if method in OPTIONS:
            runs: Distilling | Sampling = _sampling(shared, generator, set_ or [], held, tell)
        else:
            runs = _distilling({**shared, "net": net, "recipe": recipe, "set": tuple(set_ or ())}, held, tell)
        facts = _tuned(runs, try_, out, (budget, minutes), only=only)
    if as_json:
        show(facts)


def _distilling(shared: dict[str, Any], held: Held, tell: Tell) -> Distilling:
    from infodistill.running.asking import Asked
    from infodistill.tuning.tuned import Distilling

    return Distilling(Asked(**shared), held, tell, say)


def _sampling(shared: dict[str, Any], generator: str | None, set_: list[str], held: Held, tell: Tell) -> Sampling:
    from infodistill.diffusion.running.request import SampleRequest
    from infodistill.recipe import settings
    from infodistill.tuning.tuned import Sampling

    said = {name: value for name, value in shared.items() if value is not None}
    return Sampling(SampleRequest(**said, generator=generator, set=settings(set_)), held, tell, say)


def _tuned(
    runs: Distilling | Sampling, axes: list[str], out: Path, most: tuple[int, float | None], *, only: bool
) -> dict[str, Any]:
    """Try, choose, store and, unless told otherwise, run the choice on all training images."""
    from infodistill.evaluation.assessing import refresh_report
    from infodistill.files import require_writable
    from infodistill.serialise import pretty_json, write_bytes
    from infodistill.tuning.pictures import trials_png
    from infodistill.tuning.settings import Budget, chosen, grid, name_of, record, rule, within
    from infodistill.tuning.settings import tune as tried
    from infodistill.tuning.tuned import axes_of

    budget = Budget(most[0], None if most[1] is None else 60 * most[1])
    settings = grid(axes_of(axes))
    kept = within(settings, budget.settings, runs.held.seed)
    runs.check(kept)
    require_writable(out)
    say(f"{len(kept)} of {len(settings)} settings, {_judged(runs)}; to be chosen: {rule(runs.held.networks)}")
    trials = tried(
        kept, runs.make, runs.judge, out / "trials", budget=budget, circumstances=runs.circumstances(), told=_tell
    )
    told = {"fraction": runs.held.fraction, "held_out_images": len(runs.rest.test or ()), "nets": runs.held.networks}
    told |= {name: value for name, value in runs.circumstances().items() if name == "generator_note"}
    facts = record(trials, len(settings), budget, told)
    _put_aside(out, facts["chosen"])
    write_bytes(out / "tune.json", pretty_json(facts))
    write_bytes(out / "tune.png", trials_png(trials, chosen(trials)))
    say(f"chosen: {name_of(facts['chosen'])} ({facts['rule']}; best: {name_of(facts['best'])}; {_judged(runs)})")
    if not only:
        runs.final(facts["chosen"], out / "best", {**facts, "then": "re-run on all training data"})
        say(f"report: {refresh_report(out / 'best')}\nnext: infodistill evaluate {out / 'best'}")
    return facts


def _judged(runs: Distilling | Sampling) -> str:
    """What settings are judged on and by."""
    from infodistill.progress import counted

    return f"{counted(len(runs.rest.test or ()), 'held-out image')}, {counted(runs.held.networks, 'network')}"


def _put_aside(out: Path, chosen: dict[str, Any]) -> None:
    """Keep the artefact of an earlier choice under that setting's name: a longer tuning may choose otherwise."""
    from infodistill.serialise import read_object
    from infodistill.tuning.settings import key_of

    if (out / "best").exists() and (out / "tune.json").exists():
        before = read_object(out / "tune.json")["chosen"]
        if before != chosen:
            (out / "best").rename(out / f"best-{key_of(before)}")


def _tell(trial: Trial) -> None:
    from infodistill.tuning.settings import name_of

    error = f" ± {100 * trial.error:.2f}" if len(trial.accuracies) > 1 else ""
    say(f"held-out accuracy {100 * trial.mean:.2f}{error} % with {name_of(trial.setting)}")
