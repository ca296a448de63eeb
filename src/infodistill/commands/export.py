"""`infodistill export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infodistill.commands.speaking import one_sentence, say, show


@one_sentence
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An artefact folder.")],
    to: Annotated[str, typer.Option(help="imagefolder, parquet (Hugging Face) or ddranking.")],
    out: Annotated[Path, typer.Option(help="The new folder.")],
    evaluate: Annotated[
        bool, typer.Option("--evaluate/--no-evaluate", help="Train networks on both forms and tell what both reach.")
    ] = True,
    data: Annotated[str | None, typer.Option(help="The data, if it is not where it was.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Networks per form.")] = 5,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write a distilled set as image files, Parquet or DD-Ranking's tensors, and say what that loses.

    Example: infodistill export runs/digits --to imagefolder --out digits-images
    """
    from infodistill.files import require_writable
    from infodistill.progress import telling
    from infodistill.publishing.publish import publish

    require_writable(out.parent)  # it is filled beside `out` and renamed
    with telling() as tell:
        result = publish(
            folder, to, out, data=data, seeds=seeds if evaluate else 0, device=device, progress=tell, say=say
        )
    if as_json:
        show(result)
    else:
        print(out)
