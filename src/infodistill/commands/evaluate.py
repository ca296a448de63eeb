"""`infodistill evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infodistill.commands.speaking import one_sentence, say, show


@one_sentence
def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An artefact folder.")],
    data: Annotated[str | None, typer.Option(help="The data, if it is not where it was.")] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="quick, imagenet-hard, dc, dsa, cafe, idc, pdd, ncfm, mim4dd, mtt, seqmatch, dd, ld, frepo, rtp.  "
            "[default: DIR's]"
        ),
    ] = None,
    net: Annotated[list[str] | None, typer.Option(help="Networks to train.  [default: the artefact's]")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Networks per column; random subsets are at least five.")] = 5,
    full: Annotated[bool, typer.Option("--full", help="Train on the full data too, if that is not cached.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="float32 or bf16.")] = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train fresh networks on a distilled set and on random real subsets, and test them.

    Example: infodistill evaluate runs/digits --full
    """
    from infodistill.artefact import record_result
    from infodistill.assessing import evaluated, refresh_report
    from infodistill.progress import telling

    with telling() as tell:
        result = evaluated(
            folder,
            data=data,
            protocol=protocol,
            net=net,
            seeds=seeds,
            full=full,
            device=device,
            precision=precision,
            tell=tell,
            say=say,
        )
    record_result(folder, result.record())
    refresh_report(folder)
    if as_json:
        show(result.as_dict())
        return
    from rich.console import Console

    Console().print(result.table())
    for name, reason in result.full_reasons.items():
        if reason is not None:
            say(f"{name}, full data: {reason}")
