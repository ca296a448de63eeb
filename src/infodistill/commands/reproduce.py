"""`infodistill reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infodistill.commands.speaking import one_sentence, say, show

if TYPE_CHECKING:
    from infodistill.running.reproduction import Row

SOURCES = (
    "N1 and N5 are Tables 1 and 5 of arXiv:2502.20653, readme a method's own repository, mem recalled and not "
    "verified; every recipe file names its sources"
)


@one_sentence
def reproduce(
    row: Annotated[
        str | None, typer.Argument(metavar="[ROW]", help="A row, such as cifar10/dm-ipc10+cmi, or a study.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of all reproductions.")] = Path("runs/reproduce"),
    data: Annotated[str | None, typer.Option(help="Where the data is, if not under its name.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.  [default: auto]")] = None,
    precision: Annotated[str | None, typer.Option(help="float32 or bf16.  [default: float32]")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop after so long; call again to go on.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Networks of the evaluation; a study has its own.")] = 5,
    only: Annotated[str | None, typer.Option(help="List rows whose name contains this, such as mnist/id.")] = None,
    workers: Annotated[
        str | None,
        typer.Option(help="Processes of a study, or ray, or ray:N.  [default: one a core, one on a GPU]"),
    ] = None,
    part: Annotated[str | None, typer.Option(hidden=True, help="What a worker does: part i/n.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Run one table row in resumable pieces and print ours beside the paper's number; without ROW, list the rows.

    A study (igds-digits) is a whole table of ours: rivals tuned as hard, settings chosen on validation, paired seeds.

    Example: infodistill reproduce cifar10/dm-ipc10 --minutes 60
    """
    from infodistill import studies
    from infodistill.commands import study
    from infodistill.progress import telling
    from infodistill.running import reproduction
    from infodistill.scale.asked import asked_workers

    if row is not None and row in studies.TITLES:
        asked = study.Asked(row, out, data=data, device=device, precision=precision, minutes=minutes)
        count = None if workers is None else asked_workers(workers, device or "auto")
        study.run(asked, workers=count, part=part, as_json=as_json)
        return
    if row is None:
        listed = [_told(one, out) for one in reproduction.rows() if only is None or only in one.name]
        listed += [study.told(name, out) for name in studies.TITLES if only is None or only in name]
        show(listed) if as_json else _print(listed)
        run = sum(told["ours"] is not None for told in listed)
        say(f"{run} of {len(listed)} rows were run in {out}; '-': no number was published; {SOURCES}")
        return
    one = reproduction.row(row)
    with telling() as tell:
        at = reproduction.reproduce(
            one, out, data=data, device=device, precision=precision, minutes=minutes, seeds=seeds, tell=tell, say=say
        )
    if at is not None:
        say(f"stopped at step {at}; the same command goes on from there")
    told = _told(one, out)
    show(told) if as_json else _print([told])


def _told(one: Row, out: Path) -> dict[str, Any]:
    from infodistill.running.reproduction import measured

    return {**one.as_dict(), "ours": measured(one, out)}


def _print(listed: list[dict[str, Any]]) -> None:
    width = max((len(told["name"]) for told in listed), default=0)
    print(f"{'row':{width}} {'paper %':>14} {'ours %':>14}   source of the paper's number")
    for told in listed:
        ours = told["ours"]
        mine = "not run" if ours is None else _mine(ours)
        print(f"{told['name']:{width}} {_text(told['accuracy'], told['std']):>14} {mine:>14}   {told['source']}")


def _mine(ours: dict[str, Any]) -> str:
    from infodistill.evaluation.result import in_words

    found = ours.get("distilled")
    return "run" if found is None else in_words(found)


def _text(mean: float | None, std: float | None) -> str:
    return "-" if mean is None else f"{100 * mean:.1f}" + ("" if std is None else f" ± {100 * std:.1f}")
