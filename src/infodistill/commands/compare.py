"""`infodistill compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infodistill.commands.speaking import one_sentence, say, show


@one_sentence
def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR DIR...", help="Artefact folders, reference first.")],
    net: Annotated[
        list[str] | None, typer.Option(help="Networks to compare by.  [default: those all were evaluated with]")
    ] = None,
    protocol: Annotated[str | None, typer.Option(help="Of the evaluation.  [default: the one all DIRs carry]")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Networks a set, at least two.")] = 5,
    data: Annotated[str | None, typer.Option(help="The data, if it is not where it was.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write an HTML page there too.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="float32 or bf16.")] = "float32",
    workers: Annotated[
        str | None, typer.Option(help="1, ray or ray:N: networks by so many workers of one thread each, the same bits.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Compare distilled sets: paired differences with 95 % intervals, seconds, memory, bytes.

    The first DIR is the reference. Folders of one method with other seeds count as sets of it. Whatever was not
    evaluated yet under one protocol for all, in this precision, is evaluated; other evaluations are kept, not used.

    Example: infodistill compare runs/dm runs/dm-cmi --out comparison.html
    """
    from infodistill.comparison.comparing import compare as compared
    from infodistill.comparison.page import write_comparison
    from infodistill.evaluation.assessing import asked_for
    from infodistill.files import require_writable
    from infodistill.progress import telling
    from infodistill.scale.asked import fan_of

    if out is not None:
        require_writable(out)
    with telling() as tell:
        asked = asked_for(
            data=data, protocol=protocol, device=device, precision=precision, seeds=seeds, tell=tell, say=say,
            workers=fan_of(workers, device),
        )  # fmt: skip
        found = compared(folders, nets=net or (), protocol=protocol, seeds=seeds, asked=asked)
    if out is not None:
        say(f"page: {write_comparison(found.record, out)}")
    if as_json:
        show(found.record)
        return
    from rich.console import Console

    for table in found.tables():
        Console().print(table)
    for note in found.record["notes"]:
        print(f"- {note}")
