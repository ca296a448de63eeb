"""`infodistill leaderboard`: a verb of its own, because it trains nothing and reads a whole folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infodistill.commands.speaking import one_sentence, say, show


@one_sentence
def leaderboard(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Artefacts lie below it, at any depth.")],
    out: Annotated[Path | None, typer.Option(help="A folder for leaderboard.html, .md and .json.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the boards as JSON.")] = False,
) -> None:
    """Rank the evaluated artefacts of a folder, within what may be compared; nothing is trained.

    Example: infodistill leaderboard runs --out runs/leaderboard
    """
    from infodistill.comparison.leaderboard import leaderboard as ranked
    from infodistill.comparison.leaderboard import markdown
    from infodistill.comparison.leaderboard_files import write_leaderboard

    record = ranked(folder)
    if out is not None:
        say("written: " + ", ".join(str(path) for path in write_leaderboard(record, out)))
    if as_json:
        show(record)
        return
    print(markdown(record), end="")
    for note in record["notes"]:
        print(f"- {note}")
    if record["unevaluated"]:
        print(f"- not evaluated, so not ranked: {', '.join(record['unevaluated'])}")
