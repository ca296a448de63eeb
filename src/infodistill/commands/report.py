"""`infodistill report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infodistill.commands.speaking import one_sentence


@one_sentence
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Artefact folders.")],
    out: Annotated[Path, typer.Option(help="The HTML file, or a folder for report.html.")] = Path("report.html"),
) -> None:
    """Put distilled sets side by side in one HTML page.

    Example: infodistill report runs/dm runs/dm-cmi --out comparison.html
    """
    from infodistill.evaluation.assessing import open_artefact
    from infodistill.files import require_writable
    from infodistill.report import report as write

    require_writable(out)
    for folder in folders:
        open_artefact(folder)
    print(write(folders, out))
